"""A run folder: everything one training run leaves behind, and all that is needed to resume it."""

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from zigpt.data.source import Source
from zigpt.errors import ConfigError, ModelFileError, TextError
from zigpt.formats import safetensors
from zigpt.formats.safetensors import FORMAT, MODEL_FILE
from zigpt.formats.saved_model import SavedModel
from zigpt.gpt.config import TrainConfig
from zigpt.language import tr
from zigpt.runs.checkpoint import FREE_TO_CHANGE, restore_newest, save_checkpoint
from zigpt.runs.control import CONTROL_FILE, Control
from zigpt.runs.lock import Lock, locked
from zigpt.runs.metrics import RunLog
from zigpt.runs.paths import RUN_FILE, snapshot_path
from zigpt.runs.preflight import require_free, require_no_way_out, require_room
from zigpt.runs.record import RunRecord, read_record, write_record
from zigpt.storage import clear_leftovers, make_folder, remove_empty_folder, write_file
from zigpt.tokenizers.base import Tokenizer
from zigpt.training.loop import TrainState
from zigpt.training.plan import change_rest


class RunFolder:
    """One run on disk; whoever changes it holds its lock, from `create` or `lock` to `close`."""

    def __init__(self, path: Path, record: RunRecord) -> None:
        self.path, self.record = path, record
        self.control = Control(path)
        self.saved_step: int | None = None
        self._lock: Lock | None = None
        self._unlock = ExitStack()
        self._best: bytes | None = None  # a model that the disk has not taken yet

    @classmethod
    def create(cls, path: Path, record: RunRecord) -> "RunFolder":
        """Make the folder, lock it, and write its run.json.

        Raises:
            RunBusyError: something is there already; it is never overwritten.
            StorageError: the folder cannot be made, or the disk is too full for its checkpoints.
        """
        require_free(path)
        require_room(path, *record.configs)
        is_new = not path.exists()
        make_folder(path)
        run = cls(path, record)
        try:
            run.lock()
            require_free(path)  # again: another training run may have come and gone
            clear_leftovers(path, keep=CONTROL_FILE)
            write_record(path, record)
        except BaseException:
            run.close()
            if is_new:
                remove_empty_folder(path)
            raise
        return run

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Open an existing run.

        Raises:
            ModelFileError: there is none at `path`, it is damaged, or a link leads out of it.
        """
        if not os.path.isfile(path / RUN_FILE):
            raise ModelFileError(
                tr("no run at {path}", path=path),
                tr("there is no {file} in it", file=RUN_FILE),
                tr("name a folder that a training run has written"),
            )
        require_no_way_out(path)
        return cls(path, read_record(path))

    def lock(self) -> None:
        """Keep every other training out.

        Raises:
            RunBusyError: there is one; it is named.
        """
        self._lock = self._unlock.enter_context(locked(self.path))

    @property
    def is_protected(self) -> bool:
        """Whether other training runs are kept out; not every file system can."""
        return self._lock is not None and self._lock.protects

    def close(self) -> None:
        """Let others in."""
        self._lock = None
        self._unlock.close()

    def report_waiting(self, step: int | None) -> None:
        """Let others see that the training waits after a step, or (None) that it continues.

        Raises:
            StorageError: the disk did not take it.
        """
        if self._lock:
            self._lock.report_waiting(step)

    @property
    def log(self) -> RunLog:
        """The run's history; of a training run, as long as its folder is where it was.

        Raises:
            StorageError: it was moved or replaced meanwhile.
        """
        self._require_held()
        return self._log

    @cached_property
    def _log(self) -> RunLog:
        return RunLog(self.path)  # read only when the folder is locked: until then it may change

    def require_changeable(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Tell which of these settings differ from the run's.

        Raises:
            ConfigError: naming every one that would make it another training run.
        """
        record = self.record
        now = {**asdict(record.model), **asdict(record.training), "preset": record.preset}
        changed = {name: value for name, value in overrides.items() if value != now[name]}
        if forbidden := [name for name in changed if name not in FREE_TO_CHANGE]:
            raise ConfigError([self._fixed(name, now[name], changed[name]) for name in forbidden])
        return changed

    def change(self, overrides: Mapping[str, Any], step: int) -> None:
        """Take over new settings for the rest of the run, the steps after `step`.

        Raises:
            ConfigError: naming every one that is impossible or would make it another training run.
            StorageError: the disk did not take it.
        """
        changed = self.require_changeable(overrides)
        if "max_steps" in changed and "learning_rate" in overrides:  # the same rate, once more
            changed["learning_rate"] = overrides["learning_rate"]
        if changed:
            minutes = None if "max_steps" in changed else self.record.minutes
            training = change_rest(self.record.training, step, changed)
            self._replace_record(replace(self.record, training=training, minutes=minutes))

    def _fixed(self, name: str, now: Any, wanted: Any) -> tuple[str, str]:
        problem = tr(
            "{name} is {now} in {run}, not {wanted}",
            name=name,
            now=now,
            run=self.path,
            wanted=wanted,
        )
        return problem, tr("drop `{name}`", name=name)

    def move_text(self, text: Mapping[str, Any]) -> None:
        """Take over where the text is now.

        Raises:
            StorageError: the disk did not take it.
        """
        moved = {**self.record.text, "origin": text["origin"], "paths": text["paths"]}
        if moved != self.record.text:
            self._replace_record(replace(self.record, text=moved))

    def move_end(self, training: TrainConfig) -> None:
        """Take over another number of steps, decided by the clock.

        Raises:
            StorageError: the disk did not take it.
        """
        self._replace_record(replace(self.record, training=training))

    def require_text(self, source: Source) -> None:
        """Check that `source` is the text the run was started on.

        Raises:
            TextError: it has changed.
        """
        if source.sha256 != self.record.text["sha256"]:
            raise TextError(
                tr(
                    "{text} is not the text that {run} was trained on",
                    text=source.origin,
                    run=self.path,
                ),
                tr("its SHA-256 differs, so continuing would mix two texts"),
                tr("give back the old text, or train again into another folder"),
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

    def save(self, state: TrainState) -> None:
        """Write a checkpoint to resume from: last, so that whatever belongs to it is there.

        Raises:
            StorageError: the disk did not take it all; what is missing waits for next time.
        """
        log = self.log
        self._write_best()
        save_checkpoint(self.path / "checkpoints", state, log.sync())
        self.saved_step = state.step

    def restore(self, state: TrainState, notify: Callable[[str], None]) -> None:
        """Bring `state` to the newest intact checkpoint and drop what was written after it.

        Where no checkpoint was ever finished, the training starts from the beginning.

        Raises:
            ModelFileError: there were checkpoints, but there is no intact one.
            StorageError: the folder is not writable.
        """
        clear_leftovers(self.path, keep=CONTROL_FILE)
        log = self.log
        logged = restore_newest(self.path / "checkpoints", state, notify)
        if logged is None and any(row["step"] for row in log.rows()):
            raise ModelFileError(  # the first is made before the first step
                tr("the checkpoints of {run} are gone", run=self.path),
                tr("its log has steps, and there is nothing to resume from"),
                tr("put them back, or train again into another folder, as `run`"),
            )
        # Before anything is written that an older zigpt could not read. What was written in an
        # older format stays as it is: every file is read for itself.
        if self.record.format != FORMAT:
            self._replace_record(replace(self.record, format=FORMAT))
        self.saved_step = state.step if logged else None
        for name in log.cut(logged or {}):
            notify(
                tr("{file} was altered after writing: what can be read of it is kept", file=name)
            )

    def _pack(self, state: TrainState, tokenizer: Tokenizer, val_loss: float | None) -> bytes:
        about = {"text": self.record.text, "step": state.step, "val_loss": val_loss}
        return safetensors.pack(SavedModel(state.model, tokenizer, about).to_file())

    def _require_held(self) -> None:
        if self._lock:
            self._lock.require()

    def _write_best(self) -> None:
        if self._best:
            write_file(self.path / MODEL_FILE, self._best)
            self._best = None

    def _replace_record(self, record: RunRecord) -> None:
        write_record(self.path, record)
        self.record = record
