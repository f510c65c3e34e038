"""`model.safetensors`: weights, config, vocabulary and origin in one file that runs no code."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from zigpt.config import GPTConfig
from zigpt.errors import ModelFileError
from zigpt.model import GPT
from zigpt.runs.storage import write_file
from zigpt.tokenizer import CharTokenizer

MODEL_FILE = "model.safetensors"
_KEY = "zigpt"
_FORMAT = 1
_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")


@dataclass(frozen=True)
class SavedModel:
    """A model with the vocabulary it was trained on; `about` says on which text and how well."""

    model: GPT
    tokenizer: CharTokenizer
    about: dict[str, Any]


def save_model(path: Path, saved: SavedModel) -> None:
    """Write one self-contained file, whole or not at all.

    Raises:
        StorageError: the disk is full, or the folder is not writable.
    """
    header = {
        "format": _FORMAT,
        "config": asdict(saved.model.config),
        "characters": saved.tokenizer.characters,
        "about": saved.about,
    }
    weights = {name: tensor.detach().cpu() for name, tensor in saved.model.state_dict().items()}
    # One key, because safetensors writes several in random order: equal models, equal files.
    write_file(path, save(weights, {_KEY: json.dumps(header)}))


def load_model(path: Path, device: torch.device) -> SavedModel:
    """Read a model from its file, or from the run folder that holds it; in eval mode.

    Raises:
        ModelFileError: missing, damaged, a pickle, or not a model of ours.
    """
    if path.is_dir():
        if not (path / MODEL_FILE).exists():
            raise ModelFileError(
                f"no {MODEL_FILE} in {path}",
                "a run folder has one from its first look at the loss on",
                "give a folder that `zigpt train` has written, or a model file",
            )
        path = path / MODEL_FILE
    _refuse_others(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = json.loads((file.metadata() or {})[_KEY])
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
            model, tokenizer, about = _rebuild(path, header, shapes)
            weights = {name: file.get_tensor(name).float() for name in shapes}
            model.load_state_dict(weights, assign=True)
    except ModelFileError:
        raise
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise damaged(path, str(error).splitlines()[0][:200] if str(error) else "") from error
    return SavedModel(model.to(device).eval(), tokenizer, about)


def damaged(path: Path, detail: str) -> ModelFileError:
    """Build the refusal of a file that cannot be trusted."""
    return ModelFileError(
        f"{path} is damaged or not a zigpt model",
        detail or "its content is not what it says it is",
        "use another copy, or train again",
    )


def _refuse_others(path: Path) -> None:
    if not path.is_file():
        raise ModelFileError(
            f"no model at {path}",
            "there is no such file or folder" if not path.exists() else "it is not a regular file",
            "give a run folder or a model.safetensors",
        )
    with path.open("rb") as file:
        magic = file.read(9)
    # A safetensors file begins with a length, which may look like a pickle's first bytes, and "{".
    pickled = magic[:1] == b"\x80" and magic[8:] != b"{"
    if path.suffix.lower() in _PICKLES or magic.startswith(b"PK\x03\x04") or pickled:
        raise ModelFileError(
            f"{path} is a pickle, not a model.safetensors",
            "loading a pickle runs whatever code it holds, so zigpt never does",
            "give a run folder or a model.safetensors",
        )


def _rebuild(
    path: Path, header: dict[str, Any], shapes: dict[str, list[int]]
) -> tuple[GPT, CharTokenizer, dict[str, Any]]:
    if header["format"] != _FORMAT:
        raise damaged(path, f"its format is {header['format']!r}, this zigpt reads {_FORMAT}")
    config = GPTConfig(**header["config"])
    # Before building anything: a header may claim any size.
    if sum(math.prod(shape) for shape in shapes.values()) != config.n_parameters:
        raise damaged(path, "its config and its weights are of different sizes")
    tokenizer = CharTokenizer(header["characters"])
    if tokenizer.vocab_size != config.vocab_size:
        raise damaged(path, "its vocabulary and its weights are of different sizes")
    with torch.device("meta"):  # shapes only: the weights come from the file
        model = GPT(config)
    return model, tokenizer, header["about"]
