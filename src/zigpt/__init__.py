"""zigpt: a character-level GPT to read in an afternoon, train in minutes, and look inside.

The public names are loaded when first used, so that `import zigpt` does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zigpt.config import GPTConfig, SampleConfig, TrainConfig
    from zigpt.corpus import Corpus
    from zigpt.errors import ZigptError
    from zigpt.generate import generate, write
    from zigpt.model import GPT
    from zigpt.tokenizer import CharTokenizer
    from zigpt.train import TrainState, train

__version__ = "0.1.0"

_HOME = {
    "CharTokenizer": "tokenizer",
    "Corpus": "corpus",
    "GPT": "model",
    "GPTConfig": "config",
    "SampleConfig": "config",
    "TrainConfig": "config",
    "TrainState": "train",
    "ZigptError": "errors",
    "generate": "generate",
    "train": "train",
    "write": "generate",
}

__all__ = [
    "GPT",
    "CharTokenizer",
    "Corpus",
    "GPTConfig",
    "SampleConfig",
    "TrainConfig",
    "TrainState",
    "ZigptError",
    "generate",
    "train",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'zigpt' has no attribute {name!r}")
    return getattr(import_module(f"zigpt.{_HOME[name]}"), name)
