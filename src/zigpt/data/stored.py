"""Texts too large for memory: read in blocks, their ids kept on disk and mapped from there.

A text is read twice, first for its vocabulary, then for its ids. The ids are stored under the
paths, sizes and times of the text's files, so that the next training on the same text need not
read it. Memory use does not depend on the length of the text.
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import platformdirs

from zigpt.data.arrangement import Arrangement
from zigpt.data.decode import Changes
from zigpt.data.documents import DocumentReader, HeldOut, Order, arrange
from zigpt.data.encodings import Decoding
from zigpt.data.files import printable, refuse
from zigpt.errors import TextError, VocabularyError
from zigpt.language import mark, tr
from zigpt.storage import is_leftover, storage_errors, write_stream
from zigpt.tokenizers.base import Ids, Tokenizer, Unknown
from zigpt.tokenizers.char import CharacterSet, CharTokenizer

_FORMAT = 4  # part of every name, so that files of another format are never found
_KEPT = 3  # texts; each takes once or twice the space of the text itself
_ABANDONED = 24 * 60 * 60  # seconds
_PIECE = 1 << 20  # characters
_FIX = mark(
    "free some space for the ids of this text; on Linux, XDG_CACHE_HOME names another folder"
)


@dataclass(frozen=True, eq=False)
class StoredText:
    """A text stored on disk as ids; a slice of it is a str."""

    tokenizer: Tokenizer
    ids: Ids
    sha256: str
    path: Path

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, part: slice) -> str:
        return self.tokenizer.decode(self.ids[part])


Text = str | StoredText


class ReadText(NamedTuple):
    """A text as it was read and arranged, and what was changed in each file."""

    text: Text
    n_train: int
    held_out: HeldOut
    changes: tuple[Changes, ...]


def encode(text: Text, tokenizer: Tokenizer, unknown: Unknown = "error") -> Ids:
    """Turn a text of any size into the ids of `tokenizer`; those of a large text stay on disk.

    Raises:
        VocabularyError: a character is not in the vocabulary; for a large text it names only those
            near the first one.
        StorageError: there is no room for the ids.
    """
    if isinstance(text, str):
        return tokenizer.encode(text, unknown)
    if tokenizer.vocabulary == text.tokenizer.vocabulary:
        return text.ids
    # Ids in another vocabulary serve this program alone: their file has no name and ends with it.
    folder = text.path.parent
    with storage_errors(folder, fix=_FIX), tempfile.TemporaryFile(dir=folder) as file:
        for start in range(0, len(text), _PIECE):
            file.write(tokenizer.encode(text[start : start + _PIECE], unknown, start).tobytes())
        file.flush()
        count = file.tell() // tokenizer.dtype.itemsize
        return _mapped(file, tokenizer, count) if count else np.empty(0, tokenizer.dtype)


def store_texts(files: Sequence[Path], how: Decoding, arrangement: Arrangement) -> ReadText:
    """Join these files into one text: look its ids up, or read the files and store them.

    Only the three most recently used texts are kept.

    Raises:
        TextError: a file cannot be read as text, or changes while it is read.
        StorageError: there is no room for the ids.
    """
    folder = platformdirs.user_cache_path("zigpt")
    key = _key(files, how, arrangement)
    path = folder / f"text-{key}.ids"
    if found := _load(path):
        return found
    with storage_errors(folder, fix=_FIX):
        folder.mkdir(parents=True, exist_ok=True)
        info = _encode_files(files, path, how, arrangement)
        if _key(files, how, arrangement) != key:
            path.unlink()
            raise _changed(files)
        # Written last: ids without a description are incomplete.
        write_stream(path.with_suffix(".json"), [json.dumps(info).encode()])
        _delete_old(folder)
    stored = _load(path)
    assert stored
    return stored


def _key(files: Sequence[Path], how: Decoding, arrangement: Arrangement) -> str:
    arranged = replace(arrangement, held_out=())  # they are among the files
    described: list[Any] = [_FORMAT, *astuple(how), *astuple(arranged), len(arrangement.held_out)]
    for file in files:
        try:
            status = os.stat(file)
        except OSError as error:
            refuse(error, file)
        described.append((os.path.abspath(file), status.st_size, status.st_mtime_ns))
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:32]


def _load(path: Path) -> ReadText | None:
    """Map the stored ids; None if there are none, or not all of them."""
    try:
        info = json.loads(path.with_suffix(".json").read_bytes())
        tokenizer = CharTokenizer(info["vocabulary"])
        size = info["characters"] * tokenizer.dtype.itemsize
        if path.stat().st_size != size:
            return None
        with path.open("rb") as file:
            ids = _mapped(file, tokenizer, info["characters"])
        with suppress(OSError):  # a read-only folder can still be used
            os.utime(path)  # the most recently used texts are kept
        changes = tuple(
            Changes(**{**part, "places": tuple(part["places"])}) for part in info["files"]
        )
        text = StoredText(tokenizer, ids, info["sha256"], path)
        return ReadText(text, info["n_train"], HeldOut(*info["held_out"]), changes)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _mapped(file: Any, tokenizer: Tokenizer, count: int) -> Ids:
    # As a plain array: slices of a memmap object are slower.
    return np.asarray(np.memmap(file, tokenizer.dtype, "r", shape=(count,)))


def _encode_files(
    files: Sequence[Path], path: Path, how: Decoding, arrangement: Arrangement
) -> dict[str, Any]:
    """Store the ids of all files, as they are to be arranged; return their description."""
    sha256, characters = hashlib.sha256(), CharacterSet()
    reader = DocumentReader(files, how, arrangement)
    for text in reader:
        sha256.update(text.encode())
        characters.add(text)
    tokenizer, order = CharTokenizer(characters.vocabulary), arrange(reader, arrangement)
    length = sum(reader.lengths)
    again = DocumentReader(files, how, arrangement)
    encoded = _encoded(again, files, tokenizer, length)
    if order.is_as_read:
        write_stream(path, encoded)
    else:
        sha256 = hashlib.sha256()
        with tempfile.TemporaryFile(dir=path.parent) as file:
            file.writelines(encoded)
            write_stream(path, _moved(file, order, tokenizer, sha256))
    return {
        "vocabulary": tokenizer.vocabulary,
        "characters": length,
        "n_train": order.n_train,
        "held_out": order.held_out,
        "sha256": sha256.hexdigest(),
        "files": [asdict(changes) for changes in reader.changes],
    }


def _encoded(
    reader: DocumentReader, files: Sequence[Path], tokenizer: CharTokenizer, length: int
) -> Iterator[bytes]:
    """Read the files once more, and check that they are still the same text."""
    for text in reader:
        try:
            yield tokenizer.encode(text).tobytes()
        except VocabularyError:
            raise _changed(files) from None
        length -= len(text)
    if length != 0:
        raise _changed(files)


def _moved(file: Any, order: Order, tokenizer: CharTokenizer, sha256: Any) -> Iterator[bytes]:
    """Take the slices of ids in their order; update the fingerprint of the text they make."""
    size = tokenizer.dtype.itemsize
    for start, end in order.slices.tolist():
        file.seek(start * size)
        for first in range(start, end, _PIECE):
            piece = file.read(size * min(_PIECE, end - first))
            sha256.update(tokenizer.decode(np.frombuffer(piece, tokenizer.dtype)).encode())
            yield piece


def _delete_old(folder: Path) -> None:
    """Delete all but the newest texts; a process that has mapped one of the others keeps it."""
    newest = sorted(folder.glob("text-*.ids"), key=lambda path: -path.stat().st_mtime)
    for path in newest[_KEPT:]:
        with suppress(OSError):  # Windows deletes no file that is in use
            path.with_suffix(".json").unlink(missing_ok=True)
            path.unlink()
    for path in filter(is_leftover, folder.glob("text-*")):
        with suppress(OSError):
            # A recent one may belong to a program that is still writing it.
            if path.stat().st_mtime < time.time() - _ABANDONED:
                path.unlink()


def _changed(files: Sequence[Path]) -> TextError:
    name = printable(files[0])
    return TextError(
        tr("{name} or a file after it changed", name=name)
        if len(files) > 1
        else tr("{name} changed", name=name),
        tr("another program wrote to it while it was read"),
        tr("try again when the text is complete"),
    )
