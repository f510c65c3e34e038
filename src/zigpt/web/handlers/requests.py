"""What the page may send: one dataclass per request, checked when it is parsed from JSON."""

from dataclasses import MISSING, dataclass, fields
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from zigpt import untrusted_json
from zigpt.gpt.config import SampleConfig
from zigpt.language import tr
from zigpt.runs.request import Preset
from zigpt.web.guard import Refused

Action = Literal["pause", "step", "resume", "stop"]
MOST_CHARACTERS = 10_000  # of one answer
_LATEST_STEP = 10**12
_LARGEST_INDEX = 2**31
_TOO_LARGE = 2**1023  # as a float
_KINDS = {
    str: "a string",
    int: "an integer",
    float: "a number",
    tuple[int, ...]: "a list of integers",
}


@dataclass(frozen=True, kw_only=True)
class PageRequest:
    """Any request; an impossible value raises Refused or a ZigptError."""


@dataclass(frozen=True, kw_only=True)
class EnterRequest(PageRequest):
    """Trade the token for a cookie."""

    token: str


@dataclass(frozen=True, kw_only=True)
class StartRequest(PageRequest):
    """Start a training run on `text`, or (None) on the server's own."""

    preset: Preset
    minutes: float | None = None
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class ControlRequest(PageRequest):
    """Ask something of the training that is shown."""

    action: Action


@dataclass(frozen=True, kw_only=True)
class ModelRequest(PageRequest):
    """Ask the model as it was `at` a step, or (None) the newest one."""

    at: int | None = None

    def __post_init__(self) -> None:
        if self.at is not None:
            require_index("at", self.at, _LATEST_STEP)


@dataclass(frozen=True, kw_only=True)
class SamplingRequest(ModelRequest):
    """Sample what follows `prompt` and the characters that were written `after` it."""

    prompt: str
    after: str = ""
    temperature: float
    top_k: int
    top_p: float
    min_p: float = SampleConfig.min_p
    repetition_penalty: float = SampleConfig.repetition_penalty
    seed: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_most("after", self.after)
        _ = self.sampling

    @property
    def sampling(self) -> SampleConfig:
        """The settings of the choice.

        Raises:
            ConfigError: they are impossible.
        """
        names = (setting.name for setting in fields(SampleConfig))
        return SampleConfig(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True, kw_only=True)
class WriteRequest(SamplingRequest):
    """Write `length` characters."""

    length: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require_index("length", self.length, MOST_CHARACTERS + 1)


@dataclass(frozen=True, kw_only=True)
class RedrawRequest(SamplingRequest):
    """Choose one character again, with the same random number."""

    number: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.number < 1:
            raise Refused(422, "number must be from 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class CopiesRequest(ModelRequest):
    """Find what of `text` also stands in the training text."""

    text: str

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_most("text", self.text)


@dataclass(frozen=True, kw_only=True)
class WindowRequest(ModelRequest):
    """Have the model read `text`, no longer than its window."""

    text: str


@dataclass(frozen=True, kw_only=True)
class TargetRequest(WindowRequest):
    """Take `target` as the character after the last, or (None) the model's best guess."""

    target: str | None = None


@dataclass(frozen=True, kw_only=True)
class PartsRequest(TargetRequest):
    """Take the logit apart at one position."""

    position: int


@dataclass(frozen=True, kw_only=True)
class HeadRequest(WindowRequest):
    """Choose one attention head."""

    layer: int
    head: int


@dataclass(frozen=True, kw_only=True)
class InfluenceRequest(WindowRequest):
    """Change the character at one position."""

    position: int


@dataclass(frozen=True, kw_only=True)
class TensorRequest(WindowRequest):
    """Choose a part of a tensor, or a single number of it, by its index."""

    tensor: str
    index: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        for number in self.index:
            require_index("index", number, _LARGEST_INDEX)


Kind = TypeVar("Kind", bound=PageRequest)


def parse(kind: type[Kind], body: bytes) -> Kind:
    """Build a request of one kind from JSON; values that it does not have are ignored.

    Raises:
        Refused: 400 if it is not JSON; 422 if a value is missing, of another type or out of range.
        ZigptError: the settings are impossible.
    """
    try:
        given = untrusted_json.parse(body)
    except ValueError as error:
        raise Refused(400, f"this is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise Refused(422, "a request has to be a JSON object")
    types = get_type_hints(kind)
    return kind(
        **{
            part.name: _convert(part.name, types[part.name], given.get(part.name))
            for part in fields(kind)
            if part.name in given or part.default is MISSING
        }
    )


def _convert(name: str, kind: Any, value: Any) -> Any:
    choices = get_args(kind)
    if get_origin(kind) is Literal:
        if value not in choices:
            raise Refused(422, f"{name} must be one of {', '.join(choices)}")
        return value
    if NoneType in choices:
        return None if value is None else _convert(name, choices[0], value)
    if kind is float and type(value) is int and abs(value) < _TOO_LARGE:
        return float(value)
    if get_origin(kind) is tuple and type(value) is list:
        return tuple(_convert(name, choices[0], each) for each in value)
    if type(value) is not kind:
        raise Refused(422, f"{name} must be {_KINDS[kind]}")
    return value


def require_index(name: str, number: int, length: int) -> None:
    """Check that a number is from 0 to below `length`.

    Raises:
        Refused: it is not.
    """
    if not 0 <= number < length:
        sentence = tr(
            "{name} must be from 0 to {most:,}, not {number}",
            name=name,
            most=length - 1,
            number=number,
        )
        raise Refused(422, sentence)


def require_at_most(name: str, text: str, most: int = MOST_CHARACTERS) -> None:
    """Check that a text is not too long.

    Raises:
        Refused: it is.
    """
    if len(text) > most:
        sentence = tr(
            "{name} can have {most:,} characters at most, not {count:,}",
            name=name,
            most=most,
            count=len(text),
        )
        raise Refused(422, sentence)
