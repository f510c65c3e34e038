"""Which encoding a text is in.

A byte order mark decides; otherwise the text is UTF-8 if its bytes are valid UTF-8. What remains is
a guess, judged by its result. Chinese is known by its everyday hanzi. Other alphabets are left to
the library charset-normalizer, and must then be those that it found. Of Latin letters it is not
sure enough, for read in a wrong encoding they are still letters: but no longer those of one
language.
"""

import codecs
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import cache
from io import BufferedIOBase
from itertools import product

from zigpt.data.encodings import MARKED, UTF_8, Encoding

BLOCK = 1 << 16  # bytes read at once: they fit the second-level cache; even, for UTF-16
_GB18030 = Encoding("GB18030", "gb18030")
_BIG5_HKSCS = Encoding("Big5", "big5hkscs")  # with the characters of Hong Kong
_BIG5 = Encoding("Big5", "cp950")  # as Windows writes it
_WIDE = (Encoding("UTF-16", "utf_16_le"), Encoding("UTF-16", "utf_16_be"))
# By what the names of its letters begin with.
_CJK, _KANA, _HANGUL = "CJK UNIFIED", ("HIRAGANA", "KATAKANA", "CJK UNIFIED"), "HANGUL"
_ALPHABETS: dict[Encoding, str | tuple[str, ...]] = {
    _WIDE[0]: _CJK,
    _WIDE[1]: _CJK,
    _GB18030: _CJK,
    _BIG5_HKSCS: _CJK,
    _BIG5: _CJK,
    Encoding("EUC-KR (cp949)", "cp949"): _HANGUL,
    Encoding("Shift-JIS", "cp932"): _KANA,
    Encoding("EUC-JP", "euc_jp"): _KANA,
    Encoding("Windows-1251", "cp1251"): "CYRILLIC",
    Encoding("KOI8-R", "koi8_r"): "CYRILLIC",
    Encoding("KOI8-U", "koi8_u"): "CYRILLIC",
    Encoding("cp866", "cp866"): "CYRILLIC",
    Encoding("ISO 8859-5", "iso8859_5"): "CYRILLIC",
    Encoding("Windows-1253", "cp1253"): "GREEK",
    Encoding("Windows-1255", "cp1255"): "HEBREW",
    Encoding("Windows-1256", "cp1256"): "ARABIC",
    Encoding("ISO 8859-6", "iso8859_6"): "ARABIC",
    Encoding("Thai (cp874)", "cp874"): "THAI",
}
# ASCII that switches to another alphabet and back.
_SEVEN_BIT = (
    Encoding("ISO-2022-JP", "iso2022_jp"),
    Encoding("ISO-2022-KR", "iso2022_kr"),
    Encoding("HZ", "hz"),
)
# Of several that give the same text, the first.
_LATIN = (
    Encoding("Windows-1252", "cp1252"),
    Encoding("ISO 8859-15", "iso8859_15"),
    Encoding("Windows-1250", "cp1250"),
    Encoding("ISO 8859-2", "iso8859_2"),
    Encoding("Windows-1254", "cp1254"),
    Encoding("Windows-1257", "cp1257"),
    Encoding("Mac Roman", "mac_roman"),
    Encoding("cp850", "cp850"),
    Encoding("cp852", "cp852"),
    Encoding("cp437", "cp437"),
)
_MARKS = "\xa0«»‹›‘’‚“”„–—…•°§©®™€£"
_MORE_MARKS = "¢¥±²³µ¶·¹¼½¾¿¡×÷ºª"  # of texts that are otherwise nearly all ASCII
# The letters, and marks of its own, that a language has beyond ASCII.
_WESTERN = (
    "àâæçèéêëîïôœùûüÿ",  # French; Dutch, Albanian
    "äöüß",  # German
    "áéíñóúü¿¡ºª",  # Spanish
    "àáâãçéêíòóôõúüºª",  # Portuguese
    "àèéìíîòóùúºª",  # Italian
    "àçèéíïòóúü·",  # Catalan
    "àåäéöü",  # Swedish, Finnish
    "æøåäéèêòóôöü",  # Danish, Norwegian
    "áæéðíóöúýþ",  # Icelandic
)
_LANGUAGES = tuple(
    {*letters, *letters.upper(), *_MARKS}
    for letters in (
        *_WESTERN,
        "õäöüšž",  # Estonian
        "ąćęłńóśźż",  # Polish
        "áčďéěíňóřšťúůýž",  # Czech
        "áäčďéíĺľňóôŕšťúýž",  # Slovak
        "áéíóöőúüű",  # Hungarian
        "ăâîşţ",  # Romanian, with the cedillas of these encodings
        "čćđšž",  # Croatian, Slovene
        "çğıİöşüâîû",  # Turkish
        "ąčęėįšųūž",  # Lithuanian
        "āčēģīķļņšūž",  # Latvian
    )
)
_ANY_WESTERN = {*_MORE_MARKS}.union(*_LANGUAGES[: len(_WESTERN)])

