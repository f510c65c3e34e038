"""The one way a run folder is changed: six operations, and what is safe to build from them.

Nothing is written where it will be read: it is written beside, synced, and renamed, so that a
reader, or the next start after a crash at any instant, finds the old content or the new.
"""

import contextlib
import errno
import math
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from zigpt.errors import StorageError, reason
from zigpt.language import mark, tr

_WINDOWS = os.name == "nt"
_BESIDE = ".zigpt-tmp"  # suffix of a name that does not count yet, or no longer
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)
# What a file system says that lacks a feature, such as locks or waiting for the names of a folder.
UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)
_FIX = mark("free some space, or choose a folder you may write to; what was saved before is intact")
# Seconds: on Windows, and on its shares elsewhere, a file may be held for a moment.
_PATIENCE = (0.01, 0.03, 0.1, 0.3, 1.0)


class Disk:
    """The six operations; tests put a disk in place that fails, stops or remembers."""

    def write(self, path: Path, data: bytes) -> None:
        """Create a file, or empty it, and fill it."""
        path.write_bytes(data)

    def append(self, path: Path, start: int, data: bytes) -> None:
        """Write at `start`, where the file has to end: what follows is cut off first."""
        with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
            file.truncate(start)
            file.seek(start)
            file.write(data)

    def sync(self, path: Path) -> None:
        """Wait until a file's content, or a folder's names, would survive a loss of power.

        Where the file system cannot tell, there is nothing to wait for.
        """
        if _WINDOWS and path.is_dir():  # Windows needs none after a rename
            return
        descriptor = os.open(path, os.O_RDWR if _WINDOWS else os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
        finally:
            os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file or folder another name, at once; a file of that name is replaced."""
        for pause in _PATIENCE:
            try:
                return os.replace(old, new)
            except OSError as error:
                is_held = _WINDOWS and isinstance(error, PermissionError)
                if not is_held and error.errno != errno.EBUSY:
                    raise
                time.sleep(pause)
        return os.replace(old, new)

    def remove(self, path: Path) -> None:
        """Delete a file or an empty folder."""
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()

    def make_folder(self, path: Path) -> None:
        """Make a folder in one that is there."""
        path.mkdir(exist_ok=True)


disk = Disk()


@contextlib.contextmanager
def storage_errors(path: Path, size: int = 0, fix: str = _FIX) -> Iterator[None]:
    """Turn any OSError of the block into a refusal that names `path`, meant to hold `size` bytes.

    Raises:
        StorageError: the operating system refused.
    """
    try:
        yield
    except OSError as error:
        why = reason(error)
        if error.errno in _FULL:
            free = tr("{megabytes} free", megabytes=_megabytes(free_bytes(path)))
            needed = tr("{megabytes} needed, ", megabytes=_megabytes(float(size))) if size else ""
            why += f": {needed}{free}"
        raise StorageError(tr("cannot write {path}", path=path), why, tr(fix)) from error


def free_bytes(path: Path) -> float:
    """How much room there is where `path` is or would be; infinite where nobody can say."""
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        room = shutil.disk_usage(path)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return math.inf
    return float(room.free) if room.total else math.inf  # some shares of a network say 0 of 0


def write_file(path: Path, data: bytes) -> None:
    """Write a whole file so that a reader finds the old content or the new, never a part.

    Raises:
        StorageError: the disk is full, or the folder is not writable.
    """
    beside = path.with_name(path.name + _BESIDE)
    with storage_errors(path, len(data)):
        try:
            disk.write(beside, data)
            disk.sync(beside)
            disk.rename(beside, path)
        except OSError:
            _remove_all(beside)
            raise
        disk.sync(path.parent)


def write_stream(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file too large to hold, whole or not at all; several programs may write it at once.

    Raises:
        OSError: the operating system refused.
    """
    beside = path.with_name(f"{path.name}.{os.urandom(4).hex()}{_BESIDE}")
    try:
        disk.write(beside, b"")
        size = 0
        for piece in pieces:
            disk.append(beside, size, piece)
            size += len(piece)
        disk.sync(beside)
        disk.rename(beside, path)
    except BaseException:  # an interrupt, too: nobody else would remove a file of this name
        _remove_all(beside)
        raise
    disk.sync(path.parent)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a whole folder at once, its files in the order given; it must not exist yet.

    Raises:
        StorageError: the disk is full, or the parent is not writable.
    """
    beside = path.with_name(path.name + _BESIDE)
    with storage_errors(path, sum(map(len, files.values()))):
        try:
            _remove_all(beside)  # left by a training run that was stopped here
            _make_folders(beside)
            for name, data in files.items():
                disk.write(beside / name, data)
                disk.sync(beside / name)
            disk.sync(beside)
            disk.rename(beside, path)
        except OSError:
            _remove_all(beside)
            raise
        disk.sync(path.parent)


def append(path: Path, start: int, data: bytes) -> None:
    """Add to a file that people may be reading and that is whole up to `start`.

    Raises:
        StorageError: the disk is full, or the file is not writable.
    """
    with storage_errors(path, len(data)):
        disk.append(path, start, data)


def sync(path: Path) -> None:
    """Make sure that a file would survive a loss of power.

    Raises:
        StorageError: the disk did not take it.
    """
    with storage_errors(path):
        disk.sync(path)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, if it is not there already.

    Raises:
        StorageError: the operating system refused.
    """
    with storage_errors(path):
        _make_folders(path)


def set_aside(path: Path, name: str) -> None:
    """Rename a folder; without the right to do so it stays."""
    with contextlib.suppress(OSError):
        disk.rename(path, path.with_name(name))


def remove_folder(path: Path) -> None:
    """Delete a folder: under its name there is the whole of it, or nothing.

    Raises:
        StorageError: the operating system refused.
    """
    beside = path.with_name(path.name + _BESIDE)
    with storage_errors(path):
        _remove_all(beside)
        disk.rename(path, beside)
        _remove_all(beside)


def remove_empty_folder(path: Path) -> None:
    """Delete a folder that holds nothing; any other stays."""
    with contextlib.suppress(OSError):
        disk.remove(path)


def clear_leftovers(folder: Path, keep: str = "") -> None:
    """Delete what was being written, or deleted, when a training run was stopped; best effort.

    Not the file called `keep`: another process may be writing it now.
    """
    for path in [*folder.glob(f"*{_BESIDE}"), *folder.glob(f"*/*{_BESIDE}")]:
        if path.name != keep + _BESIDE:
            _remove_all(path)


def is_leftover(path: Path) -> bool:
    """Whether this was being written, or deleted, when a training run was stopped."""
    return path.name.endswith(_BESIDE)


def _make_folders(path: Path) -> None:
    if not path.parent.exists():
        _make_folders(path.parent)
    if not path.is_dir():
        disk.make_folder(path)
    # Even if it was there: its maker may have been stopped before this.
    with contextlib.suppress(PermissionError):  # a folder may be open to use, but not to read
        disk.sync(path.parent)


def _remove_all(path: Path) -> None:
    """Delete a file or a folder of files, if it is there; what cannot be deleted stays."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            for file in path.iterdir():
                disk.remove(file)
        if os.path.lexists(path):
            disk.remove(path)


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"
