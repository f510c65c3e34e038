"""Detect what reading data must never do: run code, start programs, connect, open other files."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FORBIDDEN = {
    "pickle.find_class", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn",
    "os.spawn", "subprocess.Popen", "pty.spawn", "socket.connect", "socket.bind", "exec", "compile",
    "import", "ctypes.dlopen", "os.remove", "os.rename", "os.chmod", "os.symlink", "os.link",
}  # fmt: skip

_LIMITS = ("/proc/self/cgroup", "/sys/fs/cgroup/")  # how much of the machine is granted

_allowed: str | None = None  # the folder that may be read; None: not watching
_seen: list[str] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _allowed is None:
        return
    if event in _FORBIDDEN:
        _seen.append(f"{event} {arguments!r:.200}")
    elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        path, mode, flags = arguments
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        place = os.path.abspath(os.fsdecode(path))
        if place.startswith(_LIMITS) and not writes:
            return
        if writes or os.path.commonpath((_allowed, place)) != _allowed:
            _seen.append(f"open {path!r} {mode!r}")


@contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    """Collect the forbidden operations inside the block; only `folder` may be read."""
    global _allowed
    if not getattr(sys, "_zigpt_watches", False):  # a hook cannot be removed
        sys.addaudithook(_hook)
        sys._zigpt_watches = True
    _seen.clear()
    _allowed = os.path.abspath(folder)
    try:
        yield _seen
    finally:
        _allowed = None
