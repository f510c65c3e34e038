"""What can be said to each command. Loads in milliseconds: no torch here.

Options that shape a run are made from the config dataclasses, so that a new field there is a new
option here. The options of a training may be left out: then the preset decides.
"""

from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from tyro.conf import OmitArgPrefixes, Positional, arg

from zigpt.gpt.config import GPTConfig, PresetName, SampleConfig, TrainConfig
from zigpt.tokenizers.base import Unknown

Preset = Literal["auto", PresetName]
BenchPart = Literal["limits", "training", "writing", "text", "start", "saving", "growth"]
Topic = Literal["model", "window", "mask", "batch", "characters"]

_Texts = Annotated[
    Positional[tuple[Path, ...]],
    arg(
        metavar="[TEXT ...]",
        help="file(s), or a folder of them; none: input.txt, or else a default text",
        help_behavior_hint="",
    ),
]
_Run = Annotated[
    Positional[Path], arg(metavar="RUN", help="run folder, or a model.safetensors alone")
]
_Device = Annotated[str, arg(help="auto, cpu, cuda, cuda:1 or mps")]
_Json = Annotated[bool, arg(help="print one JSON object instead")]
_Unknown = Annotated[Unknown, arg(help="what becomes of characters that the model has never seen")]


def _preset_option(part: Field[Any]) -> tuple[str, Any, Any]:
    kind: Any = part.type
    choices = "|".join(get_args(kind))
    about = arg(
        help=part.metadata["help"],
        metavar=f"{{{choices}}}" if choices else kind.__name__.upper(),
        help_behavior_hint="(preset's)",
    )
    return part.name, Annotated[kind | None, about], field(default=None)


def _option(part: Field[Any]) -> tuple[str, Any, Any]:
    kind: Any = part.type
    about = arg(help=part.metadata["help"])
    return part.name, Annotated[kind, about], field(default=part.default)


_TrainSettings = make_dataclass(
    "training",
    [
        _preset_option(part)
        for config in (GPTConfig, TrainConfig)
        for part in fields(config)
        if part.name != "vocab_size"  # the text decides
    ],
)
_SampleSettings = make_dataclass("sampling", [_option(part) for part in fields(SampleConfig)])


def given(settings: Any) -> Mapping[str, Any]:
    """Collect the settings that were given, by field name."""
    return {name: value for name, value in asdict(settings).items() if value is not None}


@dataclass(frozen=True)
class TrainOptions:
    """Train a model on a text, watching it learn."""

    texts: _Texts = ()
    preset: Annotated[
        Preset,
        arg(help="a tested set of all settings; auto: by device and length of the text"),
    ] = "auto"
    run: Annotated[
        Path | None,
        arg(metavar="DIR", help="run folder", help_behavior_hint="(default: runs/<text>-<preset>)"),
    ] = None
    minutes: Annotated[
        float | None,
        arg(metavar="M", help="fit the number of steps to this time", help_behavior_hint=""),
    ] = None
    device: _Device = "auto"
    resume: Annotated[bool, arg(help="go on with a stopped run: that of --run, or the newest")] = (
        False
    )
    settings: Annotated[Any, OmitArgPrefixes, arg(constructor=_TrainSettings)] = field(
        default_factory=_TrainSettings
    )


@dataclass(frozen=True)
class SampleOptions:
    """Let a model write. The text alone goes to stdout."""

    run: _Run
    prompt: Annotated[str, arg(help="what to continue; empty: a new line")] = ""
    chars: Annotated[int, arg(help="characters to write")] = 500
    count: Annotated[int, arg(help="how many continuations; i is that of seed + i")] = 1
    stop: Annotated[
        tuple[str, ...], arg(help="end before any of these appears", help_behavior_hint="")
    ] = ()
    unknown: _Unknown = "error"
    device: Annotated[
        str, arg(help="auto: 8-bit weights on the CPU; cpu, cuda, mps: float32, by torch")
    ] = "auto"
    settings: Annotated[Any, OmitArgPrefixes, arg(constructor=_SampleSettings)] = field(
        default_factory=_SampleSettings
    )


@dataclass(frozen=True)
class EvalOptions:
    """Measure the exact loss over a whole split, or over another text."""

    run: _Run
    text: Annotated[
        Positional[Path | None],
        arg(
            metavar="[TEXT]",
            help="another text, scored whole; none: the test split of the model's own text",
            help_behavior_hint="",
        ),
    ] = None
    unknown: _Unknown = "error"
    device: _Device = "auto"
    json: _Json = False


@dataclass(frozen=True)
class VerifyOptions:
    """Check the files, vocabulary, causality, sampling and resuming of a run."""

    run: _Run
    device: _Device = "auto"
    json: _Json = False


@dataclass(frozen=True)
class PlanOptions:
    """Say what a text looks like and what training on it would cost, before training."""

    texts: _Texts = ()
    preset: Annotated[Preset, arg(help="the settings to plan for")] = "auto"
    device: _Device = "auto"
    json: _Json = False
    settings: Annotated[Any, OmitArgPrefixes, arg(constructor=_TrainSettings)] = field(
        default_factory=_TrainSettings
    )


@dataclass(frozen=True)
class ExplainOptions:
    """Show how a GPT works, on your own text and model."""

    topic: Annotated[
        Positional[Topic],
        arg(
            help="model: architecture and parameters; window: one window as T training examples; "
            "mask: who may look at whom; batch: predictions in one step; "
            "characters: against subwords"
        ),
    ]
    run: Annotated[
        Positional[Path | None],
        arg(
            metavar="[RUN]",
            help="run folder or model.safetensors; none: the newest in runs/",
            help_behavior_hint="",
        ),
    ] = None
    text: Annotated[
        str,
        arg(
            help="the text to look at; none: the start of the run's test split",
            help_behavior_hint="",
        ),
    ] = ""
    device: _Device = "auto"


@dataclass(frozen=True)
class BenchOptions:
    """Measure this machine: zigpt against a plain textbook and against the machine's own limits."""

    parts: Annotated[
        Positional[tuple[BenchPart, ...]],
        arg(
            metavar="[PART ...]",
            help="limits, training, writing, text, start, saving, growth; none: all, in 10 minutes",
            help_behavior_hint="",
        ),
    ] = ()
    rounds: Annotated[int, arg(help="turns that every side takes; the median counts")] = 3
    run: Annotated[
        Path | None,
        arg(
            metavar="DIR",
            help="folder for bench.json and growth.png",
            help_behavior_hint="(default: runs/bench)",
        ),
    ] = None
    device: _Device = "auto"
    json: _Json = False


@dataclass(frozen=True)
class WebOptions:
    """Watch a model learn, write with it and look inside it, in the browser."""

    shown: Annotated[
        Positional[Path | None],
        arg(
            metavar="[RUN | TEXT]",
            help="run folder or model.safetensors; or a text to learn; none: the newest run",
            help_behavior_hint="",
        ),
    ] = None
    port: Annotated[int, arg(help="0: any that is free")] = 8765
    host: Annotated[str, arg(help="the address to listen on")] = "127.0.0.1"
    allow_remote: Annotated[bool, arg(help="let --host be reached from other machines")] = False
    no_browser: Annotated[bool, arg(help="only print the address")] = False
    device: _Device = "auto"
