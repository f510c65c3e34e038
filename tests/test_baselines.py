"""The ladder against a slow dictionary of the same formula and sources of known entropy."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zigpt.data import baselines
from zigpt.data.baselines import Ladder, Rung, build_ladder, character_probabilities

Gram = tuple[int, ...]
Drawn = tuple[int, list[int], list[int]]  # vocabulary size, train ids, validation ids
NAMES = ["uniform", "unigram", "bigram", "trigram", "5-gram"]
LADDER = Ladder(
    (Rung("uniform", 4.0), Rung("unigram", 3.0), Rung("bigram", 2.0), Rung("5-gram", 2.5))
)


def as_ids(values: Sequence[int]) -> np.ndarray:
    return np.array(values, dtype=np.uint8)


def losses(train: np.ndarray, test: np.ndarray, vocab_size: int) -> dict[str, float]:
    return {rung.name: rung.loss for rung in build_ladder(train, test, vocab_size).rungs}


class Oracle:
    """Interpolated Kneser-Ney as a textbook states it: tuples, dictionaries and recursion."""

    START = -1  # stands before the text

    def __init__(self, train: list[int], vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.times: dict[int, Counter[Gram]] = defaultdict(Counter)
        self.ways: dict[int, Counter[Gram]] = defaultdict(Counter)
        padded = [self.START] * 5 + train
        for order in range(1, 6):
            windows = [tuple(padded[i - order + 1 : i + 1]) for i in range(5, len(padded))]
            extended = {tuple(padded[i - order : i + 1]) for i in range(5, len(padded))}
            self.times[order] = Counter(windows)
            self.ways[order] = Counter(gram[1:] for gram in extended)

    def probability(self, order: int, context: Gram, character: int, top: bool = True) -> float:
        if order == 0:
            return 1 / self.vocab_size
        context = context[len(context) - (order - 1) :]
        counts = (self.times if top else self.ways)[order]
        below = self.probability(order - 1, context[1:], character, top=False)
        total = sum(n for gram, n in counts.items() if gram[:-1] == context)
        if total == 0:
            return below
        once = 1 + sum(n == 1 for n in counts.values())
        twice = 1 + sum(n == 2 for n in counts.values())
        discount = once / (once + 2 * twice)
        kinds = sum(gram[:-1] == context for gram in counts)
        kept = max(counts[(*context, character)] - discount, 0)
        return (kept + discount * kinds * below) / total

    def along(self, order: int, train: list[int], test: list[int]) -> list[float]:
        text = [self.START] * 5 + train + test
        first = 5 + len(train)
        return [
            self.probability(order, tuple(text[i - 4 : i]), text[i])
            for i in range(first, len(text))
        ]


# Few kinds of many characters make contexts repeat; one kind or one character are edge cases.
texts = st.integers(1, 4).flatmap(
    lambda kinds: st.tuples(
        st.just(kinds + 1),
        st.lists(st.integers(0, kinds - 1), min_size=1, max_size=40),
        st.lists(st.integers(0, kinds), min_size=1, max_size=12),
    )
)


@settings(max_examples=40, deadline=None)
@given(texts)
def test_every_probability_agrees_with_the_textbook_formula(drawn: Drawn) -> None:
    vocab_size, train, test = drawn
    oracle = Oracle(train, vocab_size)
    for order, probabilities in character_probabilities(as_ids(train), as_ids(test), vocab_size):
        expected = oracle.along(order, train, test)
        np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-12)


def test_losses_agree_with_the_textbook_formula_on_a_text_with_structure() -> None:
    text = [ord(c) - 97 for c in "thecatsatonthematandthedogsatonthecatandthematwasflat" * 2]
    train, test = text[:80], text[80:]
    oracle = Oracle(train, 26)
    for order, name in enumerate(["uniform", "unigram", "bigram", "trigram", "4-gram", "5-gram"]):
        if name in NAMES:
            expected = -np.mean(np.log(oracle.along(order, train, test)))
            assert losses(as_ids(train), as_ids(test), 26)[name] == pytest.approx(
                expected, abs=1e-9
            )


@settings(max_examples=40, deadline=None)
@given(texts)
def test_every_distribution_sums_to_one(drawn: Drawn) -> None:
    vocab_size, train, context = drawn
    total = np.zeros(6)
    for character in range(vocab_size):
        test = as_ids([*context, character])
        for order, probabilities in character_probabilities(as_ids(train), test, vocab_size):
            assert probabilities[-1] > 0
            total[order] += probabilities[-1]
    np.testing.assert_allclose(total, 1, rtol=1e-12)


def test_characters_that_the_train_split_lacks_remain_possible() -> None:
    ladder = losses(as_ids([0, 1] * 20), as_ids([2, 3, 2]), 150)
    assert all(math.isfinite(loss) for loss in ladder.values())
    assert ladder["unigram"] > math.log(150)


def test_rungs_go_from_uniform_to_five_characters() -> None:
    assert list(losses(as_ids([0, 1, 0]), as_ids([1]), 2)) == NAMES


def test_uniform_is_the_logarithm_of_the_vocabulary() -> None:
    assert losses(as_ids([0, 1]), as_ids([1]), 6074)["uniform"] == pytest.approx(math.log(6074))


def test_unigram_reaches_the_entropy_of_independent_characters() -> None:
    chances = np.array([0.5, 0.25, 0.125, 0.0625, 0.0625])
    drawn = np.random.default_rng(0).choice(5, 120_000, p=chances).astype(np.uint8)
    ladder = losses(drawn[:100_000], drawn[100_000:], 5)
    entropy = -np.sum(chances * np.log(chances))
    # 20,000 characters of deviation 0.66 nats: 5 sigma of their mean are 0.023.
    assert ladder["unigram"] == pytest.approx(entropy, abs=0.023)
    assert ladder["bigram"] == pytest.approx(ladder["unigram"], abs=0.005)


def test_bigram_reaches_the_entropy_rate_of_a_markov_chain() -> None:
    stay = 0.9  # with 3 states, each other one follows with 0.05
    rng = np.random.default_rng(1)
    steps = rng.choice(3, 120_000, p=[stay, 0.05, 0.05])
    chain = (np.cumsum(steps) % 3).astype(np.uint8)
    ladder = losses(chain[:100_000], chain[100_000:], 3)
    rate = -(stay * math.log(stay) + 0.1 * math.log(0.05))
    # Deviation 0.87 nats over 20,000 characters: 5 sigma are 0.031.
    assert ladder["bigram"] == pytest.approx(rate, abs=0.031)
    assert ladder["trigram"] == pytest.approx(ladder["bigram"], abs=0.005)
    assert ladder["unigram"] > rate + 0.5


def test_a_longer_context_sees_what_a_shorter_one_cannot() -> None:
    text = as_ids([0, 0, 1, 1] * 3000)  # two characters decide the next, one leaves a coin toss
    ladder = losses(text[:11_000], text[11_000:], 2)
    assert ladder["unigram"] == pytest.approx(math.log(2), abs=1e-3)
    assert ladder["bigram"] == pytest.approx(math.log(2), abs=1e-2)
    assert ladder["trigram"] < 1e-2
    assert ladder["5-gram"] < 1e-2


def test_the_first_scored_character_sees_the_end_of_the_train_split() -> None:
    train = as_ids([0, 1, 2] * 30)
    assert losses(train, as_ids([0]), 3)["bigram"] < 0.1
    assert losses(train, as_ids([1]), 3)["bigram"] > 2


def test_an_alphabet_of_one_costs_nothing() -> None:
    assert set(losses(as_ids([0]), as_ids([0]), 1).values()) == {0.0}


def test_two_characters_are_enough_text() -> None:
    ladder = losses(as_ids([0]), as_ids([1]), 2)
    assert all(0 < loss < 5 for loss in ladder.values())


def test_the_widest_alphabet_does_not_overflow_the_keys() -> None:
    # In 32 bits "0 after 28,634" and "132,704 after 0" would be the same pair.
    assert (28_634 * 150_000 + 0) % 2**32 == 0 * 150_000 + 132_704
    train = np.concatenate([np.arange(150_000), np.tile([28_634, 0], 1000)]).astype(np.uint32)
    test = np.array([0, 132_704], dtype=np.uint32)
    bigram = dict(character_probabilities(train, test, 150_000))[2]
    assert bigram[-1] < 1e-3


def test_ids_of_every_width_give_the_same_ladder() -> None:
    text = np.random.default_rng(2).integers(0, 5, 500)
    ladders = [
        build_ladder(text[:400].astype(width), text[400:].astype(width), 5)
        for width in (np.uint8, np.uint16, np.uint32)
    ]
    assert ladders[0] == ladders[1] == ladders[2]


def test_of_a_huge_text_only_the_parts_nearest_to_the_border_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(baselines, "MAX_TRAIN", 300)
    monkeypatch.setattr(baselines, "MAX_SCORED", 50)
    text = np.random.default_rng(3).integers(0, 5, 2000).astype(np.uint8)
    assert build_ladder(text[:1000], text[1000:], 5) == build_ladder(
        text[700:1000], text[1000:1050], 5
    )


@pytest.mark.parametrize(("train", "test"), [([], [0]), ([0], [])])
def test_an_empty_split_is_refused(train: list[int], test: list[int]) -> None:
    message = (
        f"at least 1 character in each split, got {len(train)} train and {len(test)} validation"
    )
    with pytest.raises(ValueError, match=message):
        build_ladder(as_ids(train), as_ids(test), 2)


def test_an_id_outside_the_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="expected ids below 2, got 2: use one vocabulary"):
        build_ladder(as_ids([0, 1]), as_ids([2]), 2)


@pytest.mark.parametrize(
    ("loss", "name"),
    [(3.5, "uniform"), (3.0, "uniform"), (2.9, "unigram"), (2.4, "unigram"), (1.9, "bigram")],
)
def test_beaten_is_the_best_rung_above_the_loss(loss: float, name: str) -> None:
    """The 5-gram here does worse than the bigram, so beating it is no achievement."""
    rung = LADDER.beaten(loss)
    assert rung is not None
    assert rung.name == name


@pytest.mark.parametrize("loss", [4.0, 9.0, math.inf, math.nan])
def test_a_loss_above_every_rung_beats_nothing(loss: float) -> None:
    assert LADDER.beaten(loss) is None


def test_a_loss_is_looked_up_by_name() -> None:
    assert LADDER.loss_of("5-gram") == 2.5
    with pytest.raises(KeyError):
        LADDER.loss_of("9-gram")
