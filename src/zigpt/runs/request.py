"""What a caller can ask of a training. Loads in milliseconds: no torch here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from zigpt.errors import UsageError
from zigpt.gpt.config import PresetName

Preset = Literal["auto", PresetName]
_LONGEST = 100_000  # minutes


@dataclass(frozen=True)
class TrainRequest:
    """A training to start or, with `resume`, to continue.

    Raises:
        UsageError: the parts of the request contradict each other.
    """

    texts: tuple[Path, ...] = ()  # none: input.txt, or else a default text
    preset: Preset = "auto"  # auto: by device and length of the text
    settings: Mapping[str, Any] = field(default_factory=dict)  # fields of the configs, by name
    run: Path | None = None  # None: runs/<text>-<preset>, or the newest run to resume
    minutes: float | None = None  # fit the number of steps to this time
    device: str = "auto"
    resume: bool = False

    def __post_init__(self) -> None:
        if self.minutes is None:
            return
        if not 0 < self.minutes < _LONGEST:
            raise UsageError(
                f"`minutes` {self.minutes} is not a time to train",
                f"it must be above 0 and below {_LONGEST:,}",
                "try `minutes` 3",
            )
        if self.resume or "max_steps" in self.settings:
            raise UsageError(
                "`minutes` cannot be combined with `max_steps` or `resume`",
                "each of them decides the number of steps",
                "keep one of them",
            )
