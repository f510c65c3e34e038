"""Texts too large to hold: read in blocks, kept as ids in a file on disk, mapped into memory.

A text is read twice, first for its vocabulary, then for its ids. What is kept is named by the
paths, sizes and times of its files, so that the next training on the same text reads none of it.
How much memory this takes does not depend on how long the text is.
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from zigpt.data.decode import TextReader
from zigpt.data.files import open_text, refuse, shown
from zigpt.errors import StorageError, TextError, VocabularyError
from zigpt.tokenizers.base import Ids, Tokenizer, Unknown
from zigpt.tokenizers.char import CharacterSet, CharTokenizer

_FORMAT = 1  # part of every name: what another version wrote is not found
_KEPT = 3  # texts; each takes as much room as the text itself, or twice that
_ABANDONED = 24 * 60 * 60  # seconds
_PIECE = 1 << 20  # characters


@dataclass(frozen=True, eq=False)
class StoredText:
    """A text that lies on disk as ids; slices of it are str.

    `encodings` and `notices` are those of each file; a notice lacks the file's name in front.
    """

    tokenizer: Tokenizer
    ids: Ids
    sha256: str
    encodings: tuple[str, ...]
    notices: tuple[tuple[str, ...], ...]
    path: Path

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, part: slice) -> str:
        return self.tokenizer.decode(self.ids[part])


Text = str | StoredText


def encode(text: Text, tokenizer: Tokenizer, unknown: Unknown = "error") -> Ids:
    """Turn a text of any size into the ids of `tokenizer`; those of a large one stay on disk.

    Raises:
        VocabularyError: a character is not in the vocabulary; of a large text, those are named that
            are near the first one.
        StorageError: there is no room for the ids.
    """
    if isinstance(text, str):
        return tokenizer.encode(text, unknown)
    if tokenizer.vocabulary == text.tokenizer.vocabulary:
        return text.ids
    # In another vocabulary they serve this once: the file has no name and goes with the program.
    with _storage_errors(text.path.parent), tempfile.TemporaryFile(dir=text.path.parent) as file:
        for start in range(0, len(text), _PIECE):
            file.write(tokenizer.encode(text[start : start + _PIECE], unknown, start).tobytes())
        file.flush()
        count = file.tell() // tokenizer.dtype.itemsize
        return _mapped(file, tokenizer, count) if count else np.empty(0, tokenizer.dtype)


def store_texts(files: Sequence[Path]) -> StoredText:
    """Find the ids of these files joined, or read the files and keep their ids.

    Only the newest three texts are kept: older ones are deleted when another is added.

    Raises:
        TextError: a file cannot be read as text, or changes while it is read.
        StorageError: there is no room for the ids.
    """
    # Here, not above: it takes a tenth of a second to import, and few texts are large.
    import pooch

    folder = Path(pooch.os_cache("zigpt"))
    key = _key(files)
    path = folder / f"text-{key}.ids"
    if found := _load(path):
        return found
    with _storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        info = _encode_files(files, path)
        if _key(files) != key:
            path.unlink()
            raise _changed(files)
        # Last, so that ids without it are known to be nobody's.
        with _written(path.with_suffix(".json")) as file:
            file.write(json.dumps(info).encode())
        _forget_old(folder)
    stored = _load(path)
    assert stored
    return stored


def _key(files: Sequence[Path]) -> str:
    described: list[Any] = [_FORMAT]
    for file in files:
        try:
            status = os.stat(file)
        except OSError as error:
            refuse(error, file)
        described.append((os.path.abspath(file), status.st_size, status.st_mtime_ns))
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:32]


def _load(path: Path) -> StoredText | None:
    """Map what was kept; None where nothing was, or not all of it."""
    try:
        info = json.loads(path.with_suffix(".json").read_bytes())
        tokenizer = CharTokenizer(info["vocabulary"])
        size = info["characters"] * tokenizer.dtype.itemsize
        if path.stat().st_size != size:
            return None
        with path.open("rb") as file:
            ids = _mapped(file, tokenizer, info["characters"])
        with suppress(OSError):  # a folder that cannot be written to can still be read
            os.utime(path)  # the newest are kept, and to be used is to be new
        encodings = tuple(part["encoding"] for part in info["files"])
        notices = tuple(tuple(part["notices"]) for part in info["files"])
        return StoredText(tokenizer, ids, info["sha256"], encodings, notices, path)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _mapped(file: Any, tokenizer: Tokenizer, count: int) -> Ids:
    # A plain array: slices of a memmap object are slower, and it has nothing more to offer.
    return np.asarray(np.memmap(file, tokenizer.dtype, "r", shape=(count,)))


def _encode_files(files: Sequence[Path], path: Path) -> dict[str, Any]:
    """Write the ids of all files; return what has to be known besides."""
    sha256, characters, length = hashlib.sha256(), CharacterSet(), 0
    parts: list[dict[str, Any]] = []
    for text in _pieces(files, parts):
        sha256.update(text.encode())
        characters.add(text)
        length += len(text)
    tokenizer, start = CharTokenizer(str(characters)), 0
    with _written(path) as file:
        for text in _pieces(files, []):
            try:
                ids = tokenizer.encode(text)
            except VocabularyError:
                raise _changed(files) from None
            file.write(ids.data)
            start += len(ids)
        if start != length:
            raise _changed(files)
    return {
        "vocabulary": tokenizer.vocabulary,
        "characters": length,
        "sha256": sha256.hexdigest(),
        "files": parts,
    }


def _pieces(files: Sequence[Path], parts: list[dict[str, Any]]) -> Iterator[str]:
    """Read all files, each from a line of its own; add to `parts` what is to be said of each."""
    for number, file in enumerate(files, 1):
        name, last = shown(file), ""
        with open_text(file) as opened:
            try:
                reader = TextReader(opened, name)
                for text in reader:
                    yield text
                    last = text[-1:] or last
            except OSError as error:
                refuse(error, file)
        notices = [notice.removeprefix(name) for notice in reader.notices]
        parts.append({"encoding": reader.encoding.label, "notices": notices})
        if last != "\n" and number < len(files):
            yield "\n"


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which appears under its name when it is whole, or not at all."""
    descriptor, beside = tempfile.mkstemp(".tmp", f"{path.stem}-", path.parent)
    try:
        with open(descriptor, "wb") as file:
            yield cast(BinaryIO, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def _forget_old(folder: Path) -> None:
    """Delete all but the newest texts; a training that still has one of them mapped keeps it."""
    newest = sorted(folder.glob("text-*.ids"), key=lambda path: -path.stat().st_mtime)
    for path in newest[_KEPT:]:
        with suppress(OSError):  # Windows deletes no file that is in use
            path.with_suffix(".json").unlink(missing_ok=True)
            path.unlink()
    for path in folder.glob("text-*.tmp"):  # what a killed program left; others still write theirs
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - _ABANDONED:
                path.unlink()


def _changed(files: Sequence[Path]) -> TextError:
    return TextError(
        f"{shown(files[0])}{' or a file after it' if len(files) > 1 else ''} changed",
        "another program wrote to it while it was read",
        "try again when the text is complete",
    )


@contextmanager
def _storage_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot keep the ids of this large text in {folder}",
            error.strerror or type(error).__name__,
            "free some space there; where XDG_CACHE_HOME is known, it can name another place",
        ) from error
