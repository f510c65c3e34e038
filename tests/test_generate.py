"""Writing: the cache changes nothing, the seed decides everything, the filters filter exactly."""

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


def test_without_filters_the_probabilities_are_the_softmax():
    result = next_probabilities(LOGITS, SampleConfig(temperature=0.5))
    np.testing.assert_allclose(result, np.exp(LOGITS / 0.5) / np.exp(LOGITS / 0.5).sum(), rtol=1e-6)


@pytest.mark.parametrize(
    ("k", "kept"), [(1, {1}), (2, {1, 3}), (4, {0, 1, 2, 3}), (99, set(range(5)))]
)
def test_top_k_keeps_the_k_likeliest_and_their_proportions(k, kept):
    result = next_probabilities(LOGITS, SampleConfig(temperature=1.0, top_k=k))[0]
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
    result = next_probabilities(LOGITS, SampleConfig(temperature=1.0, top_p=p))[0]
    assert set(result.nonzero()[0].tolist()) == kept
    assert result.sum().item() == pytest.approx(1)


@given(
    st.lists(st.lists(st.integers(-9, 9), min_size=5, max_size=5), min_size=1, max_size=3),
    st.sampled_from([0.0, 1e-300, 0.5, 1.0, 1e300]),
    st.integers(0, 7),
    st.sampled_from([0.01, 0.5, 0.9, 1.0]),
)
def test_each_stage_only_drops_characters_and_keeps_the_proportions_of_the_others(
    scores, temperature, k, p
):
    config = SampleConfig(temperature=temperature, top_k=k, top_p=p)
    found = stages(np.array(scores, np.float32), config)
    for before, after in [(found.scaled, found.top_k), (found.softmax, found.top_p)]:
        dropped = after != before
        assert np.isin(after[dropped], [0, -np.inf]).all()
        assert after.max(-1).tolist() == before.max(-1).tolist()
    steps = [(np.exp(found.top_k), found.softmax), (found.top_p, found.probabilities)]
    for weights, shares in steps:
        np.testing.assert_allclose(shares.sum(-1), 1)
        totals = weights.sum(-1, keepdims=True)
        np.testing.assert_allclose(shares * totals, weights, rtol=1e-12)
    if temperature:
        relative = np.array(scores, float) - np.max(scores, -1, keepdims=True)
        np.testing.assert_allclose(found.scaled * temperature, relative, atol=1e-300)


def test_the_seed_is_enough_to_repeat_any_single_draw(tiny_model):
    config = SampleConfig(temperature=1.2, top_k=6, top_p=0.9, seed=4)
    text = [1, 2, 3]
    for n, drawn in enumerate(
        ids_of(tiny_model, 5, seed=4, temperature=1.2, top_k=6, top_p=0.9)[0]
    ):
        scores = ReferenceDecoder(tiny_model).next_logits(np.array([text]))
        u = np.random.default_rng(4).random(n + 1)[-1:]
        assert pick(stages(scores, config).probabilities, u) == drawn
        text.append(drawn)


@pytest.mark.parametrize("temperature", [1e-300, 1e-6, 1e6, 1e300])
def test_no_temperature_overflows(temperature):
    result = next_probabilities(LOGITS * 1e4, SampleConfig(temperature=temperature))
    assert np.isfinite(result).all()
    assert result.sum().item() == pytest.approx(1)


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