_EXCERPT = 1 << 16  # bytes that a guess is based on
_SURE = 0.97  # share of what is beyond ASCII that must belong to one language, or alphabet
_EVERYDAY, _TELLING = 0.8, 0.1  # shares of what is beyond ASCII
_PARTS = 8  # of an excerpt
_FEWEST = 10  # letters: fewer could be those of several alphabets
_MIXED = re.compile(r"[A-Za-z][^\W\d_\0-\x7f]|[^\W\d_\0-\x7f][A-Za-z]")
_RARE = 0.01  # of all characters: so few beyond ASCII may be words of several languages


def recognise(file: BufferedIOBase) -> Encoding | None:
    """Find the encoding of a file; None if it reads like none of those listed here.

    A file that is mostly UTF-8 counts as UTF-8; its damage is found when it is decoded.
    """
    file.seek(0)
    head = file.read(4)
    for encoding in MARKED:
        if head.startswith(encoding.mark):
            return encoding
    excerpt, is_cut = _excerpt(file)
    if wide := _wide(excerpt):
        return wide
    if _is_utf_8(excerpt, is_cut) or _mostly_utf_8(excerpt):
        return _seven_bit(excerpt) or UTF_8
    if chinese := _chinese(excerpt):
        return _latin(excerpt) or chinese  # an accented letter and the next can be one hanzi
    return _other_alphabet(_telling(excerpt, is_cut)) or _other_alphabet(excerpt) or _latin(excerpt)


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


def _wide(excerpt: bytes) -> Encoding | None:
    """Recognise UTF-16 by the NUL that each ASCII character has beside it."""
    if excerpt.count(0) > max(_FEWEST, len(excerpt) / 4):
        # ASCII's NUL comes first where the larger half of a unit does.
        is_big = excerpt[::2].count(0) > excerpt[1::2].count(0)
        for encoding in reversed(_WIDE) if is_big else _WIDE:
            text = excerpt.decode(encoding.codec, "replace")
            if "\0" not in text and "\ufffd" not in text[:-1]:
                return encoding
    return None


def _telling(excerpt: bytes, is_cut: bool) -> bytes:
    """Take what tells encodings apart, in whole characters; of UTF-16 it is nonsense."""
    if is_cut:
        excerpt = excerpt[: excerpt.rfind(b"\n") + 1]
    words = [word for word in excerpt.split() if not word.isascii()]
    return b" ".join(words) if len(words) < len(excerpt) / 100 else excerpt


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
    return len(_beyond_ascii(text)) - invalid >= invalid


def _seven_bit(excerpt: bytes) -> Encoding | None:
    if excerpt.isascii() and (b"\x1b$" in excerpt or b"~{" in excerpt):
        for encoding in _SEVEN_BIT:
            text = excerpt.decode(encoding.codec, "replace")
            if "\ufffd" not in text[:-2] and _beyond_ascii(text):
                return encoding
    return None


def _chinese(excerpt: bytes) -> Encoding | None:
    """Recognise Chinese by its everyday hanzi: chats have too many odd marks for the library."""
    pairs = re.findall(rb"[\x81-\xfe][\x40-\xfe]", excerpt)
    # Korean and Japanese bytes are everyday hanzi, too: but hardly ever these.
    late = sum(pair[0] >= 0xC9 for pair in pairs)  # GB's, from S on in the alphabet
    low = sum(pair[1] < 0x7F for pair in pairs)  # Big5's
    scores = {}
    for encoding, telling in ((_GB18030, late), (_BIG5_HKSCS, low), (_BIG5, low)):
        text = excerpt.decode(encoding.codec, "replace")
        beyond = _beyond_ascii(text)
        everyday = sum(map(_everyday_hanzi().__contains__, beyond)) - 2 * beyond.count("\ufffd")
        is_japanese = re.search("[ぁ-ヺ]{2}", beyond)
        if telling >= _TELLING * len(pairs) and len(beyond) > _FEWEST and not is_japanese:
            scores[encoding] = everyday / len(beyond)
    best = max(scores, key=lambda encoding: scores[encoding], default=None)
    return best if best and scores[best] >= _EVERYDAY else None


