"""Text <-> ids, one character each.

The vocabulary is the sorted distinct characters of a text, so id order is code point order. This
module knows no tensor: ids are numpy arrays of the smallest unsigned type that holds them.
"""

import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from zigpt.errors import VocabularyError
from zigpt.tokenizers.base import Ids, Unknown

_CHUNK = 1 << 16  # characters per conversion: their code points fit the second-level cache
_N_CODE_POINTS = 0x110000
_ASCII_UNKNOWN = 255  # in code point order ASCII comes first: its ids are below 128
_STAND_INS = "\ufffd?？□ "  # what `replace` writes: the first of these that the vocabulary has


def _code_points(text: str) -> Iterator[NDArray[np.uint32]]:
    for start in range(0, len(text), _CHUNK):
        chunk = text[start : start + _CHUNK].encode("utf-32-le", "surrogatepass")
        yield np.frombuffer(chunk, dtype="<u4")


def _ascii_chunks(text: str) -> Iterator[bytes]:
    for start in range(0, len(text), _CHUNK):
        yield text[start : start + _CHUNK].encode("ascii")


class CharacterSet:
    """The distinct characters of a text that comes in pieces."""

    def __init__(self) -> None:
        self._ascii: set[int] = set()
        self._seen = np.zeros(_N_CODE_POINTS, dtype=bool)

    def add(self, text: str) -> None:
        """Take in another piece."""
        if text.isascii():  # known to str, so this costs nothing; bytes have faster ways
            for chunk in _ascii_chunks(text):
                self._ascii.update(chunk.translate(None, delete=bytes(self._ascii)))
            return
        for codes in _code_points(text):
            self._seen[codes] = True

    def __str__(self) -> str:
        """All of them in code point order."""
        return "".join(map(chr, sorted({*self._ascii, *map(int, np.flatnonzero(self._seen))})))


