"""A run as its folder shows it, no matter which process trains there."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from zigpt.data.baselines import Ladder
from zigpt.errors import ModelFileError, RunBusyError
from zigpt.gpt.config import TrainConfig
from zigpt.runs.checkpoint import list_checkpoints
from zigpt.runs.control import read_request
from zigpt.runs.folder import RunFolder
from zigpt.runs.lock import require_unlocked, waits_at
from zigpt.runs.loggers.jsonl import METRICS_FILE, parse_metrics
from zigpt.runs.metrics import LOGS, SAMPLES_FILE, parse_samples
from zigpt.training.verdict import is_out_of_patience

State = Literal["starting", "training", "waiting", "stopped"]


def describe_run(path: Path) -> dict[str, Any] | None:
    """Describe a run for the page; None for a model file alone."""
    try:
        record = RunFolder.open(path).record
        return {
            "name": path.resolve().name,
            "model": asdict(record.model),
            "training": asdict(record.training),
            "text": {key: record.text[key] for key in ("name", "characters")},
            "ladder": {rung.name: rung.loss for rung in record.ladder.rungs},
            "prompt": record.prompt,
            "example": _last_sample(path, record.model.block_size),
        }
    except (ModelFileError, LookupError, TypeError):
        return None


def _last_sample(path: Path, length: int) -> str:
    """The newest text that the run wrote, as far as its model can read it at once."""
    samples = _read_samples(path)
    return samples[-1]["text"].strip()[:length] if samples else ""


def _read_samples(path: Path) -> list[dict[str, Any]]:
    try:
        return parse_samples((path / SAMPLES_FILE).read_text("utf-8", errors="replace"))
    except OSError:  # the run has only just started
        return []


def state_of(path: Path) -> State:
    """Tell what is going on in a run folder, in this process or any other."""
    try:
        require_unlocked(path)
    except RunBusyError:
        step, until = waits_at(path), read_request(path).until
        # Both: a training run that waits takes a moment to see that it can continue.
        waits = step is not None and until is not None and step >= until
        return "waiting" if waits else "training"
    return "stopped"


def step_of_newest(path: Path) -> int:
    """Find the step of a run's newest checkpoint, damaged or not; 0 without one."""
    return max((int(found.name[5:]) for found in list_checkpoints(path / "checkpoints")), default=0)


class Watcher:
    """Reports what is new in a run since it was last asked.

    If a file became shorter, a run that was resumed from an earlier step has cut it back: all of it
    is reported again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reported: dict[str, Any] = {}
        self._sizes: dict[str, int | None] = dict.fromkeys(LOGS)
        self._read = 0  # bytes of metrics.jsonl, up to its last whole line
        self._last_step = 0
        self._val_losses: dict[int, float] = {}  # by step

    def is_due(self, now: Mapping[str, Any]) -> bool:
        """Whether there is anything to report; costs no more than the sizes of two files."""
        return any(self._is_new(kind, value) for kind, value in now.items()) or any(
            _size(self.path / name) != size for name, size in self._sizes.items()
        )

    def news(self, now: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Report what differs in `now`, the new `rows` (`again`: all of them), `end` and `samples`.

        Each row says which baseline it `beats`. `end` is None for a run that can be resumed.
        """
        return list(self._news(now))

    def _news(self, now: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        yield from self._changed(now)
        sizes = {name: _size(self.path / name) for name in LOGS}
        try:
            run = RunFolder.open(self.path)
        except ModelFileError:
            self._sizes = sizes
            return
        rows, again = self._new_rows(run.record.ladder)
        if rows or again:
            yield {"kind": "rows", "value": rows, "again": again}
        yield from self._changed({"end": self._end(run.record.training)})
        if sizes[SAMPLES_FILE] != self._sizes[SAMPLES_FILE]:
            yield from self._changed({"samples": _read_samples(self.path)})
        self._sizes[SAMPLES_FILE] = sizes[SAMPLES_FILE]

    def _is_new(self, kind: str, value: Any) -> bool:
        return kind not in self._reported or self._reported[kind] != value

    def _changed(self, values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for kind, value in values.items():
            if self._is_new(kind, value):
                self._reported[kind] = value
                yield {"kind": kind, "value": value}

    def _new_rows(self, ladder: Ladder) -> tuple[list[dict[str, Any]], bool]:
        text, again = self._added()
        if again:
            self._last_step, self._val_losses = 0, {}
        rows = parse_metrics(text)
        for row in rows:
            self._last_step, loss = row["step"], row["val_loss"]
            if loss is not None:
                self._val_losses[row["step"]] = loss
                rung = ladder.beaten(loss)
                row["beats"] = rung.name if rung else None
        return rows, again

    def _end(self, config: TrainConfig) -> dict[str, Any] | None:
        """How the training ended, and its best step; None if it can be resumed."""
        is_over = self._last_step >= config.max_steps
        losses = self._val_losses
        if not losses or not (
            is_over or is_out_of_patience(list(losses.values()), config.patience)
        ):
            return None
        return {"early": not is_over, "best_step": min(losses, key=losses.__getitem__)}

    def _added(self) -> tuple[str, bool]:
        """What was added to metrics.jsonl up to its last whole line."""
        try:
            with (self.path / METRICS_FILE).open("rb") as file:
                size = self._sizes[METRICS_FILE] = os.fstat(file.fileno()).st_size
                again = size < self._read
                start = 0 if again else self._read
                file.seek(start)
                data = file.read(size - start)
        except OSError:
            self._sizes[METRICS_FILE] = None
            return "", False
        whole = data[: data.rfind(b"\n") + 1]
        self._read = start + len(whole)
        return whole.decode("utf-8", errors="replace"), again


def _size(path: Path) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None