@cache
def _everyday_hanzi() -> frozenset[str]:
    """Level 1 of GB2312 and of Big5, with the marks of Chinese texts."""
    simplified = _double_bytes(range(0xB0, 0xD8), range(0xA1, 0xFF)).decode("gb2312", "ignore")
    trails = (*range(0x40, 0x7F), *range(0xA1, 0xFF))
    traditional = _double_bytes(range(0xA4, 0xC7), trails).decode("big5", "ignore")
    width = "".join(map(chr, (*range(0x3000, 0x3020), *range(0xFF01, 0xFF5F))))
    return frozenset(simplified + traditional + width + _MARKS + "‧")


def _double_bytes(leads: range, trails: range | tuple[int, ...]) -> bytes:
    return b"".join(bytes(pair) for pair in product(leads, trails))


def _other_alphabet(excerpt: bytes) -> Encoding | None:
    """Ask the library; what it finds counts if the letters are of the alphabet it is made for."""
    from charset_normalizer import from_bytes  # only now: few texts need it

    of_codec = {encoding.codec: encoding for encoding in _ALPHABETS}
    lines = excerpt.splitlines(keepends=True)
    size = math.ceil(len(lines) / _PARTS)
    parts = [b"".join(lines[start : start + size]) for start in range(0, len(lines), size)]
    for part in (excerpt, *parts):  # the library takes nothing that is damaged
        found = from_bytes(part, cp_isolation=[*of_codec, "cp1252"]).best()
        if found is not None:
            encoding = of_codec.get(found.encoding)
            return encoding if encoding and _is_in(encoding, excerpt) else None
    return None


def _is_in(encoding: Encoding, excerpt: bytes) -> bool:
    """Whether nearly all letters beyond ASCII are of the alphabet that an encoding is made for."""
    text = excerpt.decode(encoding.codec, "replace")
    letters = [character for character in _beyond_ascii(text) if character.isalpha()]
    ours = sum(unicodedata.name(letter, "").startswith(_ALPHABETS[encoding]) for letter in letters)
    if encoding.codec == "cp949":  # beyond EUC-KR's two bytes it has rare syllables only
        ours = sum(len(letter.encode("euc_kr", "ignore")) == 2 for letter in letters)
    # Latin read as Arabic, say, leaves ASCII within the words.
    against = len(_MIXED.findall(text)) + text.count("\ufffd")
    return ours - against > max(_FEWEST, _SURE * len(letters))


def _latin(excerpt: bytes) -> Encoding | None:
    """Choose the encoding in which the letters beyond ASCII are those of one language."""
    texts = {encoding: excerpt.decode(encoding.codec, "replace") for encoding in _LATIN}
    scores = {encoding: _latin_score(text) for encoding, text in texts.items()}
    best = max(_LATIN, key=lambda encoding: scores[encoding])
    readings = {texts[encoding] for encoding in _LATIN if scores[encoding] == scores[best]}
    is_likeliest = best == _LATIN[0] or len(readings) == 1  # Windows-1252 is by far the commonest
    return best if scores[best] >= _SURE and is_likeliest else None


def _latin_score(text: str) -> float:
    """What share of the characters beyond ASCII belongs to one language."""
    counts = Counter(_beyond_ascii(text))
    # In a wrong encoding a small letter often is a capital: caf\xc9 for caf\xe9.
    odd = sum(a.islower() and b.isupper() for a, b in re.findall(r"\w[^\W\0-\x7f]", text))
    total = max(counts.total(), 1)
    scores = [sum(counts[letter] for letter in language) / total for language in _LANGUAGES]
    if total < _RARE * len(text):
        # One language explains more: of two readings it is the likelier one.
        scores.append(sum(counts[letter] for letter in _ANY_WESTERN) / total - 0.01)
    return max(scores) - odd / total


def _beyond_ascii(text: str) -> str:
    return re.sub("[\0-\x7f]+", "", text)
