"""A model file as a model: what torch makes of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from zigpt.anatomy import Activations, look_inside
from zigpt.model import GPT
from zigpt.runs.model_file import ModelFile, pack, read_whole_model_file
from zigpt.runs.storage import write_file
from zigpt.tokenizer import CharTokenizer


@dataclass(frozen=True)
class SavedModel:
    """A model with the vocabulary it was trained on; `about` says on which text and how well."""

    model: GPT
    tokenizer: CharTokenizer
    about: dict[str, Any]

    def ids(self, text: str) -> Int[Tensor, " T"]:
        """Turn a text into ids, where the model is.

        Raises:
            VocabularyError: naming each unknown character.
        """
        ids = torch.from_numpy(self.tokenizer.encode(text).astype("int64"))
        return ids.to(self.model.head.weight.device)

    def look_inside(self, text: str) -> Activations:
        """Run the model once and keep all that it computes."""
        return look_inside(self.model, self.ids(text))


def weights_of(model: GPT) -> dict[str, np.ndarray]:
    """All weights by name, as a model file holds them; on a CPU they share the model's memory."""
    return {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}


def pack_model(saved: SavedModel) -> bytes:
    """Lay out one self-contained file."""
    weights = weights_of(saved.model)
    return pack(ModelFile(saved.model.config, weights, saved.tokenizer, saved.about))


def save_model(path: Path, saved: SavedModel) -> None:
    """Write one self-contained file, whole or not at all.

    Raises:
        StorageError: the disk is full, or the folder is not writable.
    """
    write_file(path, pack_model(saved))


def load_model(path: Path | str, device: torch.device | str = "cpu") -> SavedModel:
    """Read a model from its file, or from the run folder that holds it; in eval mode.

    Raises:
        ModelFileError: missing, damaged, a pickle, or not a model of ours.
    """
    file = read_whole_model_file(Path(path))
    model = GPT(file.config, torch.Generator())
    model.load_state_dict({name: torch.from_numpy(w) for name, w in file.weights.items()})
    return SavedModel(model.to(device).eval(), file.tokenizer, file.about)
