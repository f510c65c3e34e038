"""`metrics.jsonl`: one JSON object a line."""

import json
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from zigpt import untrusted_json
from zigpt.formats.format_1 import upgrade
from zigpt.runs.growing_file import GrowingFile
from zigpt.runs.loggers.base import Metrics

METRICS_FILE = "metrics.jsonl"
_LARGEST = 1e300  # JSON has no infinity and no NaN


class JsonlLogger:
    """Adds a line for each measurement."""

    def __init__(self, file: GrowingFile) -> None:
        self._file = file

    def log(self, metrics: Metrics) -> None:
        """Add a line.

        Raises:
            StorageError: the disk did not take it; it is written with the next one.
        """
        self._file.add(json.dumps(asdict(metrics)) + "\n")


def parse_metrics(text: str) -> list[dict[str, Any]]:
    """Read lines of metrics.jsonl; a damaged one is left out: a kill may cut the last."""
    rows = []
    for line in text.splitlines():
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            row = upgrade(untrusted_json.parse(line.encode()))
            if all(map(_is_sound, row.values())) and row["step"] >= 0:
                _ = row["train_loss"], row["val_loss"]
                rows.append(row)
    return rows


def _is_sound(value: Any) -> bool:
    """Whether a value can be compared and sent: others may have written the file."""
    return value is None or (isinstance(value, int | float) and -_LARGEST < value < _LARGEST)
