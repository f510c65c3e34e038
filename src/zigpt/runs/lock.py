"""One training run at a time in a run folder. Loads in milliseconds: no torch here."""

import errno
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zigpt.errors import RunBusyError, StorageError
from zigpt.language import mark, tr
from zigpt.storage import UNSUPPORTED, storage_errors

LOCK_FILE = "train.lock"
_TRIES = 10
_PAUSE = 0.005  # seconds between two tries
_HOLDER = mark("pid {pid} on {host} since {since}")
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # a link would lead us to write into another file
_TAKEN = (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)  # the last two on Windows
_NO_LOCKS = (*UNSUPPORTED, errno.ENOLCK)


class Lock:
    """Holds a folder by the descriptor of its lock file, whose content names the holder.

    Where the file system has no locks, `protects` is False: it names the holder and no more.
    """

    def __init__(self, path: Path, descriptor: int, protects: bool) -> None:
        self.protects = protects
        self._path, self._descriptor = path, descriptor
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%F %T")}
        os.ftruncate(descriptor, 0)
        self._length = os.write(descriptor, _HOLDER.format(**holder).encode())

    def report_waiting(self, step: int | None) -> None:
        """Let others see that this run waits after a step, or (None) that it continues.

        Raises:
            StorageError: the disk did not take it.
        """
        status = b"" if step is None else f", waiting at step {step}\n".encode()
        with storage_errors(self._path):
            os.ftruncate(self._descriptor, self._length)
            os.lseek(self._descriptor, self._length, os.SEEK_SET)
            os.write(self._descriptor, status)

    def require(self) -> None:
        """Check that the folder is still where it was, and held by us.

        Raises:
            StorageError: it was moved or replaced meanwhile.
        """
        if self.protects and not _is_at(self._descriptor, self._path):
            raise StorageError(
                tr("{run} is no longer the folder that this run started in", run=self._path.parent),
                tr("it was moved, replaced or removed during the training"),
                tr("put it back, or continue where it is now, with `resume` and `run`"),
            )


@contextmanager
def locked(folder: Path) -> Iterator[Lock]:
    """Hold `folder`, which must exist. The system lets go of it when this process ends, however.

    Raises:
        RunBusyError: another process holds it; it is named.
        StorageError: the folder is not writable.
    """
    path = folder / LOCK_FILE
    with storage_errors(path):
        descriptor, protects = _open(path)
    try:
        yield Lock(path, descriptor, protects)
    finally:
        is_left = _is_at(descriptor, path) and not _delete(path)  # while it is still held
        os.close(descriptor)
        if is_left:  # some systems delete no file that is open
            _delete(path)


def require_unlocked(folder: Path) -> None:
    """Check that nobody trains in `folder`, which need not exist.

    Raises:
        RunBusyError: another process holds it; it is named.
    """
    path = folder / LOCK_FILE
    # Nobody holds a missing file; one that cannot be opened is refused later.
    with suppress(OSError), open(os.open(path, os.O_RDWR | _NO_LINK)) as file:
        _seize(file.fileno(), path, only_check=True)


def waits_at(folder: Path) -> int | None:
    """Look up the step after which the training in `folder` waits; None if it does not."""
    step = re.search(r", waiting at step (\d+)\n", _read_holder(folder / LOCK_FILE))
    return int(step[1]) if step else None


def _open(path: Path) -> tuple[int, bool]:
    """Open the lock file and take it; also report whether that keeps others out."""
    tries_left = _TRIES
    while True:
        tries_left -= 1
        is_ours = not os.path.lexists(path)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o666)
        try:
            # Without end only where the file system calls one file by changing numbers.
            protects = _seize(descriptor, path) and tries_left > 0
            if not protects or _is_at(descriptor, path):
                return descriptor, protects
        except BaseException as error:
            if is_ours and isinstance(error, OSError):  # it holds nothing, and nobody else made it
                _delete(path)
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder deleted it between our two steps


def _delete(path: Path) -> bool:
    with suppress(OSError):
        path.unlink()
        return True
    return False


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


def _seize(descriptor: int, path: Path, only_check: bool = False) -> bool:
    """Take the lock; False where the file system has none."""
    for tries_left in reversed(range(1 if only_check else _TRIES)):
        try:
            _take(descriptor, shared=only_check)
            return True
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return False
            if error.errno not in _TAKEN:
                raise
            if tries_left:  # it may be a check, which is over in no time
                time.sleep(_PAUSE)
    raise RunBusyError(
        tr("{run} is in use by {holder}", run=path.parent, holder=_name_holder(path)),
        tr("two training runs in one folder would overwrite each other"),
        tr("wait for it to end, or choose another folder as `run`"),
    )


def _name_holder(path: Path) -> str:
    given = _read_holder(path).strip()
    known = re.fullmatch(r"pid (?P<pid>\S+) on (?P<host>\S+) since (?P<since>.+)", given)
    return tr(_HOLDER, **known.groupdict()) if known else given or tr("another process")


def _take(descriptor: int, shared: bool) -> None:
    if os.name == "nt":
        import msvcrt

        os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # a byte nobody reads: reading is locked too
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def _read_holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # the training has just ended
        return ""
