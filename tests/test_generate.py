"""Writing: the cache changes nothing, the seed decides everything, the filters filter exactly."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zigpt.errors import ModelFileError, VocabularyError
from zigpt.generate.loop import context_start, generate, generate_text, stop_before
from zigpt.generate.reference import ReferenceDecoder
from zigpt.generate.sampling import next_probabilities, pick, stages
from zigpt.gpt.config import GPTConfig, SampleConfig
from zigpt.gpt.model import GPT
from zigpt.tokenizers.char import CharTokenizer


def ids_of(model, length, prompt=(1, 2, 3), **options):
    count, cached = options.pop("count", 1), options.pop("cached", True)
    decoder = ReferenceDecoder(model, count, cached)
    return np.stack(list(generate(decoder, prompt, length, SampleConfig(**options))), axis=1)


@pytest.mark.parametrize("prompt_length", [1, 5, 8, 9, 30])
@pytest.mark.parametrize("seed", range(3))
def test_the_cache_does_not_change_the_text_even_past_the_block(tiny_model, prompt_length, seed):
    prompt = [i % 11 for i in range(prompt_length)]
    slow = ids_of(tiny_model, 40, prompt, seed=seed, temperature=1.3, count=2, cached=False)
    fast = ids_of(tiny_model, 40, prompt, seed=seed, temperature=1.3, count=2, cached=True)
    assert np.array_equal(fast, slow)
    assert len(set(fast[0].tolist())) > 3


@pytest.mark.parametrize("block_size", [1, 2, 3])
def test_the_smallest_blocks_write_past_their_end_as_well(block_size):
    model = GPT(GPTConfig(5, block_size, n_layer=1, n_head=1, n_embd=4), torch.Generator())
    assert np.array_equal(ids_of(model, 12, [0]), ids_of(model, 12, [0], cached=False))


def test_the_same_seed_gives_the_same_text_and_another_seed_another(tiny_model):
    assert np.array_equal(ids_of(tiny_model, 30, seed=1), ids_of(tiny_model, 30, seed=1))
    assert not np.array_equal(ids_of(tiny_model, 30, seed=1), ids_of(tiny_model, 30, seed=2))


def test_continuation_i_is_what_seed_plus_i_alone_would_give(tiny_model):
    together = ids_of(tiny_model, 20, seed=5, count=3)
    for i in range(3):
        assert np.array_equal(together[i : i + 1], ids_of(tiny_model, 20, seed=5 + i))


def test_temperature_zero_takes_the_likeliest_whatever_the_seed(tiny_model):
    first = ids_of(tiny_model, 20, temperature=0.0, seed=1)
    assert np.array_equal(first, ids_of(tiny_model, 20, temperature=0.0, seed=2))
    expected = tiny_model(torch.tensor([[1, 2, 3]]))[0, -1].argmax()
    assert first[0, 0] == expected


def test_writing_uses_no_dropout_even_if_the_model_was_in_training_mode():
    config = GPTConfig(vocab_size=11, block_size=8, n_layer=1, n_head=1, n_embd=8, dropout=0.9)
    model = GPT(config, torch.Generator().manual_seed(0)).train()
    assert np.array_equal(ids_of(model, 20), ids_of(model.eval(), 20))


@pytest.mark.parametrize("cached", [True, False])
def test_a_decoder_writes_one_text_after_another_as_if_each_were_its_first(tiny_model, cached):
    decoder = ReferenceDecoder(tiny_model, 1, cached)
    for prompt, length in [([1, 2, 3], 30), ([1, 2], 4), ([1, 2, 4, 5, 6, 7, 8], 20), ([1], 2)]:
        again = np.stack(list(generate(decoder, prompt, length)), axis=1)
        assert np.array_equal(again, ids_of(tiny_model, length, prompt))


def test_an_empty_prompt_is_refused(tiny_model):
    with pytest.raises(ValueError, match="at least one character"):
        next(generate(ReferenceDecoder(tiny_model), [], 1))


def test_damaged_weights_are_refused_rather_than_sampled(tiny_model):
    with torch.no_grad():
        tiny_model.head.weight[3] = float("nan")
    with pytest.raises(ModelFileError, match="scores are not finite"):
        next(generate(ReferenceDecoder(tiny_model), [1], 1))


@given(st.integers(1, 600), st.integers(1, 64))
def test_the_window_always_fits_and_is_never_shorter_than_half(length, block_size):
    start = context_start(length, block_size)
    assert 1 <= length - start <= block_size
    assert start == 0 or length - start > block_size // 2
    assert start <= context_start(length + 1, block_size)


LOGITS = np.array([[0.0, 3.0, 1.0, 2.0, -1.0]], np.float32)
NOTHING = np.empty((1, 0), int)  # a context without a character


def probabilities(logits=LOGITS, context=NOTHING, **options):
    return next_probabilities(logits, SampleConfig(**options), context)


def test_without_filters_the_probabilities_are_the_softmax():
    result = probabilities(temperature=0.5)
    np.testing.assert_allclose(result, np.exp(LOGITS / 0.5) / np.exp(LOGITS / 0.5).sum(), rtol=1e-6)


@pytest.mark.parametrize(
    ("k", "kept"), [(1, {1}), (2, {1, 3}), (4, {0, 1, 2, 3}), (99, set(range(5)))]
)
def test_top_k_keeps_the_k_likeliest_and_their_proportions(k, kept):
    result = probabilities(top_k=k)[0]
    assert set(result.nonzero()[0].tolist()) == kept
    assert result.sum().item() == pytest.approx(1)
    if len(kept) > 1:
        assert (result[1] / result[3]).item() == pytest.approx(math.e)


@pytest.mark.parametrize(
    ("p", "kept"),
    [(0.01, {1}), (0.63, {1}), (0.64, {1, 3}), (0.9, {1, 2, 3}), (1.0, set(range(5)))],
)
def test_top_p_keeps_the_smallest_set_that_reaches_p(p, kept):
    # softmax of LOGITS: 0.031, 0.631, 0.085, 0.232, 0.012... in order 1, 3, 2, 0, 4
    result = probabilities(top_p=p)[0]
    assert set(result.nonzero()[0].tolist()) == kept
    assert result.sum().item() == pytest.approx(1)


@given(
    st.lists(st.lists(st.integers(-9, 9), min_size=5, max_size=5), min_size=1, max_size=3),
    st.sampled_from([0.0, 1e-300, 0.5, 1.0, 1e300]),
    st.integers(0, 7),
    st.sampled_from([0.01, 0.5, 0.9, 1.0]),
    st.sampled_from([0.0, 0.1, 0.9, 1.0]),
    st.sampled_from([0.01, 0.8, 1.0, 1.2, 100.0]),
)
def test_each_stage_only_drops_characters_and_keeps_the_proportions_of_the_others(
    scores, temperature, k, p, min_p, penalty
):
    config = SampleConfig(temperature, k, p, min_p, penalty)
    context = np.array([[0, 2, 2]] * len(scores))
    found = stages(np.array(scores, np.float32), config, context)
    for before, after in [
        (found.scaled, found.top_k),
        (found.softmax, found.top_p),
        (found.top_p, found.min_p),
    ]:
        dropped = after != before
        assert np.isin(after[dropped], [0, -np.inf]).all()
        assert after.max(-1).tolist() == before.max(-1).tolist()
    steps = [(np.exp(found.top_k), found.softmax), (found.min_p, found.probabilities)]
    for weights, shares in steps:
        np.testing.assert_allclose(shares.sum(-1), 1)
        totals = weights.sum(-1, keepdims=True)
        np.testing.assert_allclose(shares * totals, weights, rtol=1e-12)
    if temperature:
        relative = found.penalised - found.penalised.max(-1, keepdims=True)
        np.testing.assert_allclose(found.scaled * temperature, relative, atol=1e-300)


def test_the_seed_is_enough_to_repeat_any_single_draw(tiny_model):
    config = SampleConfig(temperature=1.2, top_k=6, top_p=0.9, seed=4)
    text = [1, 2, 3]
    for n, drawn in enumerate(
        ids_of(tiny_model, 5, seed=4, temperature=1.2, top_k=6, top_p=0.9)[0]
    ):
        scores = ReferenceDecoder(tiny_model).next_logits(np.array([text]))
        u = np.random.default_rng(4).random(n + 1)[-1:]
        assert pick(next_probabilities(scores, config, np.array([text])), u) == drawn
        text.append(drawn)


@pytest.mark.parametrize("temperature", [1e-300, 1e-6, 1e6, 1e300])
def test_no_temperature_overflows(temperature):
    result = probabilities(LOGITS * 1e4, temperature=temperature)
    assert np.isfinite(result).all()
    assert result.sum().item() == pytest.approx(1)


class Pairs:
    """A decoder without a model: its logits depend on the last two ids, and on nothing else."""

    count, block_size = 2, 8
    table = np.random.default_rng(0).normal(0, 3, (11, 11, 11)).astype(np.float32)

    def reset(self): ...

    def next_logits(self, ids):
        return self.table[ids[:, -2], ids[:, -1]]


def texts_of(decoder, length=30, **options):
    rows = np.stack(list(generate(decoder, [1, 2], length, SampleConfig(**options))), axis=1)
    return ["".join(f"{i:x}" for i in row) for row in rows]


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        ({}, ["64992340441564942261430a9a34a9", "6492a9a80a779920574729a8915980"]),
        (
            {"temperature": 0.7, "top_k": 6, "top_p": 0.9, "seed": 5},
            ["6629763564942a9a8980a635649696", "6494a9a891513a89151430a6356496"],
        ),
    ],
)
def test_without_penalty_and_min_p_texts_are_those_of_the_sampler_that_had_neither(options, texts):
    assert texts_of(Pairs(), **options) == texts
    assert texts_of(Pairs(), **options, min_p=0.0, repetition_penalty=1.0) == texts


@given(st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=9), st.floats(0.1, 10))
def test_without_filters_no_bit_differs_from_the_plain_formula(scores, temperature):
    logits = np.array([scores], np.float32)
    exact = logits.astype(float)
    weights = np.exp((exact - exact.max()) / temperature)
    context = np.arange(2)[None]
    assert np.array_equal(
        probabilities(logits, context, temperature=temperature), weights / weights.sum()
    )


@pytest.mark.parametrize(
    ("p", "kept"), [(0.0, set(range(5))), (0.1, {1, 2, 3}), (0.2, {1, 3}), (1.0, {1})]
)
def test_min_p_keeps_what_is_at_least_p_times_as_probable_as_the_most_probable(p, kept):
    # relative to the largest: e^-3, 1, e^-2, e^-1, e^-4
    result = probabilities(min_p=p)[0]
    assert set(result.nonzero()[0].tolist()) == kept
    assert result.sum() == pytest.approx(1)


def test_min_p_is_relative_so_a_hot_temperature_lets_more_in():
    left = [np.count_nonzero(probabilities(min_p=0.2, temperature=t)) for t in (0.5, 1.0, 3.0)]
    assert left == [1, 2, 5]


def test_the_penalty_divides_a_logit_above_zero_and_multiplies_one_below_once_per_character():
    config = SampleConfig(repetition_penalty=2.0)
    found = stages(LOGITS, config, np.array([[3, 4, 3, 3]]))
    assert found.penalised.tolist() == [[0.0, 3.0, 1.0, 1.0, -2.0]]
    assert probabilities(context=np.array([[1]]), repetition_penalty=100.0).argmax() == 3
    assert probabilities(context=np.array([[0, 1, 2]]), repetition_penalty=0.01).argmax() == 1


def test_the_penalty_falls_on_the_window_that_the_model_reads_and_on_nothing_before_it():
    """With equal logits, a strong penalty and no randomness, whatever is in the window is avoided.

    The window of 8 keeps its later half when it is full: of 5 to 8 ids, the last are others.
    """

    class Equal(Pairs):
        def next_logits(self, ids):
            return np.ones((2, 11), np.float32)

    text = texts_of(Equal(), 60, temperature=0.0, repetition_penalty=9.0)[0]
    ids = [1, 2, *(int(character, 16) for character in text)]
    for end in range(2, len(ids)):
        window = ids[context_start(end, 8) : end]
        assert ids[end] == min(set(range(11)) - set(window))


PENALTIES, TEMPERATURES = (1.0, 1.3, 0.5), (1.0, 0.6, 1.7)
KS, PS, MIN_PS = (0, 7), (1.0, 0.8), (0.0, 0.05, 0.4)
ALONE = [
    *({"repetition_penalty": value} for value in PENALTIES[1:]),
    *({"temperature": value} for value in TEMPERATURES[1:]),
    {"top_k": KS[1]}, {"top_p": PS[1]}, *({"min_p": value} for value in MIN_PS[1:]),
]  # fmt: skip
TOGETHER = [
    {"repetition_penalty": a, "temperature": b, "top_k": c, "top_p": d, "min_p": e}
    for a, b, c, d, e in itertools.product(PENALTIES, TEMPERATURES, KS, PS, MIN_PS)
]


@pytest.mark.parametrize("rows", [ALONE, TOGETHER], ids=["alone", "together"])
def test_each_setting_means_what_it_means_in_hugging_face(rows):
    """With the processors in the order in which its `generate` applies them."""
    from transformers import generation

    rng = np.random.default_rng(0)
    for number, row in enumerate(rows):
        config = SampleConfig(**row)
        logits = rng.normal(0, 3, (4, 40))
        context = rng.integers(40, size=(4, 12))
        every = [
            (config.repetition_penalty, 1, generation.RepetitionPenaltyLogitsProcessor),
            (config.temperature, 1, generation.TemperatureLogitsWarper),
            (config.top_k, 0, generation.TopKLogitsWarper),
            (config.top_p, 1, generation.TopPLogitsWarper),
            (config.min_p, 0, generation.MinPLogitsWarper),
        ]
        wanted = generation.LogitsProcessorList(
            kind(value) for value, nothing, kind in every if value != nothing
        )(torch.from_numpy(context), torch.from_numpy(logits)).softmax(-1)
        found = next_probabilities(logits, config, context)
        assert ((found > 0) == (wanted.numpy() > 0)).all(), number
        np.testing.assert_allclose(found, wanted, atol=1e-12)


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=6).filter(sum),
    st.floats(0, 1, exclude_max=True),
)
def test_the_picked_id_is_where_u_falls_and_never_an_impossible_one(weights, u):
    probabilities = np.array([weights])
    probabilities /= probabilities.sum()
    chosen = int(pick(probabilities, np.array([u]))[0])
    assert weights[chosen] > 0 or probabilities[0, chosen] > 0
    cumulative = probabilities[0].cumsum()
    assert cumulative[chosen] > u * cumulative[-1]
    assert chosen == 0 or cumulative[chosen - 1] <= u * cumulative[-1]


def test_written_text_continues_the_prompt_character_by_character(tiny_model):
    tokenizer = CharTokenizer("\nabcdefghij")
    pieces = list(generate_text(ReferenceDecoder(tiny_model), tokenizer, "abc", 25))
    assert [len(piece) for piece in pieces] == [1] * 25
    assert pieces == list(generate_text(ReferenceDecoder(tiny_model), tokenizer, "abc", 25))
    assert list(generate_text(ReferenceDecoder(tiny_model), tokenizer, "", 5)) == list(
        generate_text(ReferenceDecoder(tiny_model), tokenizer, "\n", 5)
    )
    with pytest.raises(VocabularyError):
        next(generate_text(ReferenceDecoder(tiny_model), tokenizer, "字", 1))


@given(st.text("ab", max_size=12), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_text_ends_before_the_first_stop_and_is_otherwise_whole(text, stops):
    found = [text.find(stop) for stop in stops if stop in text]
    passed = "".join(stop_before(text, stops))
    # A stop is noticed when its last character comes: the one complete first wins.
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    if not found:
        assert passed == text
    else:
        first = min(ends)
        assert passed == text[: min(p for p, e in zip(found, ends, strict=True) if e == first)]


def test_the_beginning_of_a_stop_is_held_back():
    assert "".join(stop_before(iter("ab--cd"), ["--c"])) == "ab"
