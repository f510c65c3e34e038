"""The model under the glass: read from its file, and again whenever a training replaces it."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from zigpt.errors import ModelFileError
from zigpt.formats.safetensors import MODEL_FILE
from zigpt.formats.saved_model import SavedModel, load_model
from zigpt.runs.paths import snapshot_path

_MOST_SNAPSHOTS = 4


@dataclass(frozen=True)
class Shown:
    """A model with what tells it from the one before; `trouble` says why there is no newer one.

    The file is named as in the folder that is shown, or that of the model alone.
    """

    saved: SavedModel
    version: str
    file: str
    trouble: str | None = None


class Shelf:
    """Holds the newest model of a run folder, or that of a single file.

    A file that has been damaged or removed meanwhile changes nothing: the loaded one stays.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        self._path, self._device = path, device
        self._shown: Shown | None = None
        self._tried: str | None = None
        self._snapshots: dict[int, Shown] = {}

    def at(self, step: int) -> Shown:
        """The model as it was after a step.

        Raises:
            ModelFileError: it was not kept.
        """
        shown = self._snapshots.pop(step, None)
        if shown is None:
            file = snapshot_path(self._path, step)
            name = file.relative_to(self._path).as_posix()
            shown = Shown(load_model(file, self._device), f"step {step}", name)
        self._snapshots[step] = shown
        if len(self._snapshots) > _MOST_SNAPSHOTS:  # the one not asked for the longest
            del self._snapshots[next(iter(self._snapshots))]
        return shown

    def newest(self) -> Shown:
        """Look whether there is a newer one, and read it.

        Raises:
            ModelFileError: there is none yet.
        """
        version = self.version()
        if version != self._tried or self._shown is None:
            try:
                name = MODEL_FILE if self._path.is_dir() else self._path.name
                self._shown = Shown(load_model(self._path, self._device), version, name)
            except ModelFileError as error:
                if self._shown is None:
                    raise
                self._shown = replace(self._shown, trouble=str(error))
            self._tried = version
        return self._shown

    def version(self) -> str:
        """What tells the model that is there now from any other."""
        file = self._path / MODEL_FILE if self._path.is_dir() else self._path
        try:
            status = os.stat(file)
        except OSError:
            return "none"
        return f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"
