"""What every format of model files has in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from zigpt.gpt.config import GPTConfig
from zigpt.tokenizers.base import Tokenizer

Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ModelFile:
    """Everything that a model file holds; `about` describes its training text and its loss.

    `sha256` is that of the weights when they were written; the earliest files have none.
    """

    config: GPTConfig
    weights: Weights
    tokenizer: Tokenizer
    about: dict[str, Any]
    sha256: str | None = None


class Format(Protocol):
    """A module that reads and writes one kind of model file."""

    def read(self, path: Path) -> ModelFile:
        """Read a model with all of its weights.

        Raises:
            ModelFileError: missing, damaged, or not of this format.
        """
        ...

    def write(self, path: Path, content: ModelFile) -> None:
        """Write one self-contained file, whole or not at all.

        Raises:
            ModelFileError: the format cannot hold this model.
            StorageError: the disk did not take it.
        """
        ...
