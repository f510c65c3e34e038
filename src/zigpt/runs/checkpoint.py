"""`checkpoints/step-00000600/`: a TrainState as files, with a manifest that is written last."""

import contextlib
import hashlib
import itertools
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load

from zigpt import untrusted_json
from zigpt.errors import ModelFileError, StorageError
from zigpt.formats.format_1 import upgrade, upgrade_state
from zigpt.formats.safetensors import pack_tensors
from zigpt.gpt.config import GPTConfig, TrainConfig, restore
from zigpt.language import tr
from zigpt.storage import remove_folder, set_aside, sync, write_folder
from zigpt.training.loop import TrainState
from zigpt.training.optim import named_state

_KEEP = 2
_MANIFEST = "MANIFEST.json"
FILES = ("weights.safetensors", "optimizer.safetensors", "counters.json")
# What reading a damaged file may raise; RuntimeError: load_state_dict met other shapes.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError)
# Other settings would make it another training run.
FREE_TO_CHANGE = ("max_steps", "patience", "learning_rate", "final_learning_rate")
_DECIDED_BY_CLOCK = ("decay_steps", "eval_interval")  # and max_steps, where there is a time budget
COUNTERS = ("step", "seconds", "best_step", "best_loss", "evaluations_since_best", "evaluated_at")


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint's files."""

    weights: bytes
    optimizer: bytes
    counters: Mapping[str, Any]

    @property
    def logged(self) -> dict[str, dict[str, Any]]:
        """Size and SHA-256 that each file of the run's log had at this step."""
        return self.counters["logged"]


def save_checkpoint(folder: Path, state: TrainState, logged: Mapping[str, Any]) -> None:
    """Write the state of a step, and only then drop all but the newest two intact checkpoints.

    `logged` describes the run's log at this step; `restore_newest` returns it.

    Raises:
        StorageError: the disk is full, or the folder is not writable; earlier ones are intact.
    """
    path = folder / f"step-{state.step:08d}"
    if not path.exists():
        settings = {"model": asdict(state.model.config), "training": asdict(state.config)}
        counters = {name: getattr(state, name) for name in COUNTERS}
        contents = (
            pack_tensors(_as_arrays(state.model.state_dict())),
            pack_tensors(_as_arrays(_optimizer_state(state))),
            _json({**settings, "logged": logged, **counters}),
        )
        files = dict(zip(FILES, contents, strict=True))
        files[_MANIFEST] = _json(_describe(files))
        write_folder(path, files)
    else:  # the disk took it, but may have failed to confirm that it is safe
        sync(folder)
    _prune(folder)


def _prune(folder: Path) -> None:
    intact = 0
    for path in reversed(list_checkpoints(folder)):
        if intact == _KEEP:
            with contextlib.suppress(StorageError):  # it takes room, but does no other harm
                remove_folder(path)
            continue
        with contextlib.suppress(ModelFileError):  # a damaged one does not count
            read_checkpoint(path)
            intact += 1


