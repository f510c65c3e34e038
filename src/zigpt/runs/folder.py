"""A run folder: everything one training leaves behind, and all that is needed to go on with it."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from zigpt import __version__
from zigpt.baselines import Ladder, Rung
from zigpt.config import GPTConfig, TrainConfig, restore
from zigpt.corpus import Source
from zigpt.errors import ConfigError, ModelFileError, RunBusyError, TextError
from zigpt.runs.checkpoint import restore_newest, save_checkpoint
from zigpt.runs.model_file import MODEL_FILE, damaged
from zigpt.runs.record import Record
from zigpt.runs.saved_model import SavedModel, save_model
from zigpt.runs.storage import storage_errors, write_file
from zigpt.tokenizer import CharTokenizer
from zigpt.train import TrainState

_RUN_FILE = "run.json"
_FREE_TO_CHANGE = ("max_steps", "patience")  # the others would make it another training


class RunFolder:
    """One run on disk; `info` is the content of its run.json."""

    def __init__(self, path: Path, info: dict[str, Any]) -> None:
        self.path, self.info = path, info
        self.record = Record(path)

    @staticmethod
    def require_free(path: Path) -> None:
        """Check that a new run may be made at `path`.

        Raises:
            RunBusyError: something is there already; it is never overwritten.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunBusyError(
                f"{path} exists already",
                "a training never overwrites what is there",
                "choose another name with --run, or go on with it by adding --resume",
            )

    @classmethod
    def create(
        cls,
        path: Path,
        configs: tuple[GPTConfig, TrainConfig],
        source: Source,
        ladder: Ladder,
        extra: Mapping[str, Any],
    ) -> "RunFolder":
        """Make the folder and its run.json.

        Raises:
            RunBusyError: something is there already; it is never overwritten.
            StorageError: the folder cannot be made.
        """
        cls.require_free(path)
        info = {
            "zigpt": __version__,
            "torch": torch.__version__,
            "model": asdict(configs[0]),
            "training": asdict(configs[1]),
            "text": fingerprint(source),
            "ladder": {rung.name: rung.loss for rung in ladder.rungs},
            **extra,
        }
        with storage_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        run = cls(path, info)
        run._write_info()
        return run

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Open an existing run.

        Raises:
            ModelFileError: there is none at `path`, or its run.json is damaged.
        """
        file = path / _RUN_FILE
        if not file.is_file():
            raise ModelFileError(
                f"no run at {path}",
                f"there is no {_RUN_FILE} in it",
                "name a folder that `zigpt train` has written, with --run",
            )
        try:
            info = json.loads(file.read_text(encoding="utf-8"))
            run = cls(path, info)
            _ = run.configs, run.ladder, info["text"]["sha256"], info["prompt"]
        except (ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
            raise damaged(file, str(error).splitlines()[0]) from error
        return run

    @property
    def configs(self) -> tuple[GPTConfig, TrainConfig]:
        """The model's and the training's settings."""
        return restore(GPTConfig, self.info["model"]), restore(TrainConfig, self.info["training"])

    @property
    def ladder(self) -> Ladder:
        """The baselines computed from the run's own text."""
        return Ladder(tuple(Rung(name, loss) for name, loss in self.info["ladder"].items()))

    def change(self, overrides: Mapping[str, Any]) -> None:
        """Take over new settings for the rest of the run.

        Raises:
            ConfigError: naming every one that would make it another training.
        """
        now = {**self.info["model"], **self.info["training"]}
        changed = {name: value for name, value in overrides.items() if value != now[name]}
        if forbidden := [name for name in changed if name not in _FREE_TO_CHANGE]:
            raise ConfigError(
                [
                    (f"{name} is {now[name]} in {self.path}, not {changed[name]}", f"drop {name}")
                    for name in forbidden
                ]
            )
        if changed:
            self.info["training"].update(changed)
            self._write_info()

    def require_text(self, source: Source) -> None:
        """Check that `source` is the text the run was started on.

        Raises:
            TextError: it has changed.
        """
        if source.sha256 != self.info["text"]["sha256"]:
            raise TextError(
                f"{source.origin} is not the text that {self.path} was trained on",
                "its SHA-256 differs, so going on would mix two texts",
                "give back the old text, or train anew into another folder",
            )

    def save_best(self, state: TrainState, tokenizer: CharTokenizer) -> None:
        """Make the present weights the run's model.safetensors.

        Raises:
            StorageError: the disk did not take it.
        """
        about = {"text": self.info["text"], "step": state.step, "test_loss": state.best_loss}
        save_model(self.path / MODEL_FILE, SavedModel(state.model, tokenizer, about))

    def save(self, state: TrainState) -> Path:
        """Write a checkpoint to go on from.

        Raises:
            StorageError: the disk did not take it.
        """
        return save_checkpoint(self.path / "checkpoints", state)

    def restore(self, state: TrainState, say: Callable[[str], None]) -> None:
        """Bring `state` to the newest intact checkpoint and forget what was written after it.

        Raises:
            ModelFileError: there is no intact checkpoint.
        """
        restore_newest(self.path / "checkpoints", state, say)
        self.record.forget_after(state.step)

    def _write_info(self) -> None:
        data = json.dumps(self.info, indent=2, ensure_ascii=False) + "\n"
        # A file name may hold bytes that are no text; JSON can escape them.
        write_file(self.path / _RUN_FILE, data.encode(errors="backslashreplace"))


def fingerprint(source: Source) -> dict[str, Any]:
    """Describe a text so that it can be found again and told from any other."""
    return {
        "name": source.name,
        "origin": source.origin,
        "paths": [os.path.abspath(path) for path in source.paths],
        "sha256": source.sha256,
        "characters": len(source.text),
        "encoding": source.encoding,
    }


def free_path(name: str) -> Path:
    """Choose a run folder where none was named: runs/<name>, numbered if it is taken."""
    first = Path("runs") / name
    path, number = first, 1
    while path.exists():
        number += 1
        path = first.with_name(f"{first.name}-{number}")
    return path


def newest_path() -> Path:
    """Find the run that was written to last in `runs/`.

    Raises:
        ModelFileError: there is none.
    """
    found = [file.parent for file in Path("runs").glob(f"*/{_RUN_FILE}")]
    if not found:
        raise ModelFileError(
            "no run was named",
            "and the folder runs/ here holds none",
            "name a run folder, or train one: zigpt train TEXT",
        )
    return max(found, key=lambda path: path.stat().st_mtime)
