"""A text file that only grows, and that a resumed run cuts back to its last checkpoint."""

import hashlib
from pathlib import Path
from typing import Any

from zigpt.storage import append, sync


class GrowingFile:
    """A piece that the disk refuses is kept and written with the next one: nothing is lost."""

    def __init__(self, path: Path) -> None:
        self._path, self._pending = path, b""
        content = self._read()
        self._size, self._hash = len(content), hashlib.sha256(content)

    def text(self) -> str:
        """Return all of it, with what the disk has not taken yet."""
        return (self._read()[: self._size] + self._pending).decode("utf-8", errors="replace")

    def add(self, text: str) -> None:
        """Add a piece.

        Raises:
            StorageError: the disk did not take it.
        """
        self._pending += text.encode()
        self._flush()

    def sync(self) -> dict[str, Any]:
        """Make sure that all of it would survive a loss of power; return its size and SHA-256.

        Raises:
            StorageError: the disk did not take it.
        """
        self._flush()
        if self._size:
            sync(self._path)
        return {"size": self._size, "sha256": self._hash.hexdigest()}

    def cut(self, size: int, sha256: str) -> bool:
        """Drop all after `size` bytes; return whether the rest is what `sync` described.

        Raises:
            StorageError: the file cannot be changed.
        """
        self._pending = b""
        content = self._read()[:size]
        is_unchanged = hashlib.sha256(content).hexdigest() == sha256
        if not is_unchanged:  # a new line must not be added to half of one
            content = content[: content.rfind(b"\n") + 1]
        if self._path.exists():
            append(self._path, len(content), b"")
        self._size, self._hash = len(content), hashlib.sha256(content)
        return is_unchanged

    def _flush(self) -> None:
        if self._pending:
            append(self._path, self._size, self._pending)
            self._hash.update(self._pending)
            self._size, self._pending = self._size + len(self._pending), b""

    def _read(self) -> bytes:
        return self._path.read_bytes() if self._path.exists() else b""
