"""Copied or invented: the passages of a text that occur word for word in the training text."""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True)
class Passage:
    """`length` characters from `start` that also occur in the training text, at `source`."""

    start: int
    length: int
    source: int


class TrainingText:
    """A text with a suffix array, in which passages are found quickly.

    Building it takes about a second per million characters, or two if the text repeats itself;
    500 characters are then looked up in 10 ms. It takes 8 bytes per character, 50 while building.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._order = _suffix_order(text)

    def longest_match(self, piece: str) -> tuple[int, int]:
        """Find the longest beginning of `piece` that occurs in the text: its length, and where."""
        rank = bisect_left(self._order, piece, key=lambda at: self.text[at : at + len(piece)])
        found = [
            (_common_prefix(piece, self.text[at : at + len(piece)]), int(at))
            for at in self._order[max(0, rank - 1) : rank + 1]
        ]
        return max(found, default=(0, 0))

    def passages(self, sample: str, shortest: int = 1) -> list[Passage]:
        """Find all passages of at least `shortest` characters that no other one contains."""
        found: list[Passage] = []
        end = 0
        for start in range(len(sample)):
            length, source = self.longest_match(sample[start:])
            if start + length > end:
                end = start + length
                found.append(Passage(start, length, source))
        return [passage for passage in found if passage.length >= shortest]

    def shortest_copy(self, unseen: str, chance: float = 0.01) -> int:
        """Measure from what length a passage counts as copied and not as a coincidence.

        Text that the model has never seen, such as the validation split, shares words and phrases
        with the training text too. At most a fraction `chance` of its characters lie in passages
        of that length or longer.
        """
        longest = np.zeros(len(unseen), np.int64)  # passage that covers each character
        for passage in self.passages(unseen):
            covered = longest[passage.start : passage.start + passage.length]
            np.maximum(covered, passage.length, out=covered)
        if not unseen:
            return 1
        return 1 + int(np.quantile(longest, 1 - chance, method="inverted_cdf"))


def _common_prefix(a: str, b: str) -> int:
    """Count the characters that both begin with."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((n for n, (one, other) in pairs if one != other), min(len(a), len(b)))


def _suffix_order(text: str) -> Int[np.ndarray, " N"]:
    """Sort all positions by the text from there on, by prefix doubling (Manber and Myers 1993).

    Once positions are ranked by their next n characters, the pair of the ranks at a position and n
    characters later ranks it by its next 2 n.
    """
    rank = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.int64) + 1
    order, n = np.arange(len(rank)), 1
    while True:
        later = np.zeros_like(rank)
        later[:-n] = rank[n:]
        pair = rank * (rank.max(initial=0) + 1) + later
        order = pair.argsort(kind="stable")
        is_new = np.diff(pair[order], prepend=-1) != 0
        rank[order] = is_new.cumsum()
        if is_new.all():
            return order
        n *= 2
