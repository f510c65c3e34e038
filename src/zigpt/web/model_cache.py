"""The models of one run: read from their files, and again when a training run replaces them."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from zigpt.errors import ModelFileError
from zigpt.formats.safetensors import MODEL_FILE
from zigpt.formats.saved_model import SavedModel, load_model
from zigpt.runs.paths import snapshot_path

_MOST_SNAPSHOTS = 4


@dataclass(frozen=True)
class CachedModel:
    """A model, and the `version` that tells it from the one before.

    `file` is its path within the folder that is shown. `trouble` says why there is no newer one.
    """

    saved: SavedModel
    version: str
    file: str
    trouble: str | None = None

    def describe(self) -> dict[str, Any]:
        """List what the page has to know before it asks anything else."""
        config = self.saved.model.config
        return {
            "characters": self.saved.tokenizer.vocabulary,
            "block_size": config.block_size,
            "n_layer": config.n_layer,
            "n_head": config.n_head,
            "n_embd": config.n_embd,
            "parameters": config.n_parameters,
            "step": self.saved.about.get("step"),
            "version": self.version,
            "trouble": self.trouble,
        }


class ModelCache:
    """Holds the newest model of a run folder, or that of a single file, and a few snapshots.

    If a file is damaged or removed, the loaded model stays.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        self._path, self._device = path, device
        self._newest: CachedModel | None = None
        self._tried: str | None = None  # the version that was read last, or could not be
        self._snapshots: dict[int, CachedModel] = {}

    def snapshot(self, step: int) -> CachedModel:
        """Read the model as it was after a step.

        Raises:
            ModelFileError: it was not kept.
        """
        cached = self._snapshots.pop(step, None)
        if cached is None:
            file = snapshot_path(self._path, step)
            name = file.relative_to(self._path).as_posix()
            cached = CachedModel(load_model(file, self._device), f"step {step}", name)
        self._snapshots[step] = cached
        if len(self._snapshots) > _MOST_SNAPSHOTS:  # drop the least recently used
            del self._snapshots[next(iter(self._snapshots))]
        return cached

    def newest(self) -> CachedModel:
        """Read the newest model if it is not the one that is held.

        Raises:
            ModelFileError: there is none yet.
        """
        version = self.version()
        if version != self._tried or self._newest is None:
            try:
                name = MODEL_FILE if self._path.is_dir() else self._path.name
                self._newest = CachedModel(load_model(self._path, self._device), version, name)
            except ModelFileError as error:
                if self._newest is None:
                    raise
                self._newest = replace(self._newest, trouble=str(error))
            self._tried = version
        return self._newest

    def version(self) -> str:
        """Tell the file that is there now from any other."""
        file = self._path / MODEL_FILE if self._path.is_dir() else self._path
        try:
            status = os.stat(file)
        except OSError:
            return "none"
        return f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"
