"""A run folder: everything one training leaves behind, and all that is needed to resume it."""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from zigpt import __version__, untrusted_json
from zigpt.data.baselines import Ladder, Rung
from zigpt.data.source import Source
from zigpt.errors import ConfigError, ModelFileError, RunBusyError, TextError
from zigpt.formats import safetensors
from zigpt.formats.safetensors import FORMAT, MODEL_FILE, damaged, require_format
from zigpt.formats.saved_model import SavedModel
from zigpt.gpt.config import GPTConfig, TrainConfig, restore
from zigpt.runs.checkpoint import FREE_TO_CHANGE, restore_newest, save_checkpoint
from zigpt.runs.control import CONTROL_FILE, Request, read_request, request_stamp
from zigpt.runs.lock import Lock, locked
from zigpt.runs.metrics import RunLog
from zigpt.runs.paths import RUN_FILE, snapshot_path
from zigpt.runs.preflight import is_blank, require_own_files, require_room
from zigpt.storage import (
    clear_leftovers,
    make_folder,
    write_file,
)
from zigpt.tokenizers.base import Tokenizer
from zigpt.training.loop import TrainState

SAVE_EVERY = 50.0  # seconds, so that with the next step no more than a minute can be lost


class RunFolder:
    """One run on disk; `info` is the content of its run.json.

    Whoever changes it holds its lock, from `create` or `lock` on until `close`.
    """

    def __init__(self, path: Path, info: dict[str, Any]) -> None:
        self.path, self.info = path, info
        self._lock: Lock | None = None
        self._stale_request = request_stamp(path)
        self.saved_step: int | None = None
        self._best: bytes | None = None  # a model that the disk has not taken yet
        self._held = ExitStack()

    @staticmethod
    def require_free(path: Path) -> None:
        """Check that a new run may be made at `path`.

        Raises:
            RunBusyError: something is there already; it is never overwritten.
        """
        if path.exists() and (not path.is_dir() or not is_blank(path)):
            raise RunBusyError(
                f"{path} exists already",
                "zigpt never overwrites what is there",
                "choose another name as `run`, or continue that training with `resume`",
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
        """Make the folder, lock it, and write its run.json.

        Raises:
            RunBusyError: something is there already; it is never overwritten.
            StorageError: the folder cannot be made, or the disk is too full for its checkpoints.
        """
        cls.require_free(path)
        require_room(path, *configs)
        info = {
            "format": FORMAT,
            "zigpt": __version__,
            "torch": torch.__version__,
            "model": asdict(configs[0]),
            "training": asdict(configs[1]),
            "text": fingerprint(source),
            "ladder": {rung.name: rung.loss for rung in ladder.rungs},
            **extra,
        }
        make_folder(path)
        run = cls(path, info)
        run.lock()
        try:
            cls.require_free(path)  # again: another training may have come and gone
            clear_leftovers(path, but=CONTROL_FILE)
            run._write_info()
        except BaseException:
            run.close()
            raise
        return run

    @property
    def log(self) -> RunLog:
        """The run's history; of a training, as long as its folder is where it was.

        Raises:
            StorageError: it was moved or replaced meanwhile.
        """
        self._require_held()
        return self._log

    @cached_property
    def _log(self) -> RunLog:
        return RunLog(self.path)

    def lock(self) -> None:
        """Keep every other training out.

        Raises:
            RunBusyError: there is one; it is named.
        """
        self._lock = self._held.enter_context(locked(self.path))

    def wait_at(self, step: int | None) -> None:
        """Let others know that the training waits after a step, or (None) goes on.

        Raises:
            StorageError: the disk does not take it.
        """
        if self._lock:
            self._lock.wait_at(step)

    def close(self) -> None:
        """Let others in."""
        self._lock = None
        self._held.close()

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Open an existing run.

        Raises:
            ModelFileError: there is none at `path`, it is damaged, or a link leads out of it.
        """
        file = path / RUN_FILE
        if not os.path.isfile(file):
            raise ModelFileError(
                f"no run at {path}",
                f"there is no {RUN_FILE} in it",
                "name a folder that a training has written, as `run`",
            )
        require_own_files(path)
        try:
            info = untrusted_json.parse_file(file)
            require_format(file, info["format"])
            run = cls(path, info)
            _ = run.configs, run.ladder.rungs[0], info["text"]["sha256"], info["prompt"].encode
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise damaged(file, str(error).splitlines()[0]) from error
        return run

    @property
    def configs(self) -> tuple[GPTConfig, TrainConfig]:
        """The model's and the training's settings."""
        return restore(GPTConfig, self.info["model"]), restore(TrainConfig, self.info["training"])

    @property
    def ladder(self) -> Ladder:
        """The baselines computed from the run's own text."""
        return Ladder(tuple(Rung(name, float(loss)) for name, loss in self.info["ladder"].items()))

    def change(self, overrides: Mapping[str, Any]) -> None:
        """Take over new settings for the rest of the run.

        Raises:
            ConfigError: naming every one that would make it another training.
        """
        model, training = self.configs  # not `info`: an older zigpt may have known less
        now = {**asdict(model), **asdict(training), "preset": self.info.get("preset")}
        changed = {name: value for name, value in overrides.items() if value != now[name]}
        if forbidden := [name for name in changed if name not in FREE_TO_CHANGE]:
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
                "its SHA-256 differs, so continuing would mix two texts",
                "give back the old text, or train again into another folder",
            )

    def save_best(self, state: TrainState, tokenizer: Tokenizer) -> None:
        """Make the present weights the run's model.safetensors.

        Raises:
            StorageError: the disk did not take it.
        """
        self._best = self._pack(state, tokenizer, state.best_loss)
        self._require_held()
        self._write_best()

    def save_snapshot(self, state: TrainState, tokenizer: Tokenizer) -> None:
        """Keep the present weights, to compare them with those of other steps.

        Raises:
            StorageError: the disk did not take it.
        """
        self._require_held()
        path = snapshot_path(self.path, state.step)
        make_folder(path.parent)
        write_file(path, self._pack(state, tokenizer, None))

    @property
    def request(self) -> Request:
        """What is requested of this training; a request to an earlier one no longer counts."""
        is_stale = request_stamp(self.path) == self._stale_request
        return Request() if is_stale else read_request(self.path)

    def save(self, state: TrainState) -> None:
        """Write a checkpoint to resume from: last, so that whatever belongs to it is there.

        Raises:
            StorageError: the disk did not take it all; what is missing waits for next time.
        """
        log = self.log
        self._write_best()
        save_checkpoint(self.path / "checkpoints", state, log.sync())
        self.saved_step = state.step

    def restore(self, state: TrainState, say: Callable[[str], None]) -> None:
        """Bring `state` to the newest intact checkpoint and forget what was written after it.

        Where no checkpoint was ever finished, the training starts from the beginning.

        Raises:
            ModelFileError: there were checkpoints, but there is no intact one.
            StorageError: the folder is not writable.
        """
        clear_leftovers(self.path, but=CONTROL_FILE)
        log = self.log
        if self.info["format"] != FORMAT:
            self.info["format"] = FORMAT
            self._write_info()
        logged = restore_newest(self.path / "checkpoints", state, say)
        if logged is None and any(row["step"] for row in log.rows()):
            raise ModelFileError(  # the first is made before the first step
                f"the checkpoints of {self.path} are gone",
                "its log tells of steps, and there is nothing to resume from",
                "put them back, or train again into another folder, as `run`",
            )
        self.saved_step = state.step if logged else None
        for name in log.cut(logged or {}):
            say(f"{name} was altered after writing: what can be read of it is kept")

    def _pack(self, state: TrainState, tokenizer: Tokenizer, val_loss: float | None) -> bytes:
        about = {"text": self.info["text"], "step": state.step, "val_loss": val_loss}
        return safetensors.pack(SavedModel(state.model, tokenizer, about).to_file())

    def _require_held(self) -> None:
        if self._lock:
            self._lock.require()

    def _write_best(self) -> None:
        if self._best:
            write_file(self.path / MODEL_FILE, self._best)
            self._best = None

    def _write_info(self) -> None:
        data = json.dumps(self.info, indent=2, ensure_ascii=False) + "\n"
        # A file name may hold bytes that are no text; JSON can escape them.
        write_file(self.path / RUN_FILE, data.encode(errors="backslashreplace"))


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
