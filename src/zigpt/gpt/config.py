"""The settings of a run: frozen dataclasses that refuse impossible values, and the presets.

The names are nanoGPT's, and the command line makes an option of every field that can be chosen.
This module imports no tensor library: it must load in milliseconds.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeVar, get_args

from zigpt.errors import ConfigError
from zigpt.gpt.ranges import Problem, divisibility_problems, is_possible, range_problems
from zigpt.language import mark, tr

ROTARY_BASE = 10_000.0  # per position, pair i of D / 2 turns by base^(-2i / D) radians
Precision = Literal["auto", "float32", "bfloat16"]
OptimizerName = Literal["adamw", "muon"]
Architecture = Literal["classic", "modern"]
WindowOrder = Literal["random", "shuffled"]
PresetName = Literal["tiny", "laptop", "gpu", "seed"]


def option(default: Any, help: str) -> Any:
    """Declare a dataclass field that carries its own one-line explanation."""
    return field(default=default, metadata={"help": help})


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
    architecture: Architecture = option(
        "classic", "modern: rotary positions, token shift, starts from frequencies"
    )

    def __post_init__(self) -> None:
        in_pairs = self.architecture == "modern"  # as rotation takes the channels of a head
        divisibility = divisibility_problems(self.n_embd, self.n_head, in_pairs)
        _refuse(range_problems(vars(self)) + divisibility)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name every weight of the model and give its shape; PyTorch stores a layer as (out, in).

        This is the one description of the model's size: parameters, and the FLOP of its matrix
        products, are counted from it, and a test compares it with the model itself.
        """
        width = self.n_embd
        block: dict[str, tuple[int, ...]] = {
            "ln_1": (width,),
            "attn.qkv": (3 * width, width),
            "attn.project": (width, width),
            "ln_2": (width,),
            "ffn.expand": (4 * width, width),
            "ffn.project": (width, 4 * width),
        }
        shapes: dict[str, tuple[int, ...]] = {"token_embedding.weight": (self.vocab_size, width)}
        if self.architecture == "classic":
            shapes["position_embedding.weight"] = (self.block_size, width)
        for layer in range(self.n_layer):
            for name, shape in block.items():
                shapes[f"blocks.{layer}.{name}.weight"] = shape
                shapes[f"blocks.{layer}.{name}.bias"] = shape[:1]
        shapes |= {"ln_f.weight": (width,), "ln_f.bias": (width,)}
        return shapes | {"head.weight": (self.vocab_size, width)}

    def parameter_table(self) -> dict[str, int]:
        """Count the trainable values of each part, all blocks together."""
        table = dict.fromkeys(_PARTS.values(), 0)
        # All blocks are alike: of a thousand layers, too, only one is laid out.
        for name, shape in replace(self, n_layer=1).shapes().items():
            path = name.split(".")
            in_block = path[0] == "blocks"
            part = _PARTS[path[2] if in_block else path[0]]
            table[part] += math.prod(shape) * (self.n_layer if in_block else 1)
        return {part: count for part, count in table.items() if count}

    @property
    def n_parameters(self) -> int:
        """Number of trainable values."""
        return sum(self.parameter_table().values())


