"""One training at a time in a run folder; known before torch is loaded."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zigpt.errors import RunBusyError, StorageError
from zigpt.runs.storage import storage_errors

LOCK_FILE = "train.lock"
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # a link would have us write into somebody else's file


class Lock:
    """A folder that is held, by the descriptor of its lock file."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor

    def require(self) -> None:
        """Check that the folder is still where it was, and held by us.

        Raises:
            StorageError: it was moved or replaced meanwhile.
        """
        if not _is_at(self._descriptor, self._path):
            raise StorageError(
                f"{self._path.parent} is no longer the folder that this training began in",
                "it was moved, replaced or removed while the training went on",
                "put it back, or go on where it is now: add --resume --run",
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
        descriptor = _open(path)
    try:
        holder = f"pid {os.getpid()} on {socket.gethostname()} since {time.strftime('%F %T')}"
        os.ftruncate(descriptor, 0)
        os.write(descriptor, holder.encode())
        yield Lock(path, descriptor)
    finally:
        if _is_at(descriptor, path):  # else it is another's
            path.unlink(missing_ok=True)  # while it is still held
        os.close(descriptor)


def require_unlocked(folder: Path) -> None:
    """Check that no training is going on in `folder`, which need not exist.

    Raises:
        RunBusyError: another process holds it; it is named.
    """
    path = folder / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDWR | _NO_LINK)
    except OSError:  # nobody holds what is not there; what cannot be opened is refused later
        return
    try:
        _seize(descriptor, path)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o666)
        try:
            _seize(descriptor, path)
            if _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder deleted it between our two steps


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


def _seize(descriptor: int, path: Path) -> None:
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # a byte nobody reads: reading is locked too
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = path.read_text(encoding="utf-8", errors="replace") or "another process"
        raise RunBusyError(
            f"{path.parent} is in use by {holder}",
            "two trainings in one folder would overwrite each other",
            "wait for it to end, or choose another folder with --run",
        ) from error
