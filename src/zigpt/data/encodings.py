"""Which encoding a text is in.

A byte order mark decides; otherwise the text is UTF-8 if its bytes are valid UTF-8. What remains is
a guess, and a guess is judged by its result: read correctly, nearly every character beyond ASCII is
a common one. Files are read in blocks, because they may be larger than memory.
"""

import codecs
import re
from collections.abc import Iterator
from functools import cache
from io import BufferedIOBase
from itertools import product
from typing import NamedTuple

BLOCK = 1 << 16  # bytes read at once: they fit the second-level cache; even, for UTF-16


class Encoding(NamedTuple):
    """What people call it, what Python calls it, and its byte order mark, if any."""

    label: str
    codec: str
    mark: bytes = b""


_UTF_8 = Encoding("UTF-8", "utf-8")
LATIN_1 = Encoding("Latin-1", "latin-1")
_WINDOWS_1252 = Encoding("Windows-1252", "cp1252")

_MARKED = (
    Encoding("UTF-8 with BOM", "utf-8", codecs.BOM_UTF8),
    # Before UTF-16: its little-endian mark begins with that of UTF-16.
    Encoding("UTF-32", "utf-32-le", codecs.BOM_UTF32_LE),
    Encoding("UTF-32", "utf-32-be", codecs.BOM_UTF32_BE),
    Encoding("UTF-16", "utf-16-le", codecs.BOM_UTF16_LE),
    Encoding("UTF-16", "utf-16-be", codecs.BOM_UTF16_BE),
    Encoding("GB18030", "gb18030", "\ufeff".encode("gb18030")),
)
_WIDE = (Encoding("UTF-16", "utf-16-le"), Encoding("UTF-16", "utf-16-be"))
_CHINESE = (
    Encoding("GB18030", "gb18030"),
    Encoding("Big5", "cp950"),  # as Windows writes it
    Encoding("Big5", "big5hkscs"),  # with the characters of Hong Kong
)

# Bytes that a guess is based on. In passages of 60 characters, modern prose read correctly scored
# 1.0 and old verse at least 0.87; Chinese read in a wrong encoding scored at most 0.77.
_EXCERPT = 1 << 16
_FAMILIAR_ENOUGH = 0.85


def recognise(file: BufferedIOBase) -> Encoding | None:
    """Find the encoding of a file; None if it reads like none of those listed here.

    A file that is mostly UTF-8 counts as UTF-8; its damage is found when it is decoded.
    """
    file.seek(0)
    head = file.read(4)
    for encoding in _MARKED:
        if head.startswith(encoding.mark):
            return encoding
    excerpt, is_cut = _excerpt(file)
    # A text in UTF-8 has no NUL; one in UTF-16 has them wherever it has ASCII.
    if b"\0" not in excerpt and (_is_utf_8(excerpt, is_cut) or _mostly_utf_8(excerpt)):
        return _UTF_8
    return _guess(file, excerpt)


def blocks(file: BufferedIOBase, start: int = 0) -> Iterator[bytes]:
    """Read a file from `start` to its end, block by block."""
    file.seek(start)
    while block := file.read(BLOCK):
        yield block


def _excerpt(file: BufferedIOBase) -> tuple[bytes, bool]:
    """Read from where the encodings begin to differ, and report whether the file continues."""
    start = 0
    for number, block in enumerate(blocks(file)):
        # Whether there is a differing byte is found much faster than where it is.
        if block.isascii() and b"\0" not in block:
            continue
        if differing := re.search(rb"[^\x01-\x7f]", block):
            # At an even offset, so that no unit of UTF-16 is cut in half.
            start = number * BLOCK + (differing.start() & ~1)
            break
    file.seek(start)
    excerpt = file.read(_EXCERPT)
    return excerpt, bool(file.read(1))


def _is_utf_8(excerpt: bytes, is_cut: bool) -> bool:
    try:
        # A cut excerpt may end within a character.
        codecs.getincrementaldecoder("utf-8")().decode(excerpt, final=not is_cut)
    except UnicodeDecodeError:
        return False
    return True


def _mostly_utf_8(excerpt: bytes) -> bool:
    # Text in another encoding is almost never valid UTF-8, so each valid character is evidence.
    text = excerpt.decode("utf-8", "replace")
    invalid = text.count("\ufffd")
    return _beyond_ascii(text) - invalid >= invalid


def _guess(file: BufferedIOBase, excerpt: bytes) -> Encoding | None:
    """Choose the encoding that yields the largest share of familiar characters."""
    # Where Latin-1 has control codes, Windows-1252 has curly quotes.
    curly = any(re.search(rb"[\x80-\x9f]", block) for block in blocks(file))
    # Western first, for ties: an accented letter and the next letter can also be one hanzi.
    guesses = (_WINDOWS_1252 if curly else LATIN_1, *_CHINESE, *_WIDE)
    scores = {guess: _familiar_share(excerpt.decode(guess.codec, "replace")) for guess in guesses}
    best = max(guesses, key=lambda guess: scores[guess])
    return best if scores[best] >= _FAMILIAR_ENOUGH else None


def _familiar_share(text: str) -> float:
    # Bytes that are invalid in this encoding count twice.
    unfamiliar = len(_familiar().sub("", text)) + text.count("\ufffd")
    return 1 - unfamiliar / max(_beyond_ascii(text), 1)


def _beyond_ascii(text: str) -> int:
    return len(text) - len(text.encode("ascii", "ignore"))


@cache
def _familiar() -> re.Pattern[str]:
    """Match common hanzi, punctuation, and accented letters among plain ones."""
    # Level 1 of GB2312 and of Big5: the hanzi in everyday use (Big5's are followed by some kana).
    simplified = _double_bytes(range(0xB0, 0xD8), range(0xA1, 0xFF)).decode("gb2312", "ignore")
    big5_trails = (*range(0x40, 0x7F), *range(0xA1, 0xFF))
    traditional = _double_bytes(range(0xA4, 0xC7), big5_trails).decode("big5", "ignore")
    hanzi = "".join(sorted({*simplified, *traditional}))
    ascii_and_marks = "\t\n\f\r -~\xa0¡£§©ª«®°±²³µ·º»¼½¾¿×–—‘’“”„•…€™"
    chinese_marks = "\u3000-\u301f！-～"
    # Chinese read as Latin-1 is long runs of accented letters; in prose they are scattered.
    accented = "[À-ÖØ-öø-ÿŒœŠšŽžŸ]"
    return re.compile(
        f"[{ascii_and_marks}{chinese_marks}{hanzi}]+|(?<!{accented}){accented}{{1,2}}(?!{accented})"
    )


def _double_bytes(leads: range, trails: range | tuple[int, ...]) -> bytes:
    return b"".join(bytes(pair) for pair in product(leads, trails))
