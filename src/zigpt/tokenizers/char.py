"""Text <-> ids, one character each.

The vocabulary is the distinct characters of a text in code point order: of "hello" it is "ehlo",
and the text becomes 1 0 2 2 3. A table from code point to id does the work; the rest of this module
makes it quick for texts of gigabytes. Ids are numpy arrays of the smallest unsigned type that holds
them.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from zigpt.errors import VocabularyError
from zigpt.language import tr
from zigpt.tokenizers.base import Ids, Unknown
from zigpt.tokenizers.near_misses import unknown_characters

_CHUNK = 1 << 16  # characters converted at once: their code points fit the second-level cache
_N_CODE_POINTS = 0x110000
_ASCII_UNKNOWN = 255  # marks an unknown character: ids of ASCII characters are below 128
_REPLACEMENTS = "\ufffd?？□ "  # for `replace`: the first of these that the vocabulary has


class CharTokenizer:
    """A fixed vocabulary of characters, one id each.

    Raises:
        ValueError: the vocabulary is not one or more distinct characters in code point order.
    """

    kind: ClassVar[str] = "char"

    def __init__(self, vocabulary: str) -> None:
        if not vocabulary or any(a >= b for a, b in pairwise(vocabulary)):
            raise ValueError("expected one or more distinct characters in code point order")
        self.vocabulary = vocabulary
        self._code_points = np.concatenate(list(_code_points(vocabulary)))
        # Two tables from code point to id. The number after the last id marks unknown characters.
        self._unknown_id = len(vocabulary)
        id_type = np.min_scalar_type(self._unknown_id)
        self._id_of = np.full(_N_CODE_POINTS, self._unknown_id, id_type)
        self._id_of[self._code_points] = np.arange(self.vocab_size)
        ascii_ids = np.full(256, _ASCII_UNKNOWN, np.uint8)
        ascii_codes = self._code_points[self._code_points < 128]
        ascii_ids[ascii_codes] = np.arange(len(ascii_codes))  # they come first in the vocabulary
        self._ascii_table = ascii_ids.tobytes()

    @classmethod
    def from_text(cls, text: str) -> "CharTokenizer":
        """Take every distinct character of `text` as the vocabulary.

        Raises:
            ValueError: the text is empty.
        """
        characters = CharacterSet()
        characters.add(text)
        return cls(characters.vocabulary)

    @property
    def vocab_size(self) -> int:
        """Number of distinct characters, V."""
        return len(self.vocabulary)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest unsigned type that holds every id."""
        return np.min_scalar_type(self.vocab_size - 1)

    def __contains__(self, piece: str) -> bool:
        return len(piece) == 1 and bool(self._id_of[ord(piece)] != self._unknown_id)

    def encode(self, text: str, unknown: Unknown = "error", start: int = 0) -> Ids:
        """Turn characters into ids.

        `unknown` says what to do about characters outside the vocabulary: refuse them, drop them,
        or replace them by the first of U+FFFD, "?", "？", "□" and space that the vocabulary has.
        Where `text` is part of a longer one, `start` is its position there, for messages.

        Raises:
            VocabularyError: naming each unknown character, its code point and first position.
        """
        ids, unknown_id = self._look_up(text)
        is_unknown = ids == unknown_id
        if is_unknown.any():
            if unknown == "error":
                raise unknown_characters(self, text, np.flatnonzero(is_unknown), start)
            if unknown == "drop":
                ids = ids[~is_unknown]
            else:
                ids = ids.astype(self.dtype)
                ids[is_unknown] = self._replacement_id()
        return ids.astype(self.dtype, copy=False)

    def decode(self, ids: Any) -> str:
        """Turn ids (anything numpy takes as an array of integers) back into text.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        ids = np.asarray(ids, dtype=np.int64)
        if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < self.vocab_size:
            given = f"{ids.min()} to {ids.max()}"
            raise ValueError(f"expected ids from 0 to {self.vocab_size - 1}, got {given}")
        return self._code_points[ids].tobytes().decode("utf-32-le", "surrogatepass")

    def _look_up(self, text: str) -> tuple[Ids, int]:
        """Look up each character's id; also return the number given to unknown characters."""
        if text.isascii():
            ids: Ids = np.empty(len(text), np.uint8)
            for i, chunk in enumerate(_ascii_chunks(text)):
                chunk_ids = np.frombuffer(chunk.translate(self._ascii_table), np.uint8)
                ids[i * _CHUNK : (i + 1) * _CHUNK] = chunk_ids
            return ids, _ASCII_UNKNOWN
        ids = np.empty_like(self._id_of, shape=len(text))
        for i, codes in enumerate(_code_points(text)):
            # The table covers all of Unicode; "clip" only spares numpy a second check of bounds.
            np.take(self._id_of, codes, out=ids[i * _CHUNK : (i + 1) * _CHUNK], mode="clip")
        return ids, self._unknown_id

    def _replacement_id(self) -> int:
        for character in _REPLACEMENTS:
            if character in self:
                return int(self._id_of[ord(character)])
        raise VocabularyError(
            tr("cannot replace unknown characters"),
            tr("the vocabulary has no U+FFFD, question mark, box or space to write instead"),
            tr("set `unknown` to drop"),
        )


class CharacterSet:
    """Collects the distinct characters of a text that comes in pieces."""

    def __init__(self) -> None:
        self._ascii: set[int] = set()
        self._seen = np.zeros(_N_CODE_POINTS, dtype=bool)

    def add(self, text: str) -> None:
        """Add the characters of another piece."""
        if text.isascii():  # a str knows this about itself, and bytes are searched much faster
            for chunk in _ascii_chunks(text):
                self._ascii.update(chunk.translate(None, delete=bytes(self._ascii)))
            return
        for codes in _code_points(text):
            self._seen[codes] = True

    @property
    def vocabulary(self) -> str:
        """All of them in code point order."""
        return "".join(map(chr, sorted({*self._ascii, *map(int, np.flatnonzero(self._seen))})))


def _code_points(text: str) -> Iterator[NDArray[np.uint32]]:
    for start in range(0, len(text), _CHUNK):
        chunk = text[start : start + _CHUNK].encode("utf-32-le", "surrogatepass")
        yield np.frombuffer(chunk, dtype="<u4")


def _ascii_chunks(text: str) -> Iterator[bytes]:
    for start in range(0, len(text), _CHUNK):
        yield text[start : start + _CHUNK].encode("ascii")
