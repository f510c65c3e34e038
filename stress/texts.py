"""Texts in every script, prompts with unknown characters, arbitrary bytes.

The promises: encoding and decoding gives the text back; an unknown character is named with its
position; any bytes become a text or a refusal.
"""

import random
import unicodedata
from pathlib import Path

from stress.report import Report, each_case
from zigpt.data.decode import decode
from zigpt.errors import TextError, VocabularyError
from zigpt.tokenizers.char import CharTokenizer

_ALPHABETS = (
    range(0x00, 0x80),
    range(0x80, 0x250),  # Latin with accents, more control characters
    range(0x300, 0x370),  # combining accents
    range(0x4E00, 0xA000),  # hanzi
    range(0x1100, 0x1200),  # hangul jamo
    range(0x1F300, 0x1FAFF),  # emoji
    range(0x2000, 0x2070),  # direction marks, joiners, spaces
    range(0xD7F0, 0xE010),  # around and among the surrogates
    range(0xFFF0, 0x10010),  # where 16 bits end
    range(0x20000, 0x32000),  # rare hanzi
    range(0, 0x110000),
)
_PIECES = (b"\r", b"\n", b"\r\n", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xe2\x80\xa8")


def any_text(choose: random.Random) -> str:
    """Draw a text of up to 200 characters from two scripts; now and then a huge alphabet."""
    if choose.random() < 0.002:
        first = choose.randrange(0x10000)
        return "".join(map(chr, range(first, first + choose.randrange(65_530, 150_000))))
    length = choose.choice((1, 2, 3, 20, 60))
    drawn = [choose.choices(choose.choice(_ALPHABETS), k=length) for _ in range(2)]
    return "".join(map(chr, [code for pair in zip(*drawn, strict=True) for code in pair]))


def any_bytes(choose: random.Random) -> bytes:
    """Draw the bytes of a text in some encoding, often damaged, or random bytes."""
    codec = choose.choice(("utf-8", "utf-16", "utf-16-le", "utf-32", "gb18030", "latin-1"))
    data = bytearray((any_text(choose) * choose.choice((1, 1, 50))).encode(codec, "replace"))
    for _ in range(choose.choice((0, 0, 1, 5))):
        place = choose.randrange(len(data) + 1)
        data[place:place] = choose.choice((*_PIECES, choose.randbytes(3), bytes(50)))
    return choose.randbytes(len(data)) if choose.random() < 0.1 else bytes(data)


def campaign(
    folder: Path, seed: int, cases: int | None = None, seconds: float | None = None
) -> Report:
    """Check the three promises on as many texts as the budget allows."""
    report = Report()
    for name, choose in each_case(report, seed, cases, seconds):
        text, prompt = any_text(choose), any_text(choose)[:50]
        tokenizer = CharTokenizer.from_text(text)
        if tokenizer.decode(tokenizer.encode(text)) != text:
            report.failures.append(f"{name}: {text!r:.100} did not come back")
        if wrong := _wrong_about_unknown(tokenizer, text[:3] + prompt):
            report.failures.append(f"{name}: {wrong}")
        # Guessing an encoding takes as long as everything else together.
        if choose.random() < 0.1 and (wrong := _wrong_about_bytes(any_bytes(choose))):
            report.failures.append(f"{name}: {wrong}")
        report.count(str(tokenizer.dtype))
    return report


def _wrong_about_unknown(tokenizer: CharTokenizer, prompt: str) -> str | None:
    unknown = [place for place, c in enumerate(prompt) if c not in tokenizer.vocabulary]
    try:
        ids = tokenizer.encode(prompt)
    except VocabularyError as error:
        if not unknown:
            return f"{prompt!r} was refused"
        place = unknown[0]
        first = f"{prompt[place]!r} (U+{ord(prompt[place]):04X}) at {place}"
        return None if f"characters: {first}" in error.what else f"{first} was called {error.what}"
    if unknown or tokenizer.decode(ids) != prompt:
        return f"{prompt!r} was taken for {tokenizer.decode(ids)!r}"
    return None


def _wrong_about_bytes(data: bytes) -> str | None:
    try:
        text = decode(data, "book.txt").text
        text.encode()
    except TextError as error:
        return None if len(str(error).splitlines()) == 3 else f"{data[:50]!r}: {error}"
    except Exception as error:
        return f"{data[:50]!r}: {error!r}"
    return f"{data[:50]!r} became {text[:50]!r}" if not text or set("\0\r") & set(text) else None


def composed_and_not() -> list[tuple[str, str]]:
    """Every character that has two forms: composed, and decomposed."""
    everything = map(chr, [*range(0xD800), *range(0xE000, 0x110000)])
    pairs = ((c, unicodedata.normalize("NFD", c)) for c in everything)
    return [(c, parts) for c, parts in pairs if unicodedata.normalize("NFC", parts) == c != parts]
