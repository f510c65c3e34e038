"""One training at a time in a run folder; known before torch is loaded."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zigpt.errors import RunBusyError
from zigpt.runs.storage import storage_errors

LOCK_FILE = "train.lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
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
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is still held, so that it is ours
        os.close(descriptor)


def require_unlocked(folder: Path) -> None:
    """Check that no training is going on in `folder`, which need not exist.

    Raises:
        RunBusyError: another process holds it; it is named.
    """
    path = folder / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:  # nobody holds what is not there; what cannot be opened is refused later
        return
    try:
        _seize(descriptor, path)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _seize(descriptor, path)
            if os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder deleted it between our two steps


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
