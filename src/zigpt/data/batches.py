"""Ids -> train and validation split -> batches, as a pure function of (seed, step).

Nothing here remembers earlier draws, so a resumed run sees the same batches as an uninterrupted
one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zigpt.data.stored import StoredText, Text, encode
from zigpt.errors import TextError
from zigpt.gpt.config import WindowOrder
from zigpt.language import mark, tr
from zigpt.tokenizers.base import Ids, Tokenizer
from zigpt.tokenizers.char import CharTokenizer

Split = Literal["train", "validation"]
_PIECE = 1 << 22  # characters counted at once, to limit memory
_ROUNDS = 6
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: mixes low bits into high
Windows = tuple[NDArray[np.int64], NDArray[np.int64]]  # inputs and targets, each (B, T)


@dataclass(frozen=True)
class Corpus:
    """One text as ids: the first part to train on, the rest held out for validation.

    The validation loss chooses the best step and can end a training run early.
    """

    tokenizer: Tokenizer
    train: Ids
    validation: Ids

    @classmethod
    def from_text(
        cls, text: Text, tokenizer: Tokenizer | None = None, n_train: int | None = None
    ) -> "Corpus":
        """Encode a text and split it after `n_train` characters, by default nine tenths.

        By default its own characters are the vocabulary.

        Raises:
            TextError: there are fewer than two distinct characters.
            VocabularyError: a character is not in the vocabulary of `tokenizer`.
            StorageError: there is no room for the ids of a large text.
        """
        if tokenizer is None:
            if isinstance(text, StoredText):
                tokenizer = text.tokenizer
            else:
                tokenizer = CharTokenizer.from_text(text or " ")
        if tokenizer.vocab_size < 2:
            raise TextError(
                tr("the text has fewer than two distinct characters"),
                tr("there is nothing to predict"),
                tr("give a file with running text"),
            )
        ids = encode(text, tokenizer)
        n_train = train_length(len(ids)) if n_train is None else n_train
        return cls(tokenizer, ids[:n_train], ids[n_train:])

    @property
    def length(self) -> int:
        """Number of characters in both splits."""
        return len(self.train) + len(self.validation)

    @property
    def largest_block_size(self) -> int:
        """The longest window, in characters, for which both splits have inputs and targets."""
        return min(len(self.train), len(self.validation)) - 1

    def frequencies(self) -> NDArray[np.float64]:
        """Share of each character in the train split, as if each had occurred once more."""
        counts = np.ones(self.tokenizer.vocab_size, np.int64)
        for start in range(0, len(self.train), _PIECE):
            piece = self.train[start : start + _PIECE]
            counts += np.bincount(piece, minlength=len(counts))
        return counts / counts.sum()

    def require(self, block_size: int) -> None:
        """Check that both splits have at least one whole window.

        Raises:
            TextError: naming the largest possible block size.
        """
        if block_size > self.largest_block_size:
            largest = self.largest_block_size
            fix = mark("give a text of at least {least} characters")
            if largest > 0:
                fix = mark(
                    "use a `block_size` of {largest} or less, or a text of at least {least} "
                    "characters"
                )
            raise TextError(
                tr(
                    "{count} characters are too few for block size {block}",
                    count=self.length,
                    block=block_size,
                ),
                tr(
                    "a block must fit into the held-out last tenth: the largest is {largest}",
                    largest=largest,
                ),
                tr(fix, largest=largest, least=10 * block_size + 1),
            )

    def batch(
        self, step: int, batch_size: int, block_size: int, seed: int, order: WindowOrder = "random"
    ) -> Windows:
        """Choose the windows of one step in the train split: inputs, and targets one position on.

        In random order each may start anywhere, whatever was drawn before. Shuffled, each pass over
        the split cuts it into windows side by side, from a random offset, and takes each one once.
        """
        if order == "random":
            starts = _random(seed, step).integers(len(self.train) - block_size, size=batch_size)
            return _cut(self.train, starts, block_size)
        n_windows = max(1, len(self.train) // block_size - 1)
        room = min(block_size, len(self.train) - n_windows * block_size)  # for the offset
        numbers = step * batch_size + np.arange(batch_size)  # of all windows since step 0
        starts = np.empty_like(numbers)
        for number in np.unique(numbers // n_windows):
            is_in_pass = numbers // n_windows == number
            random = _random(seed, int(number))
            offset = random.integers(room)
            places = _shuffle(numbers[is_in_pass] % n_windows, n_windows, random)
            starts[is_in_pass] = offset + block_size * places
        return _cut(self.train, starts, block_size)

    def windows(
        self, split: Split, block_size: int, batch_size: int, max_windows: int | None = None
    ) -> Iterator[Windows]:
        """Walk a split from end to end in windows that do not overlap.

        Every character but the first is a target exactly once. A shorter last window comes in a
        batch of its own. `max_windows` limits their number; those taken are then evenly spread.
        """
        ids = self.train if split == "train" else self.validation
        n_whole, rest = divmod(max(0, len(ids) - 1), block_size)
        starts = np.arange(n_whole) * block_size
        if max_windows is not None and max_windows < n_whole + bool(rest):
            starts, rest = starts[np.linspace(0, n_whole - 1, max_windows).astype(int)], 0
        for first in range(0, len(starts), batch_size):
            yield _cut(ids, starts[first : first + batch_size], block_size)
        if rest:
            yield _cut(ids, np.array([n_whole * block_size]), rest)


def train_length(length: int) -> int:
    """Number of characters in the train split of a text."""
    return length * 9 // 10


def _random(seed: int, number: int) -> np.random.Generator:
    """Seed a counter-based generator, which is cheap: Philox (Salmon et al. 2011)."""
    return np.random.Generator(np.random.Philox(key=[seed, number]))


def _shuffle(
    places: NDArray[np.int64], count: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Permute 0 ... count - 1 at random, and say where each of `places` goes.

    Of a long text the whole permutation would not fit into memory. So a Feistel network permutes
    the next power of four, and a place that leaves the range is moved again until it is back inside
    (Black & Rogaway 2002).
    """
    bits = max(1, ((count - 1).bit_length() + 1) // 2)
    keys = random.integers(1 << 32, size=_ROUNDS, dtype=np.uint64)
    moved = places.astype(np.uint64)
    is_outside = np.ones(len(moved), bool)
    while is_outside.any():
        left, right = moved[is_outside] >> bits, moved[is_outside] & ((1 << bits) - 1)
        for key in keys:
            mixed = ((right ^ key) * _MULTIPLIER) >> (64 - bits)
            left, right = right, left ^ mixed
        moved[is_outside] = left << bits | right
        is_outside = moved >= count
    return moved.astype(np.int64)


def _cut(ids: Ids, starts: NDArray[np.int64], length: int) -> Windows:
    windows = ids[starts[:, None] + np.arange(length + 1)].astype(np.int64)
    return windows[:, :-1], windows[:, 1:]
