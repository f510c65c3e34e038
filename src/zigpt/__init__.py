"""zigpt: a character-level GPT to read in an afternoon, train in minutes, and look inside.

    >>> import zigpt
    >>> run = zigpt.train("story.txt", preset="tiny", max_steps=20)
    >>> text = run.model.generate("a lamp", chars=80, seed=1)
    >>> text.startswith("a lamp")
    True

Names are imported when they are first used: `import zigpt` loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zigpt.api.model import Model, load
    from zigpt.api.run import Run, train
    from zigpt.errors import ZigptError
    from zigpt.gpt.config import GPTConfig, SampleConfig, TrainConfig
    from zigpt.gpt.model import GPT

__version__ = "0.1.0"

_MODULES = {
    "GPT": "zigpt.gpt.model",
    "GPTConfig": "zigpt.gpt.config",
    "Model": "zigpt.api.model",
    "Run": "zigpt.api.run",
    "SampleConfig": "zigpt.gpt.config",
    "TrainConfig": "zigpt.gpt.config",
    "ZigptError": "zigpt.errors",
    "load": "zigpt.api.model",
    "train": "zigpt.api.run",
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
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'zigpt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
