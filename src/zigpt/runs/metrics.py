"""The log of a training run: metrics.jsonl, samples.txt, loss.png, and any further loggers."""

import hashlib
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zigpt.data.baselines import Ladder
from zigpt.runs.growing_file import GrowingFile
from zigpt.runs.loggers.base import Logger, Metrics
from zigpt.runs.loggers.jsonl import METRICS_FILE, JsonlLogger, parse_metrics
from zigpt.runs.loss_plot import draw_losses
from zigpt.runs.paths import LOSS_PICTURE
from zigpt.storage import sync, write_file
from zigpt.training.loop import Progress

SAMPLES_FILE = "samples.txt"
LOGS = (METRICS_FILE, SAMPLES_FILE)
_DRAW_EVERY = 30.0  # seconds: a picture takes a few tenths of one


class RunLog:
    """The history of one run; every method may raise StorageError.

    Each of `loggers` is given the metrics, metrics.jsonl before any other.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = {name: GrowingFile(folder / name) for name in LOGS}
        self._metrics, self._samples = self._files.values()
        self.loggers: list[Logger] = [JsonlLogger(self._metrics)]
        self._drawn_at = time.monotonic()

    def add(self, progress: Progress, ladder: Ladder) -> None:
        """Log an evaluation, and draw loss.png again if it is old."""
        metrics = _metrics_of(progress)
        for logger in self.loggers:
            logger.log(metrics)
        if time.monotonic() - self._drawn_at > _DRAW_EVERY:
            self.draw(ladder)

    def draw(self, ladder: Ladder) -> None:
        """Draw loss.png from what metrics.jsonl holds, if it holds anything."""
        if rows := self.evaluations():
            write_file(self._folder / LOSS_PICTURE, draw_losses(rows, ladder))
        self._drawn_at = time.monotonic()

    def rows(self) -> list[dict[str, Any]]:
        """Read metrics.jsonl."""
        return parse_metrics(self._metrics.text())

    def evaluations(self) -> list[dict[str, Any]]:
        """Read the rows that have both losses."""
        return [row for row in self.rows() if None not in (row["train_loss"], row["val_loss"])]

    def add_sample(self, step: int, text: str) -> None:
        """Add the text that the model writes after `step` steps to samples.txt."""
        self._samples.add(f"════ step {step} ════\n{text}\n\n")

    def first_sample(self) -> str:
        """Read what the model wrote first, before it was trained; empty if that is gone."""
        samples = parse_samples(self._samples.text())
        return str(samples[0]["text"]) if samples else ""

    def sync(self) -> dict[str, dict[str, Any]]:
        """Make sure that all of it would survive a loss of power; describe what there is so far."""
        logged = {name: file.sync() for name, file in self._files.items()}
        sync(self._folder)  # their names
        return logged

    def cut(self, logged: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Drop what was written after `sync` returned this: the steps will be made again.

        Returns the names of files that were altered since.
        """
        empty = {"size": 0, "sha256": hashlib.sha256().hexdigest()}
        return [
            name for name, file in self._files.items() if not file.cut(**logged.get(name, empty))
        ]


def _metrics_of(progress: Progress) -> Metrics:
    evaluation = progress.evaluation
    return Metrics(
        step=progress.step,
        train_loss=evaluation.train_loss if evaluation else None,
        val_loss=evaluation.val_loss if evaluation else None,
        learning_rate=progress.learning_rate,
        chars_per_second=progress.chars_per_second,
        seconds=round(progress.seconds, 3),
    )


def parse_samples(text: str) -> list[dict[str, Any]]:
    """Read samples.txt: the `step` and the `text` of each sample."""
    _, *parts = re.split(r"^════ step (\d+) ════\n", text, flags=re.MULTILINE)
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [{"step": int(step), "text": sample.removesuffix("\n\n")} for step, sample in pairs]


def sample_steps(max_steps: int) -> list[int]:
    """List the log-spaced steps at which a sample is kept: 0, 1, 3, 10, 30, ... and the last."""
    spaced = [0] + [factor * 10**power for power in range(10) for factor in (1, 3)]
    return [step for step in spaced if step < max_steps] + [max_steps]
