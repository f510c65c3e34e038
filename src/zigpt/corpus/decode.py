"""Bytes to text: the encoding recognised, the line ends made one, and nothing done in silence.

A byte order mark decides; else the bytes are UTF-8 if they can be. What remains is a guess, and a
guess is judged by what it yields: in a right reading, nearly every character beyond ASCII is one
that people write often. This module knows no files.
"""

import codecs
import re
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import NamedTuple

from zigpt.errors import TextError


@dataclass(frozen=True)
class Decoded:
    """A text with LF line ends and no byte order mark; `notices` says what was done to it."""

    text: str
    encoding: str
    notices: tuple[str, ...]


class _Encoding(NamedTuple):
    label: str
    codec: str
    mark: bytes = b""


_UTF_8 = _Encoding("UTF-8", "utf-8")
_LATIN_1 = _Encoding("Latin-1", "latin-1")
_WINDOWS_1252 = _Encoding("Windows-1252", "cp1252")

_MARKED = (
    _Encoding("UTF-8 with BOM", "utf-8", codecs.BOM_UTF8),
    # Before UTF-16: its little-endian mark begins with that of UTF-16.
    _Encoding("UTF-32", "utf-32-le", codecs.BOM_UTF32_LE),
    _Encoding("UTF-32", "utf-32-be", codecs.BOM_UTF32_BE),
    _Encoding("UTF-16", "utf-16-le", codecs.BOM_UTF16_LE),
    _Encoding("UTF-16", "utf-16-be", codecs.BOM_UTF16_BE),
    _Encoding("GB18030", "gb18030", "\ufeff".encode("gb18030")),
)
_WIDE = (_Encoding("UTF-16", "utf-16-le"), _Encoding("UTF-16", "utf-16-be"))
_CHINESE = (
    _Encoding("GB18030", "gb18030"),
    _Encoding("Big5", "cp950"),  # as Windows writes it
    _Encoding("Big5", "big5hkscs"),  # with the characters of Hong Kong
)

# Bytes that a guess looks at. In passages of 60 characters, right readings of modern prose scored
# 1.0 and of old verse 0.87 and more; Chinese read wrong, 0.77 and less.
_EXCERPT = 1 << 16
_FAMILIAR_ENOUGH = 0.85

_CONTROL = re.compile(r"[\0-\x08\x0e-\x1f\x7f]")


def decode(data: bytes, name: str) -> Decoded:
    """Read `data` as text; `name` is what messages call it.

    Raises:
        TextError: it is empty, binary, damaged or in an encoding that is not recognised.
    """
    encoding = _recognise(data, name)
    text = _read(data, encoding, name)
    if not text:
        raise TextError(f"{name} is empty", "there is nothing to learn from", "give another text")
    _refuse_binary(text, encoding, name)
    notices = []
    if encoding.codec != "utf-8":
        advice = "" if encoding.mark else ": check that the sample below reads right"
        notices.append(f"{name} is {encoding.label}, not UTF-8{advice}")
    crlf = text.count("\r\n")
    cr = text.count("\r") - crlf
    if crlf or cr:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        counts = [f"{count:,} {kind}" for count, kind in ((crlf, "CRLF"), (cr, "CR")) if count]
        notices.append(f"{name}: {' and '.join(counts)} line ends became LF")
    return Decoded(text, encoding.label, tuple(notices))


def _recognise(data: bytes, name: str) -> _Encoding:
    for encoding in _MARKED:
        if data.startswith(encoding.mark):
            return encoding
    # A text in UTF-8 has no NUL; one in UTF-16 has them wherever it has ASCII.
    if b"\0" not in data:
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            if _mostly_utf_8(data):
                raise _damaged(error, _UTF_8, name) from None
        else:
            return _UTF_8
    if guess := _guess(data):
        return guess
    _refuse_binary(data.decode("latin-1"), _LATIN_1, name)
    raise TextError(
        f"the encoding of {name} is not recognised",
        "it does not read like UTF-8, UTF-16, GB18030, Big5 or Latin-1",
        "open it in an editor that shows it right and save it as UTF-8",
    )


def _excerpt(data: bytes) -> bytes:
    """Cut where the encodings begin to differ, on an even offset so that UTF-16 stays in step."""
    differing = re.search(rb"[^\x01-\x7f]", data)
    start = differing.start() & ~1 if differing else 0
    return data[start : start + _EXCERPT]


