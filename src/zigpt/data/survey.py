"""What a text looks like before anyone trains on it: its characters, and what it says twice.

Two things spoil a loss before the first step. Characters that the train part does not have cannot
be learned. Passages of the test part that also stand in the train part can be learned by heart,
and the test loss flatters the model (arXiv:2107.06499 measures this on web text).

This module takes a text and knows nothing of vocabularies or models.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt

from zigpt.data.stored import Text

SPAN = 64  # characters: two texts rarely agree on so many in a row by accident
MAX_COUNTED = 1 << 26  # characters: in a longer text, only those searched for repeats are counted
MAX_EXAMINED = 8_000_000  # characters searched for repeats
EXCERPTS = 64  # pieces of a longer text that are searched instead of the whole
PIECE = 4_000_000  # characters counted at once, to bound the memory

# Below these shares and lengths a warning would be noise.
WORTH_OVERLAP = 0.01
WORTH_REPEATED = 0.05
WORTH_SINGLETONS = 0.10
SHORT = 100_000


@dataclass(frozen=True)
class Survey:
    """What was found; shares are from 0 to 1.

    `repeated` and `overlap` were searched in `examined` characters. Where these are fewer than
    `characters`, both are lower bounds: the other copy may stand in what was left out. Of a text
    longer than MAX_COUNTED, lines and single characters, too, are those of the examined ones.
    """

    characters: int
    lines: int
    distinct: int
    rarest: tuple[tuple[str, int], ...]  # up to 10 (character, count), the rarest first
    singletons: int  # characters that occur only once
    unseen_in_train: tuple[str, ...]  # characters of the test part that the train part lacks
    repeated: float  # of the text: stands in a span of SPAN or more that occurred before
    overlap: float  # of the test part: stands in such a span that the train part has, too
    examined: int

    @property
    def is_counted(self) -> bool:
        """Whether lines and single characters are those of the whole text."""
        return self.characters <= MAX_COUNTED


def survey(text: Text, n_train: int) -> Survey:
    """Look at a text whose first `n_train` characters are the train part, the others the test part.

    Raises:
        ValueError: n_train lies outside the text.
    """
    if not 0 <= n_train <= len(text):
        raise ValueError(
            f"expected n_train from 0 to {len(text)}, got {n_train}: split inside the text"
        )
    part, n_train_part = _excerpts(text, n_train)
    all_of_it = len(text) <= MAX_COUNTED
    counted, n_train_counted = (text, n_train) if all_of_it else (part, n_train_part)
    train = _counts(counted, 0, n_train_counted)
    test = _counts(counted, n_train_counted, len(counted))
    counts = train + test
    present = np.flatnonzero(counts)
    # A stable sort leaves equal counts in the order of their code points.
    rarest = present[np.argsort(counts[present], kind="stable")[:10]]
    repeated, overlap = _found_again(part, n_train_part)
    return Survey(
        characters=len(text),
        lines=int(counts[ord("\n")]) + (counted[-1:] not in ("", "\n")),
        distinct=len(present),
        rarest=tuple((chr(code), int(counts[code])) for code in rarest),
        singletons=int(np.count_nonzero(counts == 1)),
        unseen_in_train=tuple(chr(code) for code in np.flatnonzero((train == 0) & (test > 0))),
        repeated=repeated,
        overlap=overlap,
        examined=len(part),
    )


def advice(seen: Survey) -> tuple[str, ...]:
    """Say in one line each what a person should know before training; often nothing."""
    return tuple(_about_the_characters(seen)) + tuple(_about_the_passages(seen))


def _about_the_characters(seen: Survey) -> Iterator[str]:
    if seen.distinct == 1:
        yield "the text is one character over and over: there is nothing to predict"
    if seen.characters < SHORT:
        yield (
            f"the text has only {_number(seen.characters)}: the model will soon know it by heart, "
            "so trust the best test loss and not the last"
        )
    if not seen.is_counted:
        yield (
            f"only {seen.examined:,} of {_number(seen.characters)} were counted: which of them are "
            "rare or in the test part only is not known"
        )
        return
    if seen.unseen_in_train:
        yield (
            f"{_number(len(seen.unseen_in_train))} in the test part only: "
            "what the training part lacks cannot be learned"
        )
    if seen.singletons >= max(2, WORTH_SINGLETONS * seen.distinct):
        yield (
            f"{seen.singletons:,} of the {seen.distinct:,} distinct characters occur only once: "
            "too rare to learn"
        )


def _about_the_passages(seen: Survey) -> Iterator[str]:
    least = ""
    if seen.examined < seen.characters:
        least = "at least "
        yield (
            f"only {seen.examined:,} of {_number(seen.characters)} were searched for repeated "
            "passages: a copy far from the original can be missed"
        )
    if seen.overlap >= WORTH_OVERLAP:
        yield (
            f"{least}{100 * seen.overlap:.0f} % of the test text also stands in the training "
            "text: the test loss will flatter the model"
        )
    if seen.repeated >= WORTH_REPEATED:
        yield (
            f"{least}{100 * seen.repeated:.0f} % of the text repeats an earlier passage word for "
            "word: the model will learn these passages by heart"
        )


def _number(characters: int) -> str:
    return f"{characters:,} character{'' if characters == 1 else 's'}"


def _codes(text: str) -> UInt[np.ndarray, " characters"]:
    # A str may hold half a surrogate pair; it is looked at like any other code point.
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _counts(text: Text, start: int, stop: int) -> Int[np.ndarray, " codes"]:
    counts = np.zeros(sys.maxunicode + 1, dtype=np.int64)
    for first in range(start, stop, PIECE):
        piece = text[first : min(first + PIECE, stop)]
        counts += np.bincount(_codes(piece), minlength=len(counts))
    return counts


def _excerpts(text: Text, n_train: int) -> tuple[str, int]:
    """Take what is searched, from the first character to the last, and its number for training."""
    if len(text) <= MAX_EXAMINED:
        return text[:], n_train
    size = MAX_EXAMINED // EXCERPTS
    starts = [k * (len(text) - size) // (EXCERPTS - 1) for k in range(EXCERPTS)]
    part = "".join(text[start : start + size] for start in starts)
    return part, sum(min(max(n_train - start, 0), size) for start in starts)


def _found_again(text: str, n_train: int) -> tuple[float, float]:
    """Measure `repeated` and `overlap` exactly."""
    if len(text) < SPAN:
        return 0.0, 0.0
    _, debuts, kinds = np.unique(_fingerprints(text), return_index=True, return_inverse=True)
    first = debuts[kinds]  # for the span at each position: where it occurred for the first time
    starts = np.arange(len(first))
    repeated = starts[first < starts]
    # Both copies lie wholly in their part: a span across the border belongs to neither.
    overlap = starts[(starts >= n_train) & (first <= n_train - SPAN)]
    return _share(repeated, len(text)), _share(overlap - n_train, len(text) - n_train)


def _fingerprints(text: str) -> UInt[np.ndarray, " spans"]:
    """Hash the SPAN characters from each position on: hash(2w) mixes two hashes of width w.

    In 64 bits, 8 million spans have a collision anywhere in 2 of a million texts.
    """
    odd = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, spreads the bits (Knuth 6.4)
    hashes = _codes(text).astype(np.uint64)
    width = 1
    while width < SPAN:
        hashes = hashes[:-width] * odd + hashes[width:]
        hashes ^= hashes >> np.uint64(29)
        hashes *= odd
        width *= 2
    return hashes


def _share(starts: Int[np.ndarray, " spans"], length: int) -> float:
    """Share of `length` characters that lie in at least one of the spans."""
    if len(starts) == 0:
        return 0.0
    # +1 where a span begins, -1 behind its end: the running sum is how many lie over a character.
    edges = np.zeros(length + 1, dtype=np.int64)
    edges[starts] += 1
    edges[starts + SPAN] -= 1
    return float(np.mean(np.cumsum(edges[:-1]) > 0))
