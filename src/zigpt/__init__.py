"""zigpt: a character-level GPT to read in an afternoon, train in minutes, and look inside.

    >>> import zigpt                                          # doctest: +SKIP
    >>> run = zigpt.train("the text itself, or a Path")       # doctest: +SKIP
    >>> print(run.model.generate("Once", chars=80, seed=1))   # doctest: +SKIP

Names are imported when they are first used: `import zigpt` loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zigpt.api import Model, Run, load, train
    from zigpt.errors import ZigptError
    from zigpt.gpt.config import GPTConfig, SampleConfig, TrainConfig
    from zigpt.gpt.model import GPT

__version__ = "0.1.0"

_HOMES = {
    "GPT": "zigpt.gpt.model",
    "GPTConfig": "zigpt.gpt.config",
    "Model": "zigpt.api",
    "Run": "zigpt.api",
    "SampleConfig": "zigpt.gpt.config",
    "TrainConfig": "zigpt.gpt.config",
    "ZigptError": "zigpt.errors",
    "load": "zigpt.api",
    "train": "zigpt.api",
}
__all__ = [
    "GPT",
    "GPTConfig",
    "Model",
    "Run",
    "SampleConfig",
    "TrainConfig",
    "ZigptError",
    "load",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'zigpt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
