"""Requests to a training run from outside: a file in its run folder, read after every step.

A file rather than a pipe: it reaches a training run however that was started, and outlives the
process that wrote it. It holds `step 12` (train up to that step, then wait), `stop` or `resume`.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from zigpt.storage import write_file

CONTROL_FILE = "control.txt"
_LONGEST = 64  # characters


@dataclass(frozen=True)
class Request:
    """Train up to a step and wait there, or stop."""

    until: int | None = None  # None: train to the end
    stop: bool = False


def send_request(run: Path, request: Request) -> None:
    """Leave a request to the training in this folder, in place of the one before.

    Raises:
        StorageError: the folder is not writable.
    """
    until = "resume" if request.until is None else f"step {request.until}"
    write_file(run / CONTROL_FILE, f"{'stop' if request.stop else until}\n".encode())


class Control:
    """The requests to one training run; what was requested before it was opened does not count."""

    def __init__(self, run: Path) -> None:
        self._run, self._stale = run, _stamp(run)

    @property
    def request(self) -> Request:
        """What is requested now."""
        return Request() if _stamp(self._run) == self._stale else read_request(self._run)


def read_request(run: Path) -> Request:
    """Read the latest request; one that cannot be understood asks for nothing."""
    try:
        with open(os.open(run / CONTROL_FILE, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))) as file:
            text = file.read(_LONGEST).strip()
    except (OSError, ValueError):
        return Request()
    if text == "stop":
        return Request(stop=True)
    step = re.fullmatch(r"step (\d{1,12})", text)
    return Request(int(step[1])) if step else Request()


def _stamp(run: Path) -> tuple[int, int] | None:
    """Tell one request from any later one, even one that reads the same."""
    try:
        status = os.stat(run / CONTROL_FILE)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
