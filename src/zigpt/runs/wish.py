"""What somebody else wishes of a training: a file in its run folder, read after every step.

A file, and no pipe: it reaches a training however that was started, and holds when the one who
wished has gone: `step 12` (train until that step, then wait), `stop`, or `go`.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from zigpt.runs.storage import write_file

WISH_FILE = "wish.txt"
_LONGEST = 64  # characters


@dataclass(frozen=True)
class Wish:
    """Train until a step and wait there, or stop."""

    until: int | None = None  # None: go on to the end
    stop: bool = False


def make_wish(run: Path, wish: Wish) -> None:
    """Leave a wish, in place of the one before.

    Raises:
        StorageError: the folder is not writable.
    """
    until = "go" if wish.until is None else f"step {wish.until}"
    write_file(run / WISH_FILE, f"{'stop' if wish.stop else until}\n".encode())


def stamp_of_wish(run: Path) -> tuple[int, int] | None:
    """What tells the present wish from any made later, also from one that reads the same."""
    try:
        status = os.stat(run / WISH_FILE)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def read_wish(run: Path) -> Wish:
    """Read what is wished; what cannot be understood is no wish."""
    try:
        with open(os.open(run / WISH_FILE, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))) as file:
            text = file.read(_LONGEST).strip()
    except (OSError, ValueError):
        return Wish()
    if text == "stop":
        return Wish(stop=True)
    step = re.fullmatch(r"step (\d{1,12})", text)
    return Wish(int(step[1])) if step else Wish()
