"""`checkpoints/step-00000600/`: a TrainState as files, with a manifest that is written last."""

import contextlib
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from zigpt.errors import ModelFileError, StorageError
from zigpt.runs import foreign
from zigpt.runs.storage import remove_folder, set_aside, sync, write_folder
from zigpt.train import TrainState

_KEEP = 2
_MANIFEST = "MANIFEST.json"
_FILES = ("weights.safetensors", "optimizer.safetensors", "counters.json")
# What reading a damaged file may raise; RuntimeError: load_state_dict met other shapes.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError)
_COUNTERS = ("step", "seconds", "best_step", "best_loss", "looks_since_best", "looked_at")


def save_checkpoint(folder: Path, state: TrainState, logged: Mapping[str, int]) -> None:
    """Write the state of a step, and only then drop those before the newest two intact ones.

    `logged` says how far the run's log had come; restoring gives it back.

    Raises:
        StorageError: the disk is full, or the folder is not writable; earlier ones are intact.
    """
    path = folder / f"step-{state.step:08d}"
    if not path.exists():
        contents = (
            save(_on_cpu(state.model.state_dict())),
            save(_on_cpu(_memory(state))),
            _json({"logged": logged} | {name: getattr(state, name) for name in _COUNTERS}),
        )
        files = dict(zip(_FILES, contents, strict=True))
        files[_MANIFEST] = _json(_describe(files))
        write_folder(path, files)
    else:  # the disk took it, but may have refused to say that it is safe
        sync(folder)
    _prune(folder)


def _prune(folder: Path) -> None:
    intact = 0
    for path in reversed(list_checkpoints(folder)):
        if intact == _KEEP:
            with contextlib.suppress(StorageError):  # it takes room, and does no other harm
                remove_folder(path)
            continue
        with contextlib.suppress(ModelFileError):  # a damaged one does not count
            read_checkpoint(path)
            intact += 1


def list_checkpoints(folder: Path) -> list[Path]:
    """Name the finished checkpoints of a run, oldest first."""
    found = [path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{8,19}", path.name)]
    return sorted(found, key=lambda path: int(path.name[5:]))


def read_checkpoint(path: Path) -> dict[str, bytes]:
    """Read the files of a checkpoint, every one of them exactly as it was written.

    Raises:
        ModelFileError: one is missing, or its size or SHA-256 is not that of the manifest.
    """
    try:
        return _read(path)
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _read(path: Path) -> dict[str, bytes]:
    manifest = foreign.parse_file(path / _MANIFEST)
    files = {name: (path / name).read_bytes() for name in _FILES}
    for name, described in _describe(files).items():
        if name not in manifest:
            raise ValueError(f"{_MANIFEST} does not name {name}")
        if manifest[name] != described:
            raise ValueError(f"{name} is not as it was written")
    if (path / _MANIFEST).read_bytes() != _json(_describe(files)):
        raise ValueError(f"{_MANIFEST} is not as it was written")
    return files


def _describe(files: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    return {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }


def restore_newest(folder: Path, state: TrainState, say: Callable[[str], None]) -> dict[str, int]:
    """Load the newest checkpoint whose every byte is as it was written into `state`.

    A damaged one is renamed to `.bad` and the one before is taken; `say` hears about it. Where
    none was ever finished, `state` stays as it is: a training begins at step 0. Returns how far
    the run's log had come; of a training that begins, nothing.

    Raises:
        ModelFileError: there is no intact checkpoint.
    """
    for path in reversed(list_checkpoints(folder)):
        try:
            return _restore(path, state)
        except ModelFileError as error:
            say(f"{error.what} ({error.why}): taking the one before")
            set_aside(path, _free_name(path))
    if any(folder.glob("step-*.bad*")):
        raise ModelFileError(
            f"no checkpoint to go on from in {folder.parent}",
            "all of them are damaged; they are kept as .bad",
            "train again into a new folder",
        )
    return {}


def _free_name(path: Path) -> str:
    names = (f"{path.name}.bad{number or ''}" for number in itertools.count())
    return next(name for name in names if not path.with_name(name).exists())


def _restore(path: Path, state: TrainState) -> dict[str, int]:
    files = read_checkpoint(path)
    try:
        counters = foreign.parse(files["counters.json"])
        if not all(isinstance(counters[name], int | float) for name in _COUNTERS):
            raise ValueError("its counters are no numbers")
        logged = {name: int(counters["logged"][name]) for name in ("metrics", "samples")}
        state.model.load_state_dict(load(files["weights.safetensors"]))
        _remember(_memory(state), load(files["optimizer.safetensors"]))
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    for name in _COUNTERS:
        setattr(state, name, counters[name])
    return logged


def _damaged(path: Path, error: Exception) -> ModelFileError:
    detail = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ModelFileError(f"{path.name} is damaged", detail, "take the one before it")


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
