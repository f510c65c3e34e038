"""A run as its folder tells it, whoever is training there."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from zigpt import untrusted_json
from zigpt.errors import RunBusyError
from zigpt.runs.checkpoint import list_checkpoints
from zigpt.runs.control import read_request
from zigpt.runs.lock import require_unlocked, waits_at
from zigpt.runs.paths import RUN_FILE

State = Literal["starting", "training", "waiting", "stopped"]
_FILES = {"rows": "metrics.jsonl", "samples": "samples.txt"}


def describe_run(path: Path) -> dict[str, Any] | None:
    """Read what a run says of itself; None for a model file alone."""
    try:
        info = untrusted_json.parse_file(path / RUN_FILE)
        return {
            "name": path.resolve().name,
            "model": info["model"],
            "training": info["training"],
            "text": {key: info["text"][key] for key in ("name", "characters")},
            "ladder": info["ladder"],
            "prompt": info["prompt"],
            "example": _last_sample(path, info["model"]["block_size"]),
        }
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _last_sample(path: Path, length: int) -> str:
    """What the run wrote last, as far as its model can see it at once."""
    try:
        text = (path / _FILES["samples"]).read_text("utf-8", errors="replace")
    except OSError:  # a run that has only just begun
        return ""
    return text.rpartition(" ════\n")[2].strip()[:length]


def state_of(path: Path) -> State:
    """What is going on in a run folder, whoever does it."""
    try:
        require_unlocked(path)
    except RunBusyError:
        step, until = waits_at(path), read_request(path).until
        # Both: one that waits takes a moment to see that it need not any more.
        waits = step is not None and until is not None and step >= until
        return "waiting" if waits else "training"
    return "stopped"


def step_of_newest(path: Path) -> int:
    """The step of a run's newest checkpoint, damaged or not; 0 where there is none."""
    return max((int(found.name[5:]) for found in list_checkpoints(path / "checkpoints")), default=0)


class Watcher:
    """Tells what has been added to a run since it was last asked.

    A file that became shorter was cut back, by a training that went on from an earlier step: it is
    told anew, from the beginning.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = dict.fromkeys(_FILES, 0)  # up to the last whole line
        self._seen: dict[str, int | None] = dict.fromkeys(_FILES)
        self._told: dict[str, Any] = {}

    def is_due(self, now: Mapping[str, Any]) -> bool:
        """Whether there is anything to tell; it takes no longer than two looks at a size."""
        return self._told != now or any(
            _size(self.path / name) != self._seen[kind] for kind, name in _FILES.items()
        )

    def news(self, now: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Tell `rows`, `samples`, with `again` where one starts over, and what is other `now`."""
        return list(self._news(now))

    def _news(self, now: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for kind, value in now.items():
            if kind not in self._told or self._told[kind] != value:
                yield {"kind": kind, "value": value}
        self._told = dict(now)
        for kind, name in _FILES.items():
            text, again = self._added(kind, self.path / name)
            if text or again:
                value = _rows(text) if kind == "rows" else text
                yield {"kind": kind, "value": value, "again": again}

    def _added(self, kind: str, file: Path) -> tuple[str, bool]:
        """What was added to a file up to its last whole line."""
        try:
            with file.open("rb") as opened:
                size = self._seen[kind] = os.fstat(opened.fileno()).st_size
                again = size < self._read[kind]
                start = 0 if again else self._read[kind]
                opened.seek(start)
                data = opened.read(size - start)
        except OSError:
            self._seen[kind] = None
            return "", False
        whole = data[: data.rfind(b"\n") + 1]
        self._read[kind] = start + len(whole)
        return whole.decode("utf-8", errors="replace"), again


def _size(path: Path) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _rows(text: str) -> list[dict[str, Any]]:
    rows = []
    for line in text.splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows
