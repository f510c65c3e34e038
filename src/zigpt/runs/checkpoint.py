"""`checkpoints/step-00000600/`: a TrainState as files, with a manifest that is written last."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from zigpt.errors import ModelFileError
from zigpt.runs.storage import write_folder
from zigpt.train import TrainState

_KEEP = 2
_MANIFEST = "MANIFEST.json"
# What reading a damaged file may raise; RuntimeError: load_state_dict met other shapes.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError)
_COUNTERS = ("step", "seconds", "best_step", "best_loss", "looks_since_best")


def save_checkpoint(folder: Path, state: TrainState) -> Path:
    """Write the state of a step, then drop all but the newest two.

    Raises:
        StorageError: the disk is full, or the folder is not writable; earlier ones are intact.
    """
    path = folder / f"step-{state.step:08d}"
    if not path.exists():
        files = {
            "weights.safetensors": save(_on_cpu(state.model.state_dict())),
            "optimizer.safetensors": save(_on_cpu(_memory(state))),
            "counters.json": _json({name: getattr(state, name) for name in _COUNTERS}),
        }
        described = {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
        }
        files[_MANIFEST] = _json(described)
        write_folder(path, files)
    for old in list_checkpoints(folder)[:-_KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """Name the finished checkpoints of a run, oldest first."""
    found = [path for path in folder.glob("step-*") if path.name[5:].isdigit()]
    return sorted(found, key=lambda path: int(path.name[5:]))


def restore_newest(folder: Path, state: TrainState, say: Callable[[str], None]) -> None:
    """Load the newest checkpoint whose every byte is as it was written into `state`.

    A damaged one is renamed to `.bad` and the one before is taken; `say` hears about it.

    Raises:
        ModelFileError: there is no intact checkpoint.
    """
    for path in reversed(list_checkpoints(folder)):
        try:
            _restore(path, state)
        except ModelFileError as error:
            say(f"{error.what} ({error.why}): taking the one before")
            with contextlib.suppress(OSError):
                path.rename(path.with_suffix(".bad"))
        else:
            return
    raise ModelFileError(
        f"no checkpoint to go on from in {folder.parent}",
        "the training was stopped before its first save, or all are damaged",
        "train again into a new folder",
    )


def _restore(path: Path, state: TrainState) -> None:
    files = {}
    try:
        manifest = json.loads((path / _MANIFEST).read_bytes())
        for name, described in manifest.items():
            data = files[name] = (path / name).read_bytes()
            if hashlib.sha256(data).hexdigest() != described["sha256"]:
                raise ValueError(f"{name} is not as it was written")
        counters = json.loads(files["counters.json"])
        state.model.load_state_dict(load(files["weights.safetensors"]))
        _remember(_memory(state), load(files["optimizer.safetensors"]))
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    for name in _COUNTERS:
        setattr(state, name, counters[name])


def _damaged(path: Path, error: Exception) -> ModelFileError:
    detail = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ModelFileError(f"{path.name} is damaged", detail, "take the checkpoint before it")


def _memory(state: TrainState) -> dict[str, torch.Tensor]:
    return {n: tensor for part in state.optimizers for n, tensor in part.memory.items()}


def _remember(memory: dict[str, torch.Tensor], saved: dict[str, torch.Tensor]) -> None:
    for name, tensor in memory.items():
        if tensor.shape != saved[name].shape:
            raise ValueError(f"{name} is of another shape")
        tensor.copy_(saved[name])


def _on_cpu(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
