"""A model file as a torch model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from zigpt.formats import safetensors
from zigpt.formats.base import ModelFile
from zigpt.gpt.model import GPT
from zigpt.tokenizers.base import Tokenizer


@dataclass(frozen=True)
class SavedModel:
    """A model with its tokenizer; `about` describes its training text and its loss."""

    model: GPT
    tokenizer: Tokenizer
    about: dict[str, Any]

    def ids(self, text: str) -> Int[Tensor, " T"]:
        """Turn a text into ids on the model's device.

        Raises:
            VocabularyError: naming each unknown character.
        """
        ids = torch.from_numpy(self.tokenizer.encode(text).astype("int64"))
        return ids.to(self.model.head.weight.device)

    def to_file(self) -> ModelFile:
        """Describe it as the content of a file, for any format to write."""
        about = _without_paths(self.about)
        return ModelFile(self.model.config, weights_of(self.model), self.tokenizer, about)


def _without_paths(about: dict[str, Any]) -> dict[str, Any]:
    """Leave out where the training text is: a model is given away, its maker's folders are not."""
    text = about.get("text")
    if not isinstance(text, dict):
        return about
    # A text without files is part of every Python: it is found again everywhere.
    dropped = {"origin", "paths"} if text.get("paths") else {"origin"}
    return {**about, "text": {name: text[name] for name in text if name not in dropped}}


def weights_of(model: GPT) -> dict[str, np.ndarray]:
    """List all weights by name, as in a model file; on a CPU they share the model's memory."""
    return {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}


def save_model(path: Path, saved: SavedModel) -> None:
    """Write one self-contained file, whole or not at all.

    Raises:
        StorageError: the disk is full, or the folder is not writable.
    """
    safetensors.write(path, saved.to_file())


def load_model(path: Path | str, device: torch.device | str = "cpu") -> SavedModel:
    """Read a model from its file, or from the run folder that holds it; in eval mode.

    Raises:
        ModelFileError: missing, damaged, a pickle, or not a model of ours.
    """
    file = safetensors.read(Path(path))
    model = GPT(file.config, torch.Generator())
    model.load_state_dict({name: torch.from_numpy(w) for name, w in file.weights.items()})
    return SavedModel(model.to(device).eval(), file.tokenizer, file.about)
