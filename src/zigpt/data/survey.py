"""What to know about a text before training: its characters and its repeated passages.

Two things spoil a loss before the first step. Characters that do not occur in the train split
cannot be learned. Passages of the validation split that also occur in the train split can be
memorised, and then the validation loss flatters the model (measured on web text in
arXiv:2107.06499).

This module knows nothing of vocabularies or models.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt

from zigpt.data.stored import Text
from zigpt.language import tr

SPAN = 64  # characters: two texts rarely share so many in a row by chance
MAX_COUNTED = 1 << 26  # characters: of a longer text, only the examined ones are counted
MAX_EXAMINED = 8_000_000  # characters searched for repeated passages
EXCERPTS = 64  # of a longer text, searched instead of the whole
PIECE = 4_000_000  # characters counted at once, to limit memory

# Outside these limits a warning would be noise.
WORTH_OVERLAP = 0.01
WORTH_REPEATED = 0.05
WORTH_SINGLETONS = 0.10
WORTH_SHIFT = 0.25  # prose and code 0.6, two languages 1 or more, chapters of a book 0.01
_COMMON = 100  # characters
SHORT = 100_000
FEW = 5  # characters of text for each distinct one


@dataclass(frozen=True)
class Survey:
    """What was found in a text; shares are from 0 to 1.

    `repeated` and `overlap` are based on `examined` characters. If these are not all, both are
    lower bounds, because the other copy may be in a part that was left out. In a text longer than
    MAX_COUNTED, lines and single characters are also counted in the examined part only.
    """

    characters: int
    lines: int
    distinct: int
    rarest: tuple[tuple[str, int], ...]  # up to 10 (character, count), the rarest first
    singletons: int  # characters that occur only once
    unseen_in_train: tuple[str, ...]  # characters in the validation split only
    repeated: float  # share of the text in spans of at least SPAN that occurred before
    overlap: float  # share of the validation split in such spans that the train split contains
    shift: float  # nats: how far the validation split's characters are from the train split's
    examined: int

    @property
    def is_counted(self) -> bool:
        """Whether lines and single characters were counted in the whole text."""
        return self.characters <= MAX_COUNTED


def survey(text: Text, n_train: int) -> Survey:
    """Examine a text whose first `n_train` characters are the train split.

    Raises:
        ValueError: n_train is outside the text.
    """
    if not 0 <= n_train <= len(text):
        raise ValueError(
            f"expected n_train from 0 to {len(text)}, got {n_train}: split inside the text"
        )
    part, n_train_part = _excerpts(text, n_train)
    count_all = len(text) <= MAX_COUNTED
    counted, n_train_counted = (text, n_train) if count_all else (part, n_train_part)
    train = _counts(counted, 0, n_train_counted)
    validation = _counts(counted, n_train_counted, len(counted))
    counts = train + validation
    present = np.flatnonzero(counts)
    # A stable sort leaves equal counts in code point order.
    rarest = present[np.argsort(counts[present], kind="stable")[:10]]
    repeated, overlap = _repeated_shares(part, n_train_part)
    return Survey(
        characters=len(text),
        lines=int(counts[ord("\n")]) + (counted[-1:] not in ("", "\n")),
        distinct=len(present),
        rarest=tuple((chr(code), int(counts[code])) for code in rarest),
        singletons=int(np.count_nonzero(counts == 1)),
        unseen_in_train=tuple(
            chr(code) for code in np.flatnonzero((train == 0) & (validation > 0))
        ),
        repeated=repeated,
        overlap=overlap,
        shift=_shift(train, validation),
        examined=len(part),
    )


def advice(seen: Survey) -> tuple[str, ...]:
    """Say in one line each what is worth knowing before training; often nothing."""
    return tuple(_about_the_characters(seen)) + tuple(_about_the_passages(seen))


def _about_the_characters(seen: Survey) -> Iterator[str]:
    if seen.distinct == 1:
        yield tr("the text repeats a single character: there is nothing to predict")
    if seen.characters < SHORT:
        yield tr(
            "the text has only {count:,} characters: the model will soon memorise it, so "
            "go by the best validation loss, not the last",
            count=seen.characters,
        )
    if seen.distinct > 1 and seen.characters < FEW * seen.distinct:
        yield tr(
            "the {distinct:,} distinct characters occur fewer than {few} times each on "
            "average: expect a loss near that of the unigram, which only counts characters",
            distinct=seen.distinct,
            few=FEW,
        )
    if seen.shift >= WORTH_SHIFT:
        yield tr(
            "the validation split is another kind of text than the train split, so its loss says "
            "little; `validation` spread takes it from everywhere"
        )
    if not seen.is_counted:
        yield tr(
            "only {examined:,} of {count:,} characters were counted: there may be "
            "others that are rare or missing from the train split",
            examined=seen.examined,
            count=seen.characters,
        )
        return
    if seen.unseen_in_train:
        yield tr(
            "characters in the validation split only: {count:,}; "
            "what the train split lacks cannot be learned",
            count=len(seen.unseen_in_train),
        )
    if seen.singletons >= max(2, WORTH_SINGLETONS * seen.distinct):
        yield tr(
            "{count:,} of the {distinct:,} distinct characters occur only once: too rare to learn",
            count=seen.singletons,
            distinct=seen.distinct,
        )


def _about_the_passages(seen: Survey) -> Iterator[str]:
    least = ""
    if seen.examined < seen.characters:
        least = tr("at least ")
        yield tr(
            "only {examined:,} of {count:,} characters were searched for repeated "
            "passages: a copy far from the original may be missed",
            examined=seen.examined,
            count=seen.characters,
        )
    if seen.overlap >= WORTH_OVERLAP:
        yield tr(
            "{least}{share:.0%} of the validation split also occurs in the train split: the "
            "validation loss will flatter the model",
            least=least,
            share=seen.overlap,
        )
    if seen.repeated >= WORTH_REPEATED:
        yield tr(
            "{least}{share:.0%} of the text repeats an earlier passage word for word: the model "
            "will memorise these passages",
            least=least,
            share=seen.repeated,
        )


def _codes(text: str) -> UInt[np.ndarray, " characters"]:
    # A str may contain half a surrogate pair, which counts like any other code point.
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _shift(train: Int[np.ndarray, " codes"], validation: Int[np.ndarray, " codes"]) -> float:
    """Relative entropy of the frequencies of the commonest characters, and of all others."""
    present = np.flatnonzero(train + validation)
    common = present[np.argsort(-(train + validation)[present], kind="stable")[:_COMMON]]
    shares = []
    for counts in (validation, train):
        few = np.append(counts[common], counts.sum() - counts[common].sum()) + 1
        shares.append(few / few.sum())
    here, there = shares
    by_chance = len(common) / 2 / max(1, validation.sum())  # in a sample of the same text
    return float((here * np.log(here / there)).sum() - by_chance)


def _counts(text: Text, start: int, stop: int) -> Int[np.ndarray, " codes"]:
    counts = np.zeros(sys.maxunicode + 1, dtype=np.int64)
    for first in range(start, stop, PIECE):
        piece = text[first : min(first + PIECE, stop)]
        counts += np.bincount(_codes(piece), minlength=len(counts))
    return counts


def _excerpts(text: Text, n_train: int) -> tuple[str, int]:
    """Take evenly spread excerpts, both ends included, and count their train characters."""
    if len(text) <= MAX_EXAMINED:
        return text[:], n_train
    size = MAX_EXAMINED // EXCERPTS
    starts = [k * (len(text) - size) // (EXCERPTS - 1) for k in range(EXCERPTS)]
    part = "".join(text[start : start + size] for start in starts)
    return part, sum(min(max(n_train - start, 0), size) for start in starts)


def _repeated_shares(text: str, n_train: int) -> tuple[float, float]:
    """Measure `repeated` and `overlap` exactly."""
    if len(text) < SPAN:
        return 0.0, 0.0
    first = _first_places(_fingerprints(text))
    starts = np.arange(len(first), dtype=np.int32)
    repeated = starts[first < starts]
    # Each copy lies entirely in its split: a span across the border counts for neither.
    overlap = starts[(starts >= n_train) & (first <= n_train - SPAN)]
    return _share(repeated, len(text)), _share(overlap - n_train, len(text) - n_train)


def _first_places(hashes: UInt[np.ndarray, " spans"]) -> Int[np.ndarray, " spans"]:
    """Say where the span at each position occurred for the first time."""
    # Stable: of equal spans the first comes first. np.unique would take twice the memory.
    order = np.argsort(hashes, kind="stable").astype(np.int32)
    hashes = hashes[order]
    is_new = np.append(True, hashes[1:] != hashes[:-1])
    newest = np.maximum.accumulate(np.where(is_new, np.arange(len(order), dtype=np.int32), 0))
    first = np.empty_like(order)
    first[order] = order[newest]
    return first


def _fingerprints(text: str) -> UInt[np.ndarray, " spans"]:
    """Hash the SPAN characters from each position on: hash(2w) mixes two hashes of width w.

    With 64 bits, two of 8 million different spans collide in about 2 texts of a million.
    """
    odd = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio spreads the bits (Knuth 6.4)
    hashes = _codes(text).astype(np.uint64)
    width = 1
    while width < SPAN:
        wider = hashes[:-width] * odd
        wider += hashes[width:]
        hashes = wider
        hashes ^= hashes >> np.uint64(29)
        hashes *= odd
        width *= 2
    return hashes


def _share(starts: Int[np.ndarray, " spans"], length: int) -> float:
    """Share of `length` characters in at least one of the spans."""
    if len(starts) == 0:
        return 0.0
    # +1 where a span starts, -1 after its end: the running sum counts the spans at a character.
    edges = np.zeros(length + 1, dtype=np.int64)
    edges[starts] += 1
    edges[starts + SPAN] -= 1
    return float(np.mean(np.cumsum(edges[:-1]) > 0))
