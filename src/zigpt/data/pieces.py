"""What other vocabularies would cost on the same text: byte-pair merges, counted not assumed.

Gage 1994; arXiv:1508.07909. Only for comparison: zigpt's models read and write characters.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from zigpt.tokenizers.char import CharTokenizer

MOST_CHARACTERS = 100_000  # of the text; more would only make the counts slower


@dataclass(frozen=True)
class Subwords:
    """A vocabulary of pieces, and how many characters one of them covers on average."""

    vocab_size: int
    chars_per_piece: float


def merge_pairs(text: str, merges: int) -> Iterator[Subwords]:
    """Join the most frequent neighbours into a new piece, `merges` times, yielding every stage.

    Starts with the characters themselves, stops early when no pair stands twice, and looks at no
    more than the first 100,000 characters. Ties go to the pair with the smaller ids.
    """
    tokenizer = CharTokenizer.from_text(text[:MOST_CHARACTERS])
    ids = tokenizer.encode(text[:MOST_CHARACTERS]).astype(np.int64)
    n_characters, vocab_size = len(ids), tokenizer.vocab_size
    yield Subwords(vocab_size, 1.0)
    for _ in range(merges):
        pairs = ids[:-1] << 32 | ids[1:]
        kinds, counts = np.unique(pairs, return_counts=True)
        if not len(counts) or counts.max() < 2:
            return
        joined = np.flatnonzero(pairs == kinds[counts.argmax()])
        joined = joined[_not_overlapping(joined)]
        ids[joined] = vocab_size
        ids = np.delete(ids, joined + 1)
        vocab_size += 1
        yield Subwords(vocab_size, n_characters / len(ids))


def _not_overlapping(starts: np.ndarray) -> np.ndarray:
    """Keep every other one of each run of neighbours, from the left: "aaa" has one "aa"."""
    first_of_run = np.flatnonzero(np.diff(starts, prepend=-2) != 1)
    run_start = np.repeat(starts[first_of_run], np.diff(first_of_run, append=len(starts)))
    return (starts - run_start) % 2 == 0
