"""A loss in words: which baselines it beats, and how the training went.

Losses are in nats per character. This module knows no tensor and no file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from zigpt.data.baselines import Ladder, Rung
from zigpt.language import tr

_NOISE = 0.01  # nats per character: a smaller difference between evaluations means nothing


@dataclass(frozen=True)
class Point:
    """Both losses after `step` steps."""

    step: int
    train_loss: float
    val_loss: float


@dataclass(frozen=True)
class Verdict:
    """`word`: learning, underfit, overfit since a step, untrained; then why, and what to try."""

    word: str
    why: str
    advice: str

    def __str__(self) -> str:
        return tr("{word}: {why}. {advice}.", **vars(self))


def milestone(before: float, now: float, ladder: Ladder) -> str | None:
    """Name the rung that the validation loss has just passed, if any."""
    rung = ladder.beaten(now)
    if rung is None or rung == ladder.beaten(before):
        return None
    return tr("beats the {rung}", rung=rung.name) if now < before else None


def is_out_of_patience(val_losses: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` evaluations brought no lower loss (0: never)."""
    return 0 < patience < len(val_losses) - val_losses.index(min(val_losses))


def judge(points: Sequence[Point], ladder: Ladder) -> Verdict:
    """Judge a finished or stopped training by its evaluations, the first at step 0."""
    last = points[-1]
    best = min(points, key=lambda point: point.val_loss)
    beaten = ladder.beaten(best.val_loss)
    rose = last.train_loss > points[0].train_loss + _NOISE
    if best.step == 0 < last.step:
        return _untrained(best, rose)
    if last.val_loss > best.val_loss + _NOISE and last.train_loss < best.train_loss:
        return _overfit(best, last)
    lowest = min(ladder.rungs, key=lambda rung: rung.loss)
    low = ("uniform", "unigram", "bigram")
    if beaten is None or (beaten.name in low and beaten.loss > lowest.loss):
        return _underfit(best, beaten, rose)
    return _learning(points, best, beaten)


def _untrained(best: Point, rose: bool) -> Verdict:
    why = tr(
        "the validation loss was never below the {loss:.3f} before the first step, so the model "
        "as it was then is kept",
        loss=best.val_loss,
    )
    more = tr("More text or a smaller model would help")
    return Verdict(tr("untrained"), why, tr("Lower `learning_rate`") if rose else more)


def _overfit(best: Point, last: Point) -> Verdict:
    why = tr(
        "the train loss fell further to {train:.3f} while the validation loss rose from "
        "{best:.3f} to {last:.3f}",
        train=last.train_loss,
        best=best.val_loss,
        last=last.val_loss,
    )
    advice = tr(
        "The model from the best step was kept; more text, a higher `dropout` or a smaller model "
        "would help"
    )
    return Verdict(tr("overfit since step {step}", step=best.step), why, advice)


def _underfit(best: Point, beaten: Rung | None, rose: bool) -> Verdict:
    why = tr("the validation loss of {loss:.3f} is no better than chance", loss=best.val_loss)
    if beaten:
        why = tr(
            "the validation loss of {loss:.3f} beats only the {rung}",
            loss=best.val_loss,
            rung=beaten.name,
        )
    longer = tr("Train longer (`minutes` or `max_steps`), or raise `learning_rate`")
    return Verdict(tr("underfit"), why, tr("Lower `learning_rate`") if rose else longer)


def _learning(points: Sequence[Point], best: Point, beaten: Rung) -> Verdict:
    last = points[-1]
    earlier = [point for point in points if point.step <= 0.8 * last.step] or [points[0]]
    gain = earlier[-1].val_loss - last.val_loss
    if gain > _NOISE:
        why = tr(
            "the validation loss fell by another {gain:.3f} in the last fifth of the steps",
            gain=gain,
        )
        return Verdict(tr("learning"), why, tr("More steps would lower it further"))
    why = tr(
        "the validation loss has settled at {loss:.3f}, below the {rung}",
        loss=best.val_loss,
        rung=beaten.name,
    )
    advice = tr("A larger model or more text would lower it further")
    return Verdict(tr("learning"), why, advice)
