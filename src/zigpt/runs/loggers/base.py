"""What a logger is given, and what it must do."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Metrics:
    """One measurement of a training run; losses in nats per character.

    `train_loss` and `val_loss` are None where they were not measured at this step.
    """

    step: int
    train_loss: float | None
    val_loss: float | None
    learning_rate: float
    chars_per_second: float | None
    seconds: float  # of training so far


class Logger(Protocol):
    """Takes the metrics of a training run as they are measured."""

    def log(self, metrics: Metrics) -> None:
        """Take one measurement.

        Raises:
            StorageError: it could not be kept; the training continues, as with any refused write.
        """
        ...
