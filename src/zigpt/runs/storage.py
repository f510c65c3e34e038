"""The one way a run folder is written: beside, synced, renamed; refused without a traceback."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from zigpt.errors import StorageError


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn any OSError of the block into a refusal that names `path`.

    Raises:
        StorageError: the operating system refused.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write {path}",
            error.strerror or str(error),
            "free some space or choose a folder you may write to with --run; "
            "what was saved before is intact",
        ) from error


def write_file(path: Path, data: bytes) -> None:
    """Write a whole file so that a reader finds the old content or the new, never a part.

    Raises:
        StorageError: the disk is full, or the folder is not writable.
    """
    beside = path.with_name(path.name + ".tmp")
    with storage_errors(path):
        try:
            _write_synced(beside, data)
            os.replace(beside, path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a whole folder at once, its files in the order given; it must not exist yet.

    Raises:
        StorageError: the disk is full, or the parent is not writable.
    """
    beside = path.with_name(path.name + ".tmp")
    with storage_errors(path):
        try:
            shutil.rmtree(beside, ignore_errors=True)  # left by a training that was killed here
            beside.mkdir(parents=True)
            for name, data in files.items():
                _write_synced(beside / name, data)
            _sync_folder(beside)
            os.rename(beside, path)
        except OSError:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        _sync_folder(path.parent)


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file that people may be reading.

    Raises:
        StorageError: the disk is full, or the file is not writable.
    """
    with storage_errors(path), path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder, and needs no sync after a rename
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
