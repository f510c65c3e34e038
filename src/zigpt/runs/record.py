"""What a training writes as it goes: metrics.jsonl, samples.txt and loss.png."""

import json
import re
import time
from pathlib import Path
from typing import Any

from zigpt.baselines import Ladder
from zigpt.runs.storage import append_line, write_file
from zigpt.train import Progress

_DRAW_EVERY = 30.0  # seconds: a picture takes a few tenths of one


class Record:
    """The story of one run, told to people and programs; every method may raise StorageError."""

    def __init__(self, folder: Path) -> None:
        self._metrics = folder / "metrics.jsonl"
        self._samples = folder / "samples.txt"
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
        append_line(self._metrics, json.dumps(row))
        if time.monotonic() - self._drawn > _DRAW_EVERY:
            self.draw(ladder)

    def draw(self, ladder: Ladder) -> None:
        """Draw loss.png from what metrics.jsonl holds."""
        from zigpt.runs.plot import draw_losses  # only now: matplotlib takes a third of a second

        write_file(self._picture, draw_losses(self.rows(), ladder))
        self._drawn = time.monotonic()

    def rows(self) -> list[dict[str, Any]]:
        """Read metrics.jsonl up to its first line that is not whole."""
        rows = []
        for line in _read(self._metrics).splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:  # half a line: the training was killed while writing it
                break
        return rows

    def add_sample(self, step: int, text: str) -> None:
        """Add what the model writes after `step` steps to samples.txt."""
        append_line(self._samples, f"════ step {step} ════\n{text}\n")

    def forget_after(self, step: int) -> None:
        """Cut what was written about steps that will be made again."""
        kept = [json.dumps(row) + "\n" for row in self.rows() if row["step"] <= step]
        write_file(self._metrics, "".join(kept).encode())
        samples = _read(self._samples)
        for head in re.finditer(r"^════ step (\d+) ════$", samples, re.MULTILINE):
            if int(head[1]) > step:
                samples = samples[: head.start()]
                break
        write_file(self._samples, samples.encode())


def sample_steps(max_steps: int) -> list[int]:
    """List the log-spaced steps at which a sample is kept: 0, 1, 3, 10, 30, ... and the last."""
    spaced = [0] + [factor * 10**power for power in range(10) for factor in (1, 3)]
    return [step for step in spaced if step < max_steps] + [max_steps]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
