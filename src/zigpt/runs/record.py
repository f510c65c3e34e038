"""What a training writes as it goes: metrics.jsonl, samples.txt and loss.png."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zigpt.baselines import Ladder
from zigpt.runs import foreign
from zigpt.runs.storage import append, sync, write_file
from zigpt.train import Progress

_DRAW_EVERY = 30.0  # seconds: a picture takes a few tenths of one


class _Log:
    """A text file that grows; what the disk does not take waits for the next time."""

    def __init__(self, path: Path) -> None:
        self._path, self._waiting = path, b""
        self.size = path.stat().st_size if path.exists() else 0

    def text(self) -> str:
        known = self._path.read_bytes()[: self.size] if self.size else b""
        return (known + self._waiting).decode("utf-8", errors="replace")

    def add(self, text: str) -> None:
        self._waiting += text.encode()
        self.flush()

    def flush(self) -> None:
        if self._waiting:
            append(self._path, self.size, self._waiting)
            self.size, self._waiting = self.size + len(self._waiting), b""

    def sync(self) -> None:
        self.flush()
        if self.size:
            sync(self._path)

    def cut(self, size: int) -> None:
        self._waiting = b""
        if self.size > size:
            append(self._path, size, b"")
            self.size = size


class Record:
    """The story of one run, told to people and programs; every method may raise StorageError.

    What could not be written is kept and written later, so a refusal loses nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._metrics = _Log(folder / "metrics.jsonl")
        self._samples = _Log(folder / "samples.txt")
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
        """Read metrics.jsonl up to its first line that is not whole."""
        rows = []
        for line in self._metrics.text().splitlines():
            try:
                row = foreign.parse(line.encode())
                _ = row["step"] + 0, row["train_loss"], row["test_loss"]
            except (ValueError, KeyError, TypeError):
                break  # half a line: the training was killed while writing it
            rows.append(row)
        return rows

    def add_sample(self, step: int, text: str) -> None:
        """Add what the model writes after `step` steps to samples.txt."""
        self._samples.add(f"════ step {step} ════\n{text}\n\n")

    def sync(self) -> dict[str, int]:
        """Make sure that all of it would survive a loss of power; says how many bytes it has."""
        self._metrics.sync()
        self._samples.sync()
        sync(self._folder)  # their names
        return {"metrics": self._metrics.size, "samples": self._samples.size}

    def cut(self, sizes: Mapping[str, int]) -> None:
        """Forget what was written after `sync` gave these sizes: it will be written again."""
        self._metrics.cut(sizes["metrics"])
        self._samples.cut(sizes["samples"])


def sample_steps(max_steps: int) -> list[int]:
    """List the log-spaced steps at which a sample is kept: 0, 1, 3, 10, 30, ... and the last."""
    spaced = [0] + [factor * 10**power for power in range(10) for factor in (1, 3)]
    return [step for step in spaced if step < max_steps] + [max_steps]