_PARTS = {
    "token_embedding": mark("token embedding"),
    "position_embedding": mark("position embedding"),
    "attn": mark("attention"),
    "ffn": mark("feed-forward"),
    "ln_1": mark("layer norms"),
    "ln_2": mark("layer norms"),
    "ln_f": mark("layer norms"),
    "head": mark("head"),
}


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained. The defaults are the textbook: AdamW at a constant 3e-4.

    Raises:
        ConfigError: naming every impossible value at once.
    """

    batch_size: int = option(64, "B: windows of text in each step")
    parts: int = option(1, "of each batch, which processes share; each has a dropout of its own")
    windows: WindowOrder = option(
        "random", "shuffled: each window once in a pass over the text; random: wherever it starts"
    )
    optimizer: OptimizerName = option(
        "adamw", "muon: for the matrices inside the blocks, AdamW for the rest"
    )
    learning_rate: float = option(3e-4, "peak learning rate")
    final_learning_rate: float = option(3e-4, "learning rate after its decay along a cosine")
    warmup_steps: int = option(0, "steps in which the learning rate rises to its peak")
    decay_steps: int = option(0, "last steps, in which it falls again (0: all after the warm-up)")
    weight_decay: float = option(0.01, "decay of weight matrices per step, times the learning rate")
    beta2: float = option(0.999, "decay rate of AdamW's average of squared gradients")
    grad_clip: float = option(0.0, "maximum gradient norm (0: no limit)")
    max_steps: int = option(5000, "training steps")
    eval_interval: int = option(200, "steps between evaluations of the train and validation loss")
    eval_chars: int = option(20_480, "characters of each split scored in an evaluation, about")
    patience: int = option(
        0, "evaluations without a lower validation loss before stopping (0: off)"
    )
    precision: Precision = option("auto", "arithmetic of the matrix products; auto: the fastest")
    seed: int = option(1337, "decides initial weights, batches, dropout and samples")

    def __post_init__(self) -> None:
        _refuse(range_problems(vars(self)))


@dataclass(frozen=True)
class SampleConfig:
    """How the next character is chosen from the model's probabilities.

    Raises:
        ConfigError: naming every impossible value at once.
    """

    temperature: float = option(1.0, "below 1 safer, above 1 wilder; 0: the likeliest character")
    top_k: int = option(0, "choose among the k likeliest characters only (0: all)")
    top_p: float = option(1.0, "choose among the likeliest that together reach p (1: all)")
    min_p: float = option(0.0, "choose among those at least p times as likely as the likeliest")
    repetition_penalty: float = option(
        1.0, "above 1: what the context holds becomes less likely; below 1: likelier"
    )
    seed: int = option(1337, "same seed, same text")

    def __post_init__(self) -> None:
        _refuse(range_problems(vars(self)))


PRESETS: Mapping[PresetName, Mapping[str, Any]] = {
    # About 20 seconds: for a first impression, and for short texts.
    "tiny": {
        "architecture": "modern", "block_size": 48, "n_layer": 2, "n_head": 2, "n_embd": 128,
        "dropout": 0.0, "batch_size": 32, "windows": "shuffled", "optimizer": "muon",
        "learning_rate": 1.6e-2, "final_learning_rate": 1e-3, "warmup_steps": 30,
        "weight_decay": 0.1, "beta2": 0.99, "grad_clip": 1.0, "max_steps": 320,
        "eval_interval": 80, "patience": 4,
    },
    # The best model that two cores train in two to three minutes (docs/record.md).
    "laptop": {
        "architecture": "modern", "block_size": 256, "n_layer": 4, "n_head": 4, "n_embd": 128,
        "dropout": 0.0, "batch_size": 8, "windows": "shuffled", "optimizer": "muon",
        "learning_rate": 1e-2, "final_learning_rate": 1e-4, "warmup_steps": 100,
        "weight_decay": 0.3, "beta2": 0.99, "grad_clip": 1.0, "max_steps": 1500,
        "eval_interval": 100, "patience": 5,
    },
    # The textbook's shape with a schedule that uses a GPU well.
    "gpu": {
        "learning_rate": 1e-3, "final_learning_rate": 1e-4, "warmup_steps": 100,
        "weight_decay": 0.1, "beta2": 0.99, "grad_clip": 1.0, "patience": 5,
    },
    # The textbook run itself, stopped once it only memorises.
    "seed": {"patience": 10},
}  # fmt: skip


Config = TypeVar("Config", GPTConfig, TrainConfig)


def configure(
    vocab_size: int, preset: PresetName, overrides: Mapping[str, Any]
) -> tuple[GPTConfig, TrainConfig]:
    """Apply `overrides` (field name to value) to a preset.

    Raises:
        ConfigError: naming every impossible value of both parts at once.
    """
    values = {**PRESETS[preset], **overrides, "vocab_size": vocab_size}
    if "max_steps" in overrides:
        steps = max(0, overrides["max_steps"])
        if "warmup_steps" not in overrides:  # a shortened run must not consist of its warm-up
            values["warmup_steps"] = min(values.get("warmup_steps", 0), steps // 10)
        if "decay_steps" not in overrides and "decay_steps" in values:  # it keeps its share
            values["decay_steps"] = steps * values["decay_steps"] // PRESETS[preset]["max_steps"]
    peak = overrides.get("learning_rate")
    if peak and is_possible("learning_rate", peak) and "final_learning_rate" not in overrides:
        # Where only the peak is moved, the schedule keeps its shape.
        usual = replace(TrainConfig(), **_fields_of(TrainConfig, PRESETS[preset]))
        ratio = usual.final_learning_rate / usual.learning_rate
        values["final_learning_rate"] = peak * ratio
    parts: list[Any] = []
    problems: list[Problem] = []
    for part in (GPTConfig, TrainConfig):
        try:
            parts.append(part(**_fields_of(part, values)))
        except ConfigError as error:
            problems += error.problems
    _refuse(problems)
    return parts[0], parts[1]


def restore(part: type[Config], values: Mapping[str, Any]) -> Config:
    """Build a config from the values in a file; a setting that the file lacks takes its default.

    Raises:
        ValueError: a value is of the wrong type.
        TypeError: there is no such setting.
        ConfigError: naming every impossible value at once.
    """
    for setting in fields(part):
        value: Any = values.get(setting.name, setting.default)
        choices = get_args(setting.type)
        if value not in choices if choices else type(value) is not setting.type:
            raise ValueError(tr("{name} cannot be {value!r:.20}", name=setting.name, value=value))
    return part(**values)


def _fields_of(
    part: type[GPTConfig] | type[TrainConfig], values: Mapping[str, Any]
) -> dict[str, Any]:
    names = {setting.name for setting in fields(part)}
    return {name: value for name, value in values.items() if name in names}


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise ConfigError(problems)
