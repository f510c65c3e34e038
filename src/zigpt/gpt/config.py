"""What a run is made of: frozen dataclasses that refuse impossible values, and the presets.

The names are GPT-2's, and the command line makes an option of every field. This module knows no
tensor: it must load in milliseconds.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeVar, get_args

from zigpt.errors import ConfigError

Problem = tuple[str, str]
_RATE_LIMIT = 100
_MOST = 10**12  # no machine holds or does as much of anything
_LONGEST_BLOCK = 2**20  # a model without positions holds nothing that would bound it
ROTARY_BASE = 10_000.0  # pairs of channels turn by 1 per position, falling towards 1 / base
Precision = Literal["auto", "float32", "bfloat16"]
OptimizerName = Literal["adamw", "muon"]
Architecture = Literal["classic", "modern"]
PresetName = Literal["tiny", "laptop", "gpu", "seed"]


def option(default: Any, help: str) -> Any:
    """Declare a dataclass field that knows its own one-line explanation."""
    return field(default=default, metadata={"help": help})


def _check(problems: list[Problem], bad: bool, problem: str, remedy: str) -> None:
    if bad:
        problems.append((problem, remedy))


def _check_count(problems: list[Problem], name: str, value: int, most: int = _MOST) -> None:
    limit = "at least 1" if value < 1 else f"at most {most:,}"
    remedy = f"{'raise' if value < 1 else 'lower'} {name}"
    _check(problems, not 1 <= value <= most, f"{name} ({value}) must be {limit}", remedy)


def _check_seed(problems: list[Problem], seed: int) -> None:
    bad = not 0 <= seed < 2**63
    _check(problems, bad, f"seed ({seed}) must be from 0 to 2^63 - 1", "try seed 1337")


def _nearest_multiples(value: int, divisor: int) -> str:
    lower = value // divisor * divisor
    return f"{lower} or {lower + divisor}" if lower else str(divisor)


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a model. The defaults are those of the textbook run.

    Raises:
        ConfigError: naming every impossible value at once.
    """

    vocab_size: int = option(65, "V: distinct characters")
    block_size: int = option(256, "T: longest context, in characters")
    n_layer: int = option(6, "number of stacked blocks")
    n_head: int = option(6, "H: attention heads in each block")
    n_embd: int = option(384, "C: width of the residual stream")
    dropout: float = option(0.2, "fraction of activations dropped in training, from 0 to below 1")
    architecture: Architecture = option("classic", "modern: rotary positions and token shift")

    def __post_init__(self) -> None:
        if problems := self._problems():
            raise ConfigError(problems)

    def _problems(self) -> list[Problem]:
        problems: list[Problem] = []
        for name in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd"):
            most = _LONGEST_BLOCK if name == "block_size" else _MOST
            _check_count(problems, name, getattr(self, name), most)
        name, divisor = "n_head", self.n_head
        if self.architecture == "modern":  # its heads are made of pairs of channels
            name, divisor = "2 x n_head", 2 * self.n_head
        if 1 <= divisor <= _MOST and 1 <= self.n_embd <= _MOST and self.n_embd % divisor:
            problem = f"n_embd ({self.n_embd}) must be divisible by {name} ({divisor})"
            remedy = f"try n_embd {_nearest_multiples(self.n_embd, divisor)}"
            problems.append((problem, remedy))
        _check(
            problems,
            not 0 <= self.dropout < 1,
            f"dropout ({self.dropout}) must be from 0 to below 1",
            "try dropout 0.2",
        )
        return problems

    @property
    def n_parameters(self) -> int:
        """Number of trainable values, counted from the shapes alone."""
        return sum(self.parameter_table().values())

    def parameter_table(self) -> dict[str, int]:
        """Count the trainable values of each part; the parts of all blocks together."""
        width = self.n_embd
        layer_norm = 2 * width
        attention = (width + 1) * 3 * width + (width + 1) * width
        feed_forward = (width + 1) * 4 * width + (4 * width + 1) * width
        positions = {"position embedding": self.block_size * width}
        return {
            "token embedding": self.vocab_size * width,
            **(positions if self.architecture == "classic" else {}),
            "attention": self.n_layer * attention,
            "feed-forward": self.n_layer * feed_forward,
            "layer norms": (2 * self.n_layer + 1) * layer_norm,
            "head": self.vocab_size * width,
        }

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name every weight of the model and say its shape; PyTorch stores a layer (out, in)."""
        width = self.n_embd
        layers = {
            "attn.qkv": (3 * width, width),
            "attn.project": (width, width),
            "ffn.expand": (4 * width, width),
            "ffn.project": (width, 4 * width),
        }
        shapes: dict[str, tuple[int, ...]] = {"token_embedding.weight": (self.vocab_size, width)}
        if self.architecture == "classic":
            shapes["position_embedding.weight"] = (self.block_size, width)
        for block in range(self.n_layer):
            for name, shape in layers.items():
                shapes[f"blocks.{block}.{name}.weight"] = shape
                shapes[f"blocks.{block}.{name}.bias"] = shape[:1]
            for norm in ("ln_1", "ln_2"):
                shapes |= {f"blocks.{block}.{norm}.{part}": (width,) for part in ("weight", "bias")}
        shapes |= {f"ln_f.{part}": (width,) for part in ("weight", "bias")}
        return shapes | {"head.weight": (self.vocab_size, width)}


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained. The defaults are the textbook: AdamW at a constant 3e-4.

    Raises:
        ConfigError: naming every impossible value at once.
    """

    batch_size: int = option(64, "B: windows of text in each step")
    optimizer: OptimizerName = option("adamw", "muon: for the matrices inside the blocks")
    learning_rate: float = option(3e-4, "peak learning rate")
    final_learning_rate: float = option(3e-4, "learning rate at the end of the cosine")
    warmup_steps: int = option(0, "steps in which the learning rate rises from 0 to its peak")
    weight_decay: float = option(0.01, "decay of weight matrices per step, times the learning rate")
    beta2: float = option(0.999, "decay rate of AdamW's average of squared gradients")
    grad_clip: float = option(0.0, "maximum gradient norm (0: no limit)")
    max_steps: int = option(5000, "training steps")
    eval_interval: int = option(200, "steps between evaluations of the train and validation loss")
    eval_chars: int = option(20_480, "characters of each split scored in an evaluation")
    patience: int = option(
        0, "evaluations without a lower validation loss until it stops (0: never)"
    )
    precision: Precision = option("auto", "arithmetic of the matrix products; auto: the fastest")
    seed: int = option(1337, "decides initial weights, batches, dropout and samples")

    def __post_init__(self) -> None:
        if problems := self._problems():
            raise ConfigError(problems)

    def _problems(self) -> list[Problem]:
        problems: list[Problem] = []
        for name in ("batch_size", "max_steps", "eval_interval", "eval_chars"):
            _check_count(problems, name, getattr(self, name))
        for name in ("warmup_steps", "patience", "weight_decay", "grad_clip"):
            value = getattr(self, name)
            problem = f"{name} ({value}) must be from 0 to {_MOST:,}"
            _check(problems, not 0 <= value <= _MOST, problem, f"try {name} 0")
        for name in ("learning_rate", "final_learning_rate"):
            value = getattr(self, name)
            bad = not 0 < value < _RATE_LIMIT
            problem = f"{name} ({value}) must be above 0 and below {_RATE_LIMIT}"
            _check(problems, bad, problem, "try 3e-4")
        _check(
            problems,
            not 0 < self.beta2 < 1,
            f"beta2 ({self.beta2}) must lie between 0 and 1",
            "try beta2 0.99",
        )
        _check_seed(problems, self.seed)
        return problems


