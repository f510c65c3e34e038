"""Reading a loss in words: what was beaten, and how a training went.

Losses are in nats per character. This module knows no tensor and no file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from zigpt.data.baselines import Ladder

_CLEAR = 0.01  # nats per character: less than this is noise between two evaluations


@dataclass(frozen=True)
class Point:
    """Both losses after `step` steps."""

    step: int
    train_loss: float
    val_loss: float


@dataclass(frozen=True)
class Verdict:
    """`word` is learning, underfit or overfit; the rest says why and what to try."""

    word: str
    why: str
    advice: str

    def __str__(self) -> str:
        return f"{self.word}: {self.why}. {self.advice}."


def milestone(before: float, now: float, ladder: Ladder) -> str | None:
    """Say which rung the validation loss has just passed, if any."""
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
    if last.val_loss > best.val_loss + _CLEAR and last.train_loss < best.train_loss:
        return Verdict(
            f"overfit since step {best.step}",
            f"the train loss still fell to {last.train_loss:.3f} while the validation loss rose "
            f"from {best.val_loss:.3f} to {last.val_loss:.3f}",
            "The kept model is from the best step; more text, more `dropout` or a "
            "smaller model would help",
        )
    earlier = [point for point in points if point.step <= 0.8 * last.step] or [first]
    gain = earlier[-1].val_loss - last.val_loss
    lowest = min(ladder.rungs, key=lambda rung: rung.loss)
    low = ("uniform", "unigram", "bigram")
    if beaten is None or (beaten.name in low and beaten.loss > lowest.loss):
        passed = f"only beats the {beaten.name}" if beaten else "is no better than chance"
        return Verdict(
            "underfit",
            f"the validation loss of {best.val_loss:.3f} {passed}",
            "Lower the `learning_rate`"
            if last.train_loss > first.train_loss + _CLEAR
            else "Train longer with more `max_steps`, or raise the `learning_rate`",
        )
    if gain > _CLEAR:
        return Verdict(
            "learning",
            f"the validation loss fell by another {gain:.3f} in the last fifth of the steps",
            "More steps would make it better still",
        )
    return Verdict(
        "learning",
        f"the validation loss has settled at {best.val_loss:.3f}, below the {beaten.name}",
        "A larger model or more text would take it further",
    )
