"""The ladder: what simpler models reach on this very text, so that a loss can be read.

From knowing nothing (uniform) to knowing the last four characters (5-gram). A network that
passes the 5-gram has found what counting the last four characters cannot find.

All rungs are one idea, interpolated Kneser-Ney smoothing (Kneser & Ney 1995; Chen & Goodman 1998).
For a context h and its shorter form h', one character less:

    p(c | h) = (max(count(hc) - d, 0) + d · kinds(h) · p(c | h')) / count(h)

Each of the kinds(h) different characters seen after h gives a discount d away, and the shorter
context shares out what was collected. There, a count is not how often something stood in the text
but in how many ways: the number of different characters in front of it. "ancisco" is frequent, yet
it always follows the same letter, so it says little about any new context.

This module knows counts and nothing of the model.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt

MAX_TRAIN = 4_000_000  # characters counted: the last ones, which stand nearest to the test text
MAX_TEST = 1_000_000  # characters scored: the first ones
RUNGS = {0: "uniform", 1: "unigram", 2: "bigram", 3: "trigram", 5: "5-gram"}


@dataclass(frozen=True)
class Rung:
    """One simple model and its loss on the test text, in nats per character."""

    name: str
    loss: float


@dataclass(frozen=True)
class Ladder:
    """The rungs in the order of what they know, from uniform to 5-gram.

    On small texts a rung that knows more may lie higher: long contexts need much text.
    """

    rungs: tuple[Rung, ...]

    def loss_of(self, name: str) -> float:
        """Look up one rung's loss, in nats per character.

        Raises:
            KeyError: there is no rung of this name.
        """
        return {rung.name: rung.loss for rung in self.rungs}[name]

    def beaten(self, loss: float) -> Rung | None:
        """Name the best rung that `loss` is strictly below; None where it beats nothing.

        A rung that does worse than a simpler one, as on a short text, is no achievement to beat:
        only those are counted before which all simpler ones are beaten too.
        """
        beaten = itertools.takewhile(lambda rung: loss < rung.loss, self.rungs)
        return min(beaten, key=lambda rung: rung.loss, default=None)


def build_ladder(
    train: UInt[np.ndarray, " train"], test: UInt[np.ndarray, " test"], vocab_size: int
) -> Ladder:
    """Count on the train ids, score the test ids: exact losses, in nats per character.

    The test text is taken to follow the train text: its first characters see the train text's
    last ones. Of huge texts only the last 4 million train characters are counted and only the
    first 1 million test characters scored.

    Raises:
        ValueError: a part is empty, or an id lies outside the vocabulary.
    """
    return Ladder(
        tuple(
            Rung(RUNGS[order], float(-np.log(probabilities).mean()))
            for order, probabilities in character_probabilities(train, test, vocab_size)
            if order in RUNGS
        )
    )


def extent(n_train: int, n_test: int) -> str:
    """Say how much of huge texts a ladder is built on; nothing where it is built on all."""
    if n_train <= MAX_TRAIN and n_test <= MAX_TEST:
        return ""
    return (
        f"counted on the last {min(n_train, MAX_TRAIN):,} characters to learn from, "
        f"scored on the first {min(n_test, MAX_TEST):,} to be tested on"
    )


def character_probabilities(
    train: UInt[np.ndarray, " train"], test: UInt[np.ndarray, " test"], vocab_size: int
) -> Iterator[tuple[int, Float[np.ndarray, " scored"]]]:
    """Yield each order, 0 (uniform) to 5, with the probability it gives to every test character.

    Raises:
        ValueError: a part is empty, or an id lies outside the vocabulary.
    """
    train, test = train[-MAX_TRAIN:], test[:MAX_TEST]
    _refuse_impossible(train, test, vocab_size)
    ids = np.concatenate([train, test]).astype(np.int64)
    n_train = len(train)

    below = np.full(len(test), 1 / vocab_size)
    yield 0, below
    shorter = None
    context = np.zeros_like(ids)  # order 1 looks at nothing: one context for all
    for order in range(1, max(RUNGS) + 1):
        grams = _Grams.ending_everywhere(ids, context, vocab_size, n_train)
        if shorter is not None:
            # Only now that the longer n-grams are known can the shorter ones stand below them.
            below = shorter.probabilities(grams.debuts, below)
        yield order, grams.probabilities(np.arange(n_train), below)
        shorter = grams
        # The n-gram that ends here is the context of the next character. Before the text there
        # is a context of its own, so that no position needs a special case.
        context = np.concatenate([[grams.gram.max() + 1], grams.gram[:-1]])


@dataclass(frozen=True)
class _Grams:
    """All n-grams of one order: position i holds the one that ends there, as small whole numbers.

    Train and test text are numbered together; counted is only what ends before `n_train`.
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
        # Contexts are renumbered at each order, so a key stays below positions x V: 64 bits do.
        _, first, gram = np.unique(
            context * vocab_size + ids, return_index=True, return_inverse=True
        )
        return cls(n_train, context, gram, first[first < n_train])

    def probabilities(
        self, evidence: Int[np.ndarray, " evidence"], below: Float[np.ndarray, " test"]
    ) -> Float[np.ndarray, " test"]:
        """The formula of the module: `evidence` are the positions that count, `below` is p(c | h').

        All train positions count how often, the debuts of the longer n-grams in how many ways.
        """
        counts = np.bincount(self.gram[evidence], minlength=self.gram.max() + 1)
        discount = _discount(counts)
        count = counts[self.gram[self.n_train :]]
        total = self._per_test_context(evidence)
        kinds = self._per_test_context(self.debuts)
        numerator = np.maximum(count - discount, 0) + discount * kinds * below
        # A context the train text does not have knows nothing: the shorter one speaks for it.
        result: np.ndarray = np.divide(numerator, total, out=below.copy(), where=total > 0)
        return result

    def _per_test_context(
        self, positions: Int[np.ndarray, " positions"]
    ) -> Int[np.ndarray, " test"]:
        per_context = np.bincount(self.context[positions], minlength=self.context.max() + 1)
        result: np.ndarray = per_context[self.context[self.n_train :]]
        return result


def _discount(counts: Int[np.ndarray, " kinds"]) -> float:
    """d = n₁ / (n₁ + 2 n₂), from how many n-grams were counted once and twice (Ney et al. 1994).

    One imagined n-gram of each sort keeps d strictly between 0 and 1 on the smallest texts, so
    that every character of the vocabulary stays possible.
    """
    once, twice = (1 + int(np.count_nonzero(counts == times)) for times in (1, 2))
    return once / (once + 2 * twice)


def _refuse_impossible(
    train: UInt[np.ndarray, " train"], test: UInt[np.ndarray, " test"], vocab_size: int
) -> None:
    if len(train) == 0 or len(test) == 0:
        raise ValueError(
            f"expected at least 1 character on both sides, got {len(train)} to train and "
            f"{len(test)} to test: use a longer text"
        )
    highest = max(int(train.max()), int(test.max()))
    if highest >= vocab_size:
        raise ValueError(
            f"expected ids below {vocab_size}, got {highest}: use one vocabulary for both texts"
        )
