"""The baseline ladder: what simpler models reach on the same text, to compare a loss with.

Its rungs go from knowing nothing (uniform) to knowing the last four characters (5-gram). A network
whose loss is below the 5-gram's has learned what counting the last four characters cannot tell.

All rungs are one idea, interpolated Kneser-Ney smoothing (Kneser & Ney 1995; Chen & Goodman 1998).
For a context h and the context h' that is one character shorter:

    p(c | h) = (max(count(hc) - d, 0) + d · kinds(h) · p(c | h')) / count(h)

Each of the kinds(h) different characters seen after h gives up a discount d, and the shorter
context shares out the total. There, a count is not how often a string occurred but in how many
ways: how many different characters came before it. "ancisco" is frequent, but it always follows the
same letter, so it says little about a new context.

This module knows nothing of the model.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt

from zigpt.language import tr

MAX_TRAIN = 4_000_000  # characters counted: the last ones, nearest to the validation split
MAX_SCORED = 1_000_000  # characters scored: the first ones
_LARGEST_TABLE = 8  # entries for each character, of the table in which n-grams are counted
RUNGS = {0: "uniform", 1: "unigram", 2: "bigram", 3: "trigram", 5: "5-gram"}


@dataclass(frozen=True)
class Rung:
    """One simple model and its validation loss, in nats per character."""

    name: str
    loss: float


@dataclass(frozen=True)
class Ladder:
    """The rungs from the simplest model to the one that knows most, from uniform to 5-gram.

    On a small text a model that knows more may have a higher loss: long contexts need much text.
    """

    rungs: tuple[Rung, ...]

    def loss_of(self, name: str) -> float:
        """Look up one rung's loss, in nats per character.

        Raises:
            KeyError: there is no rung of this name.
        """
        return {rung.name: rung.loss for rung in self.rungs}[name]

    def beaten(self, loss: float) -> Rung | None:
        """Find the best rung that `loss` is strictly below; None if it beats nothing.

        A rung counts as beaten only if all simpler ones are beaten, too. On a short text a rung may
        do worse than a simpler one, and then it is easily beaten.
        """
        beaten = itertools.takewhile(lambda rung: loss < rung.loss, self.rungs)
        return min(beaten, key=lambda rung: rung.loss, default=None)


def build_ladder(
    train: UInt[np.ndarray, " train"], validation: UInt[np.ndarray, " validation"], vocab_size: int
) -> Ladder:
    """Count on the train ids, score the validation ids: exact losses, in nats per character.

    The validation split follows the train split, whose last characters are the context of its
    first. Of huge texts only the last 4 million train characters are counted and only the first
    1 million validation characters are scored.

    Raises:
        ValueError: a split is empty, or an id is outside the vocabulary.
    """
    return Ladder(
        tuple(
            Rung(RUNGS[order], float(-np.log(probabilities).mean()))
            for order, probabilities in character_probabilities(train, validation, vocab_size)
            if order in RUNGS
        )
    )


def extent(n_train: int, n_validation: int) -> str:
    """Say which part of a huge text a ladder is built on; empty if it is the whole text."""
    if n_train <= MAX_TRAIN and n_validation <= MAX_SCORED:
        return ""
    return tr(
        "counted on the last {counted:,} train characters, "
        "scored on the first {scored:,} validation characters",
        counted=min(n_train, MAX_TRAIN),
        scored=min(n_validation, MAX_SCORED),
    )


def character_probabilities(
    train: UInt[np.ndarray, " train"], validation: UInt[np.ndarray, " validation"], vocab_size: int
) -> Iterator[tuple[int, Float[np.ndarray, " scored"]]]:
    """Yield each order, 0 (uniform) to 5, with the probability it gives to every scored character.

    Raises:
        ValueError: a split is empty, or an id is outside the vocabulary.
    """
    train, scored = train[-MAX_TRAIN:], validation[:MAX_SCORED]
    _refuse_impossible(train, scored, vocab_size)
    ids = np.concatenate([train, scored]).astype(np.int64)
    n_train = len(train)

    below = np.full(len(scored), 1 / vocab_size)
    yield 0, below
    shorter = None
    context = np.zeros_like(ids)  # order 1 sees nothing: one context for all
    for order in range(1, max(RUNGS) + 1):
        grams = _Grams.ending_everywhere(ids, context, vocab_size, n_train)
        if shorter is not None:
            # The shorter n-grams are counted by their ways, for which the longer ones are needed.
            below = shorter.probabilities(grams.debuts, below)
        yield order, grams.probabilities(np.arange(n_train), below)
        shorter = grams
        # The n-gram that ends here is the context of the next character. The first character has
        # a context of its own, so that it needs no special case.
        context = np.concatenate([[grams.gram.max() + 1], grams.gram[:-1]])


@dataclass(frozen=True)
class _Grams:
    """All n-grams of one order, numbered: the one at position i ends there.

    Train and scored ids are numbered together, but only n-grams that end before `n_train` count.
    """

    n_train: int
    context: Int[np.ndarray, " all"]  # number of the characters before i
    gram: Int[np.ndarray, " all"]  # number of those with character i
    debuts: Int[np.ndarray, " kinds"]  # train positions where an n-gram appears for the first time

    @classmethod
    def ending_everywhere(
        cls,
        ids: Int[np.ndarray, " all"],
        context: Int[np.ndarray, " all"],
        vocab_size: int,
        n_train: int,
    ) -> "_Grams":
        # Contexts are renumbered at each order, so keys stay below positions x V: 64 bits suffice.
        keys = context * vocab_size + ids
        size = int(keys.max()) + 1
        if size > _LARGEST_TABLE * len(keys):  # by sorting
            _, first, gram = np.unique(keys, return_index=True, return_inverse=True)
        else:  # five times faster
            table = np.full(size, -1)
            table[keys[::-1]] = np.arange(len(keys))[::-1]  # of equal keys the first one stays
            present = np.flatnonzero(table >= 0)
            first = table[present]
            table[present] = np.arange(len(present))
            gram = table[keys]
        return cls(n_train, context, gram, first[first < n_train])

    def probabilities(
        self, evidence: Int[np.ndarray, " evidence"], below: Float[np.ndarray, " scored"]
    ) -> Float[np.ndarray, " scored"]:
        """The module's formula: `evidence` are the positions counted, `below` is p(c | h').

        All train positions count how often; the debuts of the longer n-grams, in how many ways.
        """
        counts = np.bincount(self.gram[evidence], minlength=self.gram.max() + 1)
        discount = _discount(counts)
        count = counts[self.gram[self.n_train :]]
        total = self._per_scored_context(evidence)
        kinds = self._per_scored_context(self.debuts)
        numerator = np.maximum(count - discount, 0) + discount * kinds * below
        # A context that the train split lacks leaves it all to the shorter one.
        result: np.ndarray = np.divide(numerator, total, out=below.copy(), where=total > 0)
        return result

    def _per_scored_context(
        self, positions: Int[np.ndarray, " positions"]
    ) -> Int[np.ndarray, " scored"]:
        per_context = np.bincount(self.context[positions], minlength=self.context.max() + 1)
        result: np.ndarray = per_context[self.context[self.n_train :]]
        return result


def _discount(counts: Int[np.ndarray, " kinds"]) -> float:
    """d = n₁ / (n₁ + 2 n₂), from how many n-grams were counted once and twice (Ney et al. 1994).

    Each of the two numbers is increased by 1, which keeps d strictly between 0 and 1 even on the
    smallest texts, and so every character of the vocabulary possible.
    """
    once, twice = (1 + int(np.count_nonzero(counts == times)) for times in (1, 2))
    return once / (once + 2 * twice)


def _refuse_impossible(
    train: UInt[np.ndarray, " train"], scored: UInt[np.ndarray, " scored"], vocab_size: int
) -> None:
    if len(train) == 0 or len(scored) == 0:
        raise ValueError(
            f"expected at least 1 character in each split, got {len(train)} train and "
            f"{len(scored)} validation characters: use a longer text"
        )
    highest = max(int(train.max()), int(scored.max()))
    if highest >= vocab_size:
        raise ValueError(
            f"expected ids below {vocab_size}, got {highest}: use one vocabulary for both splits"
        )
