"""A disk that fails, or kills the process, at the n-th operation."""

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

from zigpt import storage

FAILURES = ("ENOSPC", "EIO", "EDQUOT", "short")
KILLS = ("kill", "kill halfway")


class FaultyDisk(storage.Disk):
    """Carries out every operation except the n-th, counted from 0, which fails as `fault` says.

    With `lasting`, so do all that follow: a full disk stays full.
    """

    def __init__(self, n: int = -1, fault: str = "", lasting: bool = False) -> None:
        self.count, self.hits = 0, 0
        self._n, self._fault, self._lasting = n, fault, lasting

    def write(self, path: Path, data: bytes) -> None:
        self._do(lambda: super(FaultyDisk, self).write(path, data),
                 lambda: super(FaultyDisk, self).write(path, data[: len(data) // 2]))  # fmt: skip

    def append(self, path: Path, start: int, data: bytes) -> None:
        half = data[: len(data) // 2]
        self._do(lambda: super(FaultyDisk, self).append(path, start, data),
                 lambda: super(FaultyDisk, self).append(path, start, half))  # fmt: skip

    def sync(self, path: Path) -> None:
        self._do(path.stat)  # a real sync would only take time: no test loses power

    def rename(self, old: Path, new: Path) -> None:
        self._do(lambda: super(FaultyDisk, self).rename(old, new))

    def remove(self, path: Path) -> None:
        self._do(lambda: super(FaultyDisk, self).remove(path))

    def make_folder(self, path: Path) -> None:
        self._do(lambda: super(FaultyDisk, self).make_folder(path))

    def _do(self, whole: Callable[[], object], half: Callable[[], object] = lambda: None) -> None:
        now, self.count = self.count, self.count + 1
        if now != self._n and not (self._lasting and now > self._n):
            whole()
            return
        self.hits += 1
        if self._fault in ("kill halfway", "short"):
            half()
        if self._fault in KILLS:
            os.kill(os.getpid(), signal.SIGKILL)
        number = errno.ENOSPC if self._fault == "short" else getattr(errno, self._fault)
        raise OSError(number, os.strerror(number))
