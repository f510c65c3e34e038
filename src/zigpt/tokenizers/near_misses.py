"""The refusal of characters outside a vocabulary, and what was probably meant by them."""

import unicodedata

import numpy as np
from numpy.typing import NDArray

from zigpt.errors import VocabularyError
from zigpt.language import tr
from zigpt.tokenizers.base import Tokenizer

_MOST_NAMED = 5


def unknown_characters(
    tokenizer: Tokenizer, text: str, positions: NDArray[np.intp], start: int
) -> VocabularyError:
    """Build the refusal of the characters of `text` at `positions`.

    `text` is part of a longer one and begins there at `start`.
    """
    first: dict[str, int] = {}
    for position in positions:
        first.setdefault(text[position], int(position))
    named = list(first.items())[:_MOST_NAMED]
    listed = ", ".join(
        tr("{character!r} (U+{code:04X}) at {place:,}", character=c, code=ord(c), place=start + at)
        for c, at in named
    )
    if unnamed := len(first) - len(named):
        listed += tr(" and {count} more", count=unnamed)
    fix = tr("leave them out, or set `unknown` to drop or replace")
    if near := [pair for _, place in named if (pair := _near_miss(tokenizer, text, place))]:
        pairs = ", ".join(f"{typed!r} -> {meant!r}" for typed, meant in near)
        fix += tr("; near misses: {pairs}", pairs=pairs)
    elif "\\" in first:
        fix += tr("; in a shell, a line break is typed $'\\n'")
    return VocabularyError(
        tr(
            "not in this model's {count} characters: {listed}",
            count=tokenizer.vocab_size,
            listed=listed,
        ),
        tr("the model never saw them in training, so they have no id"),
        fix,
    )


def _near_miss(tokenizer: Tokenizer, text: str, place: int) -> tuple[str, str] | None:
    """Find what differs only in composition, width, accents or case, and is in the vocabulary."""
    # "e" and an accent may be in it as "é"; a syllable of hangul has up to three parts.
    starts, ends = range(max(0, place - 2), place + 1), range(place + 1, place + 4)
    around = [text[start:end] for start in starts for end in ends]
    for typed in sorted(around, key=len, reverse=True):
        composed = unicodedata.normalize("NFC", typed)
        if len(composed) == 1 < len(typed) and composed in tokenizer:
            return typed, composed
    character = text[place]
    forms = [unicodedata.normalize(form, character) for form in ("NFC", "NFD", "NFKC", "NFKD")]
    forms += [character.swapcase()]
    meant = [form for form in forms if form and all(c in tokenizer for c in form)]
    meant += [form[0] for form in forms if form and form[0] in tokenizer]
    return (character, meant[0]) if meant else None