@dataclass(frozen=True)
class SampleConfig:
    """How the next character is chosen from the model's probabilities.

    Raises:
        ConfigError: naming every impossible value at once.
    """

    temperature: float = option(
        1.0, "below 1 safer, above 1 wilder; 0: always the likeliest character"
    )
    top_k: int = option(0, "choose among the k likeliest characters only (0: all)")
    top_p: float = option(1.0, "choose among the likeliest that together reach p (1: all)")
    seed: int = option(1337, "same seed, same text")

    def __post_init__(self) -> None:
        problems: list[Problem] = []
        _check(
            problems,
            not 0 <= self.temperature < math.inf,
            f"temperature ({self.temperature}) must be 0 or more, and finite",
            "try temperature 0.8",
        )
        _check(problems, self.top_k < 0, f"top_k ({self.top_k}) must be 0 or more", "try top_k 20")
        _check(
            problems,
            not 0 < self.top_p <= 1,
            f"top_p ({self.top_p}) must be above 0 and at most 1",
            "try top_p 0.9",
        )
        _check_seed(problems, self.seed)
        if problems:
            raise ConfigError(problems)


PRESETS: Mapping[PresetName, Mapping[str, Any]] = {
    # A quarter of a minute: for a first look and for short texts.
    "tiny": {
        "block_size": 48, "n_layer": 2, "n_head": 2, "n_embd": 128, "dropout": 0.0,
        "batch_size": 32, "optimizer": "muon", "learning_rate": 1.6e-2,
        "final_learning_rate": 1e-3, "warmup_steps": 30, "weight_decay": 0.1, "beta2": 0.99,
        "grad_clip": 1.0, "max_steps": 320, "eval_interval": 80, "patience": 4,
    },
    # The best model of two to three minutes on two cores; how it was chosen: docs/experiments.md.
    "laptop": {
        "block_size": 64, "n_layer": 4, "n_head": 4, "n_embd": 128, "dropout": 0.0,
        "batch_size": 32, "optimizer": "muon", "learning_rate": 1e-2,
        "final_learning_rate": 1e-4, "warmup_steps": 100, "weight_decay": 0.3, "beta2": 0.99,
        "grad_clip": 1.0, "max_steps": 1500, "eval_interval": 100, "patience": 5,
    },
    # The textbook's shape with a schedule that uses a GPU well.
    "gpu": {
        "learning_rate": 1e-3, "final_learning_rate": 1e-4, "warmup_steps": 100,
        "weight_decay": 0.1, "beta2": 0.99, "grad_clip": 1.0, "patience": 5,
    },
    # The textbook run itself, stopped when it only learns by heart.
    "seed": {"patience": 10},
}  # fmt: skip