class CharTokenizer:
    """A fixed vocabulary of characters, one id each.

    Raises:
        ValueError: the vocabulary is not one or more distinct characters in code point order.
    """

    kind: ClassVar[str] = "char"

    def __init__(self, vocabulary: str) -> None:
        if not vocabulary or any(a >= b for a, b in pairwise(vocabulary)):
            raise ValueError("expected distinct characters in code point order, at least one")
        self.vocabulary = vocabulary
        self._code_points = np.concatenate(list(_code_points(vocabulary)))
        # The id one past the last marks a character that is not in the vocabulary.
        self._unknown_id = len(vocabulary)
        self._id_of = np.full(
            _N_CODE_POINTS, self._unknown_id, np.min_scalar_type(self._unknown_id)
        )
        self._id_of[self._code_points] = np.arange(self.vocab_size)
        of_ascii = np.where(
            self._id_of[:128] == self._unknown_id, _ASCII_UNKNOWN, self._id_of[:128]
        )
        self._ascii_table = of_ascii.astype(np.uint8).tobytes() + bytes([_ASCII_UNKNOWN] * 128)

    @classmethod
    def from_text(cls, text: str) -> "CharTokenizer":
        """Take every distinct character of `text` as the vocabulary.

        Raises:
            ValueError: the text is empty.
        """
        characters = CharacterSet()
        characters.add(text)
        return cls(str(characters))

    @property
    def vocab_size(self) -> int:
        """Number of distinct characters, V."""
        return len(self.vocabulary)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest unsigned type that holds every id."""
        return np.min_scalar_type(self.vocab_size - 1)

    def __contains__(self, piece: str) -> bool:
        return bool(self._id_of[ord(piece)] != self._unknown_id)

    def encode(self, text: str, unknown: Unknown = "error", start: int = 0) -> Ids:
        """Turn characters into ids.

        `unknown` says what becomes of a character outside the vocabulary: an error, nothing, or
        the first of U+FFFD, "?", "？", "□" and space that the vocabulary has. For a piece of a
        longer text, `start` is where in it the piece begins.

        Raises:
            VocabularyError: naming each unknown character, its code point and first position.
        """
        ids, unknown_id = self._look_up(text)
        is_unknown = ids == unknown_id
        if is_unknown.any():
            ids = self._settle(text, ids, is_unknown, unknown, start)
        return ids.astype(self.dtype, copy=False)

    def _look_up(self, text: str) -> tuple[Ids, int]:
        """Every character's id, and the number that marks one outside the vocabulary."""
        if text.isascii():
            table = self._ascii_table
            ids: Ids = np.empty(len(text), np.uint8)
            for i, chunk in enumerate(_ascii_chunks(text)):
                looked_up = np.frombuffer(chunk.translate(table), np.uint8)
                ids[i * _CHUNK : (i + 1) * _CHUNK] = looked_up
            return ids, _ASCII_UNKNOWN
        ids = np.empty_like(self._id_of, shape=len(text))
        for i, codes in enumerate(_code_points(text)):
            # The table covers all of Unicode; "clip" only spares numpy a second check of bounds.
            np.take(self._id_of, codes, out=ids[i * _CHUNK : (i + 1) * _CHUNK], mode="clip")
        return ids, self._unknown_id

    def decode(self, ids: Any) -> str:
        """Turn ids (anything numpy takes as an array of integers) back into text.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        ids = np.asarray(ids, dtype=np.int64)
        if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < self.vocab_size:
            raise ValueError(f"expected ids from 0 to {self.vocab_size - 1}, got others")
        return self._code_points[ids].tobytes().decode("utf-32-le", "surrogatepass")

    def _settle(
        self, text: str, ids: Ids, is_unknown: NDArray[np.bool_], unknown: Unknown, start: int
    ) -> Ids:
        if unknown == "drop":
            return ids[~is_unknown]
        if unknown == "replace":
            stand_in = next((c for c in _STAND_INS if c in self), None)
            if stand_in is None:
                raise VocabularyError(
                    "cannot replace unknown characters",
                    "the vocabulary has no U+FFFD, question mark, box or space to write instead",
                    "drop them instead: `unknown` drop",
                )
            ids = ids.astype(self.dtype)  # those of ASCII were looked up as bytes
            ids[is_unknown] = self._id_of[ord(stand_in)]
            return ids
        first: dict[str, int] = {}
        for position in np.flatnonzero(is_unknown):
            first.setdefault(text[position], int(position))
        raise self._unknown_error(text, first, start)

    def _unknown_error(self, text: str, first: dict[str, int], start: int) -> VocabularyError:
        named = [f"{c!r} (U+{ord(c):04X}) at {start + place:,}" for c, place in first.items()]
        more = f" and {len(named) - 5} more" if len(named) > 5 else ""
        fix = "leave them out, or set `unknown` to drop or replace"
        shown = list(first.items())[:5]
        if nearest := [twin for c, place in shown if (twin := self._twin(text, c, place))]:
            fix += "; near: " + ", ".join(f"{given!r} -> {known!r}" for given, known in nearest)
        elif "\\" in first:
            fix += "; for a line break type $'\\n' in the shell"
        return VocabularyError(
            f"not in this model's {self.vocab_size} characters: {', '.join(named[:5])}{more}",
            "the model has never seen them, so it has no number for them",
            fix,
        )

    def _twin(self, text: str, character: str, place: int) -> tuple[str, str] | None:
        """Find what is known and the same but for composition, width, accent form or case."""
        # "e" and an accent may be known as "é"; a syllable of hangul has up to three parts.
        starts, ends = range(max(0, place - 2), place + 1), range(place + 1, place + 4)
        around = [text[start:end] for start in starts for end in ends]
        for given in sorted(around, key=len, reverse=True):
            composed = unicodedata.normalize("NFC", given)
            if len(composed) == 1 < len(given) and composed in self:
                return given, composed
        forms = [unicodedata.normalize(form, character) for form in ("NFC", "NFD", "NFKC", "NFKD")]
        forms += [character.swapcase()]
        known = [form for form in forms if form and all(c in self for c in form)]
        known += [form[0] for form in forms if form and form[0] in self]
        return (character, known[0]) if known else None
