"""Splits, batches as a pure function of (seed, step), and windows that miss no character."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.texts import story
from zigpt.data.batches import Corpus, Split
from zigpt.errors import TextError, VocabularyError
from zigpt.tokenizers.char import CharTokenizer

steps = st.integers(0, 10**6)
seeds = st.integers(0, 2**63 - 1)
LETTERS = CharTokenizer("abcdefghij")


def counting(train: int, validation: int = 0) -> Corpus:
    """A corpus whose ids are their own positions, so that windows show where they come from."""
    ids = np.arange(train + validation, dtype=np.uint16)
    return Corpus(LETTERS, ids[:train], ids[train:])


def text_of(length: int) -> str:
    return story(length + 1)[:length] if length > 50 else ("ab" * length)[:length]


def starts(
    corpus: Corpus, split: Split, block_size: int, batch_size: int, max_windows: int | None = None
) -> list[int]:
    windows = corpus.windows(split, block_size, batch_size, max_windows)
    return [int(row[0]) for inputs, _ in windows for row in inputs]


@given(length=st.integers(2, 3000))
def test_the_last_tenth_of_a_text_is_the_validation_split(length):
    text = text_of(length)
    corpus = Corpus.from_text(text)
    decode = corpus.tokenizer.decode
    assert decode(corpus.train) + decode(corpus.validation) == text
    assert len(corpus.validation) == -(-length // 10)


def test_the_vocabulary_is_that_of_the_whole_text():
    corpus = Corpus.from_text("ab" * 50 + "字")
    assert corpus.tokenizer.vocabulary == "ab字"
    assert corpus.validation[-1] == 2


def test_a_given_tokenizer_is_kept():
    corpus = Corpus.from_text("abba", LETTERS)
    assert corpus.tokenizer is LETTERS
    with pytest.raises(VocabularyError, match="'z'"):
        Corpus.from_text("abbaz", LETTERS)


@pytest.mark.parametrize("text", ["", "a", "字" * 1000, "\n\n"])
def test_a_text_of_fewer_than_two_distinct_characters_is_refused(text):
    with pytest.raises(TextError) as refusal:
        Corpus.from_text(text)
    assert str(refusal.value) == (
        "the text has fewer than two distinct characters\n"
        "why: there is nothing to predict\n"
        "fix: give a file with running text"
    )
    assert refusal.value.exit_code == 3


def test_two_distinct_characters_are_enough():
    assert Corpus.from_text("ab").tokenizer.vocab_size == 2


@given(
    train=st.integers(9, 300), block_size=st.integers(1, 8), batch_size=st.integers(1, 9),
    seed=seeds,
)  # fmt: skip
def test_shuffled_every_pass_takes_each_window_once(train, block_size, batch_size, seed):
    corpus = counting(train)
    per_pass = train // block_size - 1 or 1
    n_steps = -(-3 * per_pass // batch_size)
    batches = [
        corpus.batch(step, batch_size, block_size, seed, "shuffled") for step in range(n_steps)
    ]
    rows = np.concatenate([inputs for inputs, _ in batches])[: 3 * per_pass]
    passes = rows[:, 0].reshape(3, per_pass)
    for first in passes:
        side_by_side = np.sort(first)
        assert (np.diff(side_by_side) == block_size).all()
        assert 0 <= side_by_side[0] < block_size or per_pass == 1
        assert side_by_side[-1] + block_size < train


def test_shuffled_passes_differ_in_order_and_offset_and_leave_nothing_out_for_good():
    corpus = counting(16 * 101)
    passes = [corpus.batch(step, 100, 16, 1, "shuffled")[0][:, 0] for step in range(60)]
    assert {int(first.min()) for first in passes} == set(range(16))
    orders = {tuple(np.argsort(first)) for first in passes}
    assert len(orders) == 60
    nearby = np.mean([np.abs(np.diff(first)).mean() for first in passes])
    assert 0.3 < nearby / (16 * 100) < 0.37  # a third, as of any two at random
    assert (
        len({tuple(corpus.batch(0, 100, 16, seed, "shuffled")[0][:, 0]) for seed in range(9)}) == 9
    )


@pytest.mark.parametrize("order", ["random", "shuffled"])
@given(step=steps, seed=seeds, others=st.lists(st.tuples(steps, seeds), max_size=4))
def test_a_batch_does_not_depend_on_earlier_draws(order, step, seed, others):
    corpus = counting(500)
    expected = corpus.batch(step, 4, 16, seed, order)
    for other_step, other_seed in others:
        corpus.batch(other_step, 3, 8, other_seed, order)
    np.random.default_rng(0).random()
    again = counting(500).batch(step, 4, 16, seed, order)
    assert np.array_equal(expected, again)


def test_the_batches_of_a_seed_never_change_between_versions():
    # A resumed run relies on these windows. If this fails, old runs would continue with other
    # batches. numpy may be the cause: it promises to keep Philox stable, but not `integers`.
    inputs, _ = counting(1000).batch(7, 4, 8, 1337)
    assert inputs[:, 0].tolist() == [936, 366, 230, 376]


def test_every_seed_and_every_step_draws_different_batches():
    corpus = counting(60_000)
    keys = [(step, seed) for step in range(20) for seed in (*range(20), 2**63 - 1)]
    drawn = {tuple(corpus.batch(step, 4, 8, seed)[0][:, 0].tolist()) for step, seed in keys}
    assert len(drawn) == len(keys)


@given(
    step=steps,
    seed=seeds,
    batch_size=st.integers(1, 20),
    block_size=st.integers(1, 60),
    spare=st.integers(1, 50),
)
def test_targets_are_the_inputs_shifted_by_one(step, seed, batch_size, block_size, spare):
    corpus = counting(block_size + spare, validation=30)
    inputs, targets = corpus.batch(step, batch_size, block_size, seed)
    assert inputs.shape == targets.shape == (batch_size, block_size)
    assert inputs.dtype == targets.dtype == np.int64
    first = inputs[:, :1]
    assert np.array_equal(inputs, first + np.arange(block_size))
    assert np.array_equal(targets, inputs + 1)
    assert inputs.min() >= 0
    assert targets.max() < len(corpus.train)


def test_every_window_of_the_train_split_is_drawn_about_equally_often():
    # 20 windows, 20,000 draws: 1,000 each, standard deviation 31. Nothing is six of them off.
    corpus = counting(27, validation=10)
    inputs, _ = corpus.batch(0, 20_000, 7, 1)
    seen, counts = np.unique(inputs[:, 0], return_counts=True)
    assert seen.tolist() == list(range(20))
    assert (abs(counts - 1000) < 190).all()


@given(
    length=st.integers(2, 300),
    block_size=st.integers(1, 320),
    batch_size=st.integers(1, 9),
    split=st.sampled_from(["train", "validation"]),
)
def test_every_character_but_the_first_is_a_target_exactly_once(
    length, block_size, batch_size, split
):
    ids = np.arange(length, dtype=np.uint16)
    other = ids[:0]
    corpus = Corpus(LETTERS, *((ids, other) if split == "train" else (other, ids)))
    seen: list[int] = []
    for inputs, targets in corpus.windows(split, block_size, batch_size):
        assert inputs.shape == targets.shape
        assert len(inputs) <= batch_size
        assert inputs.dtype == targets.dtype == np.int64
        assert inputs.shape[1] == block_size or len(inputs) == 1
        assert np.array_equal(targets, inputs + 1)
        seen += targets.ravel().tolist()
    assert seen == list(range(1, length))


def test_windows_come_in_full_batches_and_a_short_one_comes_alone():
    shapes = [inputs.shape for inputs, _ in counting(1 + 7 * 10 + 3).windows("train", 10, 3)]
    assert shapes == [(3, 10), (3, 10), (1, 10), (1, 3)]


def test_each_split_is_walked_by_its_own_name():
    corpus = counting(40, validation=10)
    assert starts(corpus, "train", 20, 2) == [0, 20]
    assert starts(corpus, "validation", 20, 2) == [40]


@given(
    whole=st.integers(2, 200),
    rest=st.integers(0, 9),
    share=st.floats(0.001, 0.999),
    batch_size=st.integers(1, 9),
)
def test_most_windows_are_whole_and_evenly_spread(whole, rest, share, batch_size):
    most = min(max(1, int(share * whole)), whole - 1)
    corpus = counting(1 + 10 * whole + rest)
    inputs = [row for batch, _ in corpus.windows("train", 10, batch_size, most) for row in batch]
    assert len(inputs) == most
    assert all(len(row) == 10 for row in inputs)
    places = [int(row[0]) / 10 for row in inputs]
    assert places == sorted(set(places))
    assert set(places) <= set(range(whole))
    if most > 1:
        assert (places[0], places[-1]) == (0, whole - 1)
        gaps = set(np.diff(places).tolist())
        assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("most", [6, 7, 100])
def test_asked_for_all_windows_or_more_it_walks_all_with_the_short_one(most):
    corpus = counting(1 + 5 * 10 + 4)
    assert starts(corpus, "train", 10, 3, most) == [0, 10, 20, 30, 40, 50]


def test_no_more_windows_are_walked_than_asked_for():
    assert len(starts(counting(1 + 5 * 10 + 4), "train", 10, 3, max_windows=5)) == 5


def test_every_evaluation_walks_the_same_windows():
    corpus = counting(1000)
    assert starts(corpus, "train", 16, 4, max_windows=10) == starts(
        corpus, "train", 16, 7, max_windows=10
    )


def test_an_empty_split_has_no_windows():
    assert starts(counting(20), "validation", 4, 2) == []


def test_a_split_of_one_character_has_no_target_and_so_no_window():
    assert starts(counting(20, validation=1), "validation", 4, 2) == []


@given(length=st.integers(11, 4000))
def test_the_named_block_size_is_the_largest_that_passes(length):
    corpus = Corpus.from_text(text_of(length))
    largest = corpus.largest_block_size
    corpus.require(largest)
    with pytest.raises(TextError) as refusal:
        corpus.require(largest + 1)
    assert refusal.value.what == f"{length} characters are too few for block size {largest + 1}"
    assert refusal.value.why.endswith(f"the largest is {largest}")
    assert f"use a `block_size` of {largest} or less" in refusal.value.fix
    for split in ("train", "validation"):
        assert len(next(iter(corpus.windows(split, largest, 1)))[0][0]) == largest
    assert corpus.batch(0, 2, largest, 0)[0].shape == (2, largest)


@pytest.mark.parametrize(("train", "validation"), [(5, 30), (30, 5)])
def test_a_window_must_fit_into_the_shorter_split(train, validation):
    assert counting(train, validation).largest_block_size == 4


def test_a_refused_block_size_reads_word_for_word():
    with pytest.raises(TextError) as refusal:
        Corpus.from_text(text_of(1000)).require(256)
    assert str(refusal.value) == (
        "1000 characters are too few for block size 256\n"
        "why: a block must fit into the held-out last tenth: the largest is 99\n"
        "fix: use a `block_size` of 99 or less, or a text of at least 2561 characters"
    )
    assert refusal.value.exit_code == 3


@pytest.mark.parametrize("length", [2, 9, 10])
def test_a_text_too_short_for_any_window_has_no_possible_block_size(length):
    corpus = Corpus.from_text(text_of(length))
    with pytest.raises(TextError) as refusal:
        corpus.require(1)
    assert refusal.value.fix == "give a text of at least 11 characters"


@given(block_size=st.integers(1, 500))
def test_the_advised_length_of_a_text_is_the_shortest_that_is_long_enough(block_size):
    with pytest.raises(TextError) as refusal:
        Corpus.from_text("ab").require(block_size)
    advised = int(refusal.value.fix.split(" ")[-2])
    Corpus.from_text(text_of(advised)).require(block_size)
    with pytest.raises(TextError):
        Corpus.from_text(text_of(advised - 1)).require(block_size)


def test_batches_are_int64_whatever_the_type_of_the_ids():
    characters = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    corpus = Corpus.from_text(characters * 2)
    assert corpus.train.dtype == np.uint16
    inputs, targets = corpus.batch(3, 5, 12, 9)
    assert np.array_equal(targets, (inputs + 1) % 300)
    assert np.array_equal(inputs[:, 1:], targets[:, :-1])
