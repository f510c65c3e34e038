"""What a training writes as it goes: metrics.jsonl, samples.txt and loss.png."""

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from zigpt.baselines import Ladder
from zigpt.runs import foreign
from zigpt.runs.storage import append, sync, write_file
from zigpt.train import Progress

LOGS = ("metrics.jsonl", "samples.txt")
_DRAW_EVERY = 30.0  # seconds: a picture takes a few tenths of one


class _Log:
    """A text file that grows; what the disk does not take waits for the next time."""

    def __init__(self, path: Path) -> None:
        self._path, self._waiting = path, b""
        known = self._known()
        self._size, self._hash = len(known), hashlib.sha256(known)

    def text(self) -> str:
        return (self._known()[: self._size] + self._waiting).decode("utf-8", errors="replace")

    def add(self, text: str) -> None:
        self._waiting += text.encode()
        self.flush()

    def flush(self) -> None:
        if self._waiting:
            append(self._path, self._size, self._waiting)
            self._hash.update(self._waiting)
            self._size, self._waiting = self._size + len(self._waiting), b""

    def sync(self) -> dict[str, Any]:
        self.flush()
        if self._size:
            sync(self._path)
        return {"size": self._size, "sha256": self._hash.hexdigest()}

    def cut(self, size: int, sha256: str) -> bool:
        """Forget all after `size` bytes; whether those before are what they were."""
        self._waiting = b""
        known = self._known()[:size]
        self._hash = hashlib.sha256(known)
        is_as_written = self._hash.hexdigest() == sha256
        if not is_as_written:  # a new line must not be added to half of one
            known = known[: known.rfind(b"\n") + 1]
            self._hash = hashlib.sha256(known)
        if self._path.exists():
            append(self._path, len(known), b"")
        self._size = len(known)
        return is_as_written

    def _known(self) -> bytes:
        return self._path.read_bytes() if self._path.exists() else b""


class Record:
    """The story of one run, told to people and programs; every method may raise StorageError.

    What could not be written is kept and written later, so a refusal loses nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._logs = {name: _Log(folder / name) for name in LOGS}
        self._metrics, self._samples = self._logs.values()
        self._picture = folder / "loss.png"
        self._drawn = time.monotonic()

    def add(self, progress: Progress, ladder: Ladder) -> None:
        """Add a line to metrics.jsonl, and draw loss.png again if the last is old."""
        look = progress.look
        row = {
            "step": progress.step,
            "train_loss": look and look.train_loss,
            "test_loss": look and look.test_loss,
            "learning_rate": progress.learning_rate,
            "chars_per_second": progress.chars_per_second,
            "seconds": round(progress.seconds, 3),
        }
        self._metrics.add(json.dumps(row) + "\n")
        if time.monotonic() - self._drawn > _DRAW_EVERY:
            self.draw(ladder)

    def draw(self, ladder: Ladder) -> None:
        """Draw loss.png from what metrics.jsonl holds, if it holds anything."""
        from zigpt.runs.plot import draw_losses  # only now: matplotlib takes a third of a second

        if rows := self.rows():
            write_file(self._picture, draw_losses(rows, ladder))
        self._drawn = time.monotonic()

    def rows(self) -> list[dict[str, Any]]:
        """Read metrics.jsonl, but for lines that are not whole: a kill may leave half of one."""
        rows = []
        for line in self._metrics.text().splitlines():
            with suppress(ValueError, KeyError, TypeError):
                row = foreign.parse(line.encode())
                _ = row["step"] + 0, row["train_loss"], row["test_loss"]
                rows.append(row)
        return rows

    def add_sample(self, step: int, text: str) -> None:
        """Add what the model writes after `step` steps to samples.txt."""
        self._samples.add(f"════ step {step} ════\n{text}\n\n")

    def sync(self) -> dict[str, dict[str, Any]]:
        """Make sure that all of it would survive a loss of power; says what there is by now."""
        logged = {name: log.sync() for name, log in self._logs.items()}
        sync(self._folder)  # their names
        return logged

    def cut(self, logged: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Forget what was written after `sync` said this: it will be written again.

        Names those that are no longer what they were then.
        """
        begun = {"size": 0, "sha256": hashlib.sha256().hexdigest()}
        return [name for name, log in self._logs.items() if not log.cut(**logged.get(name, begun))]


def sample_steps(max_steps: int) -> list[int]:
    """List the log-spaced steps at which a sample is kept: 0, 1, 3, 10, 30, ... and the last."""
    spaced = [0] + [factor * 10**power for power in range(10) for factor in (1, 3)]
    return [step for step in spaced if step < max_steps] + [max_steps]