Config = TypeVar("Config", GPTConfig, TrainConfig)


def configure(
    vocab_size: int, preset: PresetName, overrides: Mapping[str, Any]
) -> tuple[GPTConfig, TrainConfig]:
    """Lay `overrides` (field name to value) over a preset.

    Raises:
        ConfigError: naming every impossible value of both parts at once.
    """
    values = {**PRESETS[preset], **overrides, "vocab_size": vocab_size}
    if "max_steps" in overrides and "warmup_steps" not in overrides:
        # A short run must not spend itself on warming up.
        values["warmup_steps"] = min(
            values.get("warmup_steps", 0), max(0, values["max_steps"]) // 10
        )
    peak = overrides.get("learning_rate")
    if peak is not None and 0 < peak < _RATE_LIMIT and "final_learning_rate" not in overrides:
        # Keep the shape of the schedule when only its peak is moved.
        default = replace(TrainConfig(), **_fields_of(TrainConfig, PRESETS[preset]))
        ratio = default.final_learning_rate / default.learning_rate
        values["final_learning_rate"] = peak * ratio
    parts: list[Any] = []
    problems: list[Problem] = []
    for part in (GPTConfig, TrainConfig):
        try:
            parts.append(part(**_fields_of(part, values)))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return parts[0], parts[1]


def restore(part: type[Config], values: Mapping[str, Any]) -> Config:
    """Build a config from what a file says; settings that it does not know are at their defaults.

    Raises:
        ValueError: a value is not of its setting's kind.
        TypeError: there is no such setting.
        ConfigError: naming every impossible value at once.
    """
    for setting in fields(part):
        value: Any = values.get(setting.name, setting.default)
        choices = get_args(setting.type)
        if value not in choices if choices else type(value) is not setting.type:
            raise ValueError(f"{setting.name} cannot be {value!r}")
    return part(**values)


def _fields_of(
    part: type[GPTConfig] | type[TrainConfig], values: Mapping[str, Any]
) -> dict[str, Any]:
    names = {field.name for field in fields(part)}
    return {name: value for name, value in values.items() if name in names}