def _mostly_utf_8(data: bytes) -> bool:
    # Other encodings almost never fall into UTF-8's pattern, so each hit is strong evidence.
    text = _excerpt(data).decode("utf-8", "replace")
    invalid = text.count("\ufffd")
    return _beyond_ascii(text) - invalid >= invalid


def _guess(data: bytes) -> _Encoding | None:
    """Choose the reading with the largest share of familiar characters; of equals, the first."""
    # Where Latin-1 has control codes, Windows has its curly quotes.
    western = _WINDOWS_1252 if re.search(rb"[\x80-\x9f]", data) else _LATIN_1
    # Western first: a lone accent and the letter after it can also be one good Chinese character.
    guesses = (western, *_CHINESE, *_WIDE)
    excerpt = _excerpt(data)
    scores = {guess: _familiar_share(excerpt.decode(guess.codec, "replace")) for guess in guesses}
    best = max(guesses, key=lambda guess: scores[guess])
    return best if scores[best] >= _FAMILIAR_ENOUGH else None


def _familiar_share(text: str) -> float:
    # What the encoding cannot even hold counts twice.
    unfamiliar = len(_familiar().sub("", text)) + text.count("\ufffd")
    return 1 - unfamiliar / max(_beyond_ascii(text), 1)


def _beyond_ascii(text: str) -> int:
    return len(text) - len(text.encode("ascii", "ignore"))


@cache
def _familiar() -> re.Pattern[str]:
    """Match what people write: common hanzi, punctuation, accented letters among plain ones."""
    # Level 1 of GB2312 and of Big5: the hanzi of everyday use (after the latter come some kana).
    simplified = _double_bytes(range(0xB0, 0xD8), range(0xA1, 0xFF)).decode("gb2312", "ignore")
    big5_trails = (*range(0x40, 0x7F), *range(0xA1, 0xFF))
    traditional = _double_bytes(range(0xA4, 0xC7), big5_trails).decode("big5", "ignore")
    hanzi = "".join(sorted({*simplified, *traditional}))
    ascii_and_marks = "\t\n\f\r -~\xa0¡£§©ª«®°±²³µ·º»¼½¾¿×–—‘’“”„•…€™"
    chinese_marks = "\u3000-\u301f！-～"
    # Bytes of Chinese read as Latin-1 are long runs of accents; in prose they stand among letters.
    accented = "[À-ÖØ-öø-ÿŒœŠšŽžŸ]"
    return re.compile(
        f"[{ascii_and_marks}{chinese_marks}{hanzi}]+|(?<!{accented}){accented}{{1,2}}(?!{accented})"
    )


def _double_bytes(leads: range, trails: range | tuple[int, ...]) -> bytes:
    return b"".join(bytes(pair) for pair in product(leads, trails))


def _read(data: bytes, encoding: _Encoding, name: str) -> str:
    try:
        return data[len(encoding.mark) :].decode(encoding.codec)
    except UnicodeDecodeError as error:
        raise _damaged(error, encoding, name) from None


def _damaged(error: UnicodeDecodeError, encoding: _Encoding, name: str) -> TextError:
    before = error.object[: error.start].decode(encoding.codec, "replace")
    line = 1 + before.count("\n") + before.count("\r") - before.count("\r\n")
    offset = len(encoding.mark) + error.start
    return TextError(
        f"{name} is damaged: it looks like {encoding.label} but is not quite",
        f"byte 0x{error.object[error.start]:02X} at offset {offset:,} (line {line:,}) does not fit",
        "repair that line in an editor, or save the text again as UTF-8",
    )


def _refuse_binary(text: str, encoding: _Encoding, name: str) -> None:
    # Old texts hold a stray control character; programs and pictures are full of them.
    controls = _CONTROL.findall(text)
    if "\0" not in controls and len(controls) <= len(text) / 100:
        return
    index = text.index("\0" if "\0" in controls else controls[0])
    offset = len(encoding.mark) + len(text[:index].encode(encoding.codec))
    raise TextError(
        f"{name} is not a text",
        f"control character 0x{ord(text[index]):02X} at byte offset {offset:,}",
        "give a plain text file; from a document, export one first",
    )
