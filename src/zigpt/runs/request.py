"""What a caller can ask of a training run. Loads in milliseconds: no torch here."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, get_args

from zigpt.data.arrangement import AS_THEY_ARE, Arrangement
from zigpt.data.encodings import AS_IT_IS, Decoding
from zigpt.errors import UsageError
from zigpt.gpt.config import GPTConfig, PresetName, TrainConfig
from zigpt.language import tr

Preset = Literal["auto", PresetName]
LONGEST_MINUTES = 100_000
_KINDS: Mapping[str, Any] = {
    setting.name: setting.type
    for setting in (*fields(GPTConfig), *fields(TrainConfig))
    if setting.name != "vocab_size"  # the text decides it
}


@dataclass(frozen=True)
class TrainRequest:
    """A training run to start or, with `resume`, to continue.

    Raises:
        UsageError: a part of it is impossible, or contradicts another.
    """

    texts: tuple[Path, ...] = ()  # none: input.txt, or else a default text
    preset: Preset = "auto"  # auto: by device and length of the text
    settings: Mapping[str, Any] = field(default_factory=dict)  # fields of the configs, by name
    run: Path | None = None  # None: runs/<text>-<preset>, or the newest run to resume
    minutes: float | None = None  # fit the number of steps to this time
    device: str = "auto"
    resume: bool = False
    how: Decoding = AS_IT_IS  # how the texts' bytes are read
    arrangement: Arrangement = AS_THEY_ARE
    began: float = field(default_factory=time.monotonic)  # a time budget counts from here

    def __post_init__(self) -> None:
        _require_choice("preset", self.preset, get_args(Preset))
        settings = {name: _checked(name, value) for name, value in self.settings.items()}
        object.__setattr__(self, "settings", settings)
        if self.minutes is None:
            return
        if not 0 < self.minutes < LONGEST_MINUTES:
            raise UsageError(
                tr("`minutes` {minutes} is not a time to train", minutes=self.minutes),
                tr("it must be above 0 and below {most:,}", most=LONGEST_MINUTES),
                tr("try `minutes` 3"),
            )
        if self.resume or "max_steps" in self.settings:
            raise UsageError(
                tr("`minutes` cannot be combined with `max_steps` or `resume`"),
                tr("each of them decides the number of steps"),
                tr("keep one of them"),
            )

    @property
    def ends_at(self) -> float | None:
        """When a time budget is over, in `time.monotonic`; None where there is none."""
        return None if self.minutes is None else self.began + 60 * self.minutes


def _checked(name: str, value: Any) -> Any:
    """Check the kind of a setting's value; a whole number may stand for a decimal one."""
    if name not in _KINDS:
        from difflib import get_close_matches  # only now: it is seldom needed

        nearest = get_close_matches(name, _KINDS, n=1)
        raise UsageError(
            tr("there is no setting `{name}`", name=name),
            tr("the settings are {names}", names=", ".join(_KINDS)),
            tr("try `{name}`", name=nearest[0]) if nearest else tr("leave it out"),
        )
    kind = _KINDS[name]
    if choices := get_args(kind):
        _require_choice(name, value, choices)
    elif not isinstance(value, bool) and isinstance(value, Integral if kind is int else Real):
        return kind(value)  # NumPy's numbers are among them
    else:
        raise UsageError(
            tr("`{name}` cannot be {value!r:.40}", name=name, value=value),
            tr("it must be a number of type {kind}", kind=kind.__name__),
            tr("give `{name}` such a number", name=name),
        )
    return value


def _require_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(
            tr("`{name}` cannot be {value!r:.40}", name=name, value=value),
            tr("it must be one of {choices}", choices=", ".join(choices)),
            tr("try `{name}` {value}", name=name, value=choices[0]),
        )
