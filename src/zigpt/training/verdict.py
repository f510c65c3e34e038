"""A loss in words: which baselines it beats, and how the training went.

Losses are in nats per character. This module knows no tensor and no file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from zigpt.data.baselines import Ladder

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
        return f"{self.word}: {self.why}. {self.advice}."


def milestone(before: float, now: float, ladder: Ladder) -> str | None:
    """Name the rung that the validation loss has just passed, if any."""
    rung = ladder.beaten(now)
    if rung is None or rung == ladder.beaten(before):
        return None
    return f"beats the {rung.name}" if now < before else None


def is_out_of_patience(val_losses: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` evaluations brought no lower loss (0: never)."""
    return 0 < patience < len(val_losses) - val_losses.index(min(val_losses))


def judge(points: Sequence[Point], ladder: Ladder) -> Verdict:
    """Judge a finished or stopped training by its evaluations, the first at step 0."""
    first, last = points[0], points[-1]
    best = min(points, key=lambda point: point.val_loss)
    beaten = ladder.beaten(best.val_loss)
    rose = last.train_loss > first.train_loss + _NOISE
    if best.step == 0 < last.step:
        return Verdict(
            "untrained",
            f"the validation loss was never below the {best.val_loss:.3f} before the first step, "
            "so the model as it was then is kept",
            "Lower `learning_rate`" if rose else "More text or a smaller model would help",
        )
    if last.val_loss > best.val_loss + _NOISE and last.train_loss < best.train_loss:
        return Verdict(
            f"overfit since step {best.step}",
            f"the train loss fell further to {last.train_loss:.3f} while the validation loss rose "
            f"from {best.val_loss:.3f} to {last.val_loss:.3f}",
            "The model from the best step was kept; more text, a higher `dropout` or a smaller "
            "model would help",
        )
    lowest = min(ladder.rungs, key=lambda rung: rung.loss)
    low = ("uniform", "unigram", "bigram")
    if beaten is None or (beaten.name in low and beaten.loss > lowest.loss):
        passed = f"beats only the {beaten.name}" if beaten else "is no better than chance"
        return Verdict(
            "underfit",
            f"the validation loss of {best.val_loss:.3f} {passed}",
            "Lower `learning_rate`"
            if rose
            else "Train longer with a higher `max_steps`, or raise `learning_rate`",
        )
    earlier = [point for point in points if point.step <= 0.8 * last.step] or [first]
    gain = earlier[-1].val_loss - last.val_loss
    if gain > _NOISE:
        return Verdict(
            "learning",
            f"the validation loss fell by another {gain:.3f} in the last fifth of the steps",
            "More steps would lower it further",
        )
    return Verdict(
        "learning",
        f"the validation loss has settled at {best.val_loss:.3f}, below the {beaten.name}",
        "A larger model or more text would lower it further",
    )
