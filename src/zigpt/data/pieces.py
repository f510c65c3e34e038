"""What a vocabulary of subwords would look like on the same text: byte-pair merges.

Gage 1994; arXiv:1508.07909. For comparison only: zigpt's models read and write characters.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from zigpt.tokenizers.char import CharTokenizer

MOST_CHARACTERS = 100_000  # of the text: more would take longer and change little


@dataclass(frozen=True)
class Pieces:
    """A vocabulary of pieces, and how many characters a piece covers on average."""

    vocab_size: int
    chars_per_piece: float


def merge_pairs(text: str, merges: int) -> Iterator[Pieces]:
    """Merge the most frequent pair of neighbours, `merges` times, and yield every stage.

    The first stage is the characters themselves. Merging ends early when no pair occurs twice; ties
    go to the pair with the smaller ids. Only the first 100,000 characters are used.
    """
    tokenizer = CharTokenizer.from_text(text[:MOST_CHARACTERS])
    ids = tokenizer.encode(text[:MOST_CHARACTERS]).astype(np.int64)
    n_characters, vocab_size = len(ids), tokenizer.vocab_size
    yield Pieces(vocab_size, 1.0)
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
        yield Pieces(vocab_size, n_characters / len(ids))


def _not_overlapping(starts: np.ndarray) -> np.ndarray:
    """Keep every other start of a run of neighbours, from the left: "aaa" has one "aa"."""
    first_of_run = np.flatnonzero(np.diff(starts, prepend=-2) != 1)
    run_start = np.repeat(starts[first_of_run], np.diff(first_of_run, append=len(starts)))
    return (starts - run_start) % 2 == 0