def list_checkpoints(folder: Path) -> list[Path]:
    """List the finished checkpoints of a run, oldest first."""
    found = [path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{8,19}", path.name)]
    return sorted(found, key=lambda path: int(path.name[5:]))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, every file of it exactly as it was written.

    Raises:
        ModelFileError: a file is missing or altered, or belongs to another step.
    """
    try:
        return _read(path)
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _read(path: Path) -> Checkpoint:
    whole = untrusted_json.read_file(path / _MANIFEST)
    manifest, files = untrusted_json.parse(whole), {}
    for name in FILES:
        if name not in manifest:
            raise ValueError(tr("{manifest} does not name {file}", manifest=_MANIFEST, file=name))
        # Size first: a file that has grown may be larger than the memory.
        if (path / name).stat().st_size == manifest[name]["size"]:
            files[name] = (path / name).read_bytes()
        if _describe(files).get(name) != manifest[name]:
            raise ValueError(tr("{file} was altered after writing", file=name))
    if whole != _json(_describe(files)):
        raise ValueError(tr("{file} was altered after writing", file=_MANIFEST))
    weights, optimizer, counters = (files[name] for name in FILES)
    return Checkpoint(weights, optimizer, _checked(upgrade(untrusted_json.parse(counters)), path))


def _checked(counters: dict[str, Any], path: Path) -> dict[str, Any]:
    """Check the counters: a correct SHA-256 shows only that they have not changed since.

    Raises:
        ValueError: one is not a number, or the step is not that of the folder's name.
    """
    whole = [counters[name] for name in COUNTERS if "loss" not in name and name != "seconds"]
    whole += [log["size"] for log in counters["logged"].values()]
    # Before the first evaluation `evaluated_at` is -1.
    if any(type(number) is not int or number < -1 for number in whole):
        raise ValueError(tr("its counters are not integers"))
    if not (0 <= counters["seconds"] < math.inf and counters["best_loss"] >= 0):
        raise ValueError(tr("its counters are out of range"))
    if counters["step"] != int(path.name[5:]):
        raise ValueError(tr("it belongs to step {step}", step=counters["step"]))
    _settings(counters)
    return counters


def _settings(counters: Mapping[str, Any]) -> dict[str, Any]:
    model = restore(GPTConfig, counters["model"])
    return {**asdict(model), **asdict(restore(TrainConfig, counters["training"]))}


def _describe(files: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    return {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }


def restore_newest(
    folder: Path, state: TrainState, notify: Callable[[str], None]
) -> dict[str, Any] | None:
    """Load the newest checkpoint whose every byte is as it was written into `state`.

    A damaged one is renamed to `.bad`, the one before is taken, and `notify` is given a sentence
    about it. Returns what `save_checkpoint` was given as `logged`; None, with `state` untouched,
    where no checkpoint was ever finished.

    Raises:
        ModelFileError: there is no intact checkpoint, or it was made with other settings.
    """
    for path in reversed(list_checkpoints(folder)):
        try:
            checkpoint = read_checkpoint(path)
        except ModelFileError as error:
            notify(tr("{damage} ({why}): taking the one before", damage=error.what, why=error.why))
            set_aside(path, _free_name(path))
        else:
            _restore(path, checkpoint, state)
            return checkpoint.logged
    if any(folder.glob("step-*.bad*")):
        raise ModelFileError(
            tr("no checkpoint to resume from in {run}", run=folder.parent),
            tr("all of them are damaged; they are kept as .bad"),
            tr("train again into a new folder"),
        )
    return None


def _free_name(path: Path) -> str:
    names = (f"{path.name}.bad{number or ''}" for number in itertools.count())
    return next(name for name in names if not path.with_name(name).exists())


def _restore(path: Path, checkpoint: Checkpoint, state: TrainState) -> None:
    _require_same_settings(path, checkpoint, state)
    try:
        state.model.load_state_dict(load(checkpoint.weights))
        _load_into(_optimizer_state(state), upgrade_state(load(checkpoint.optimizer)))
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    for name in COUNTERS:
        setattr(state, name, checkpoint.counters[name])


def _require_same_settings(path: Path, checkpoint: Checkpoint, state: TrainState) -> None:
    then = _settings(checkpoint.counters)
    now = {**asdict(state.model.config), **asdict(state.config)}
    for name in then:
        if then[name] != now[name] and name not in (*FREE_TO_CHANGE, *_DECIDED_BY_CLOCK):
            raise ModelFileError(
                tr("{run} was trained with another {name}", run=path.parent.parent, name=name),
                tr(
                    "run.json has {now}, its checkpoint {checkpoint} has {then}",
                    now=now[name],
                    checkpoint=path.name,
                    then=then[name],
                ),
                tr("put the old run.json back, or train again into another folder"),
            )


def _damaged(path: Path, error: Exception) -> ModelFileError:
    detail = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ModelFileError(
        tr("{file} is damaged", file=path.name), detail, tr("take the one before it")
    )


def _optimizer_state(state: TrainState) -> dict[str, torch.Tensor]:
    return named_state(state.optimizers, state.model)


def _load_into(tensors: dict[str, torch.Tensor], saved: dict[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.shape != saved[name].shape:
            raise ValueError(tr("{tensor} is of another shape", tensor=name))
        tensor.copy_(saved[name])


def _as_arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
