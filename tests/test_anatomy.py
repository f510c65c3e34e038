"""What is shown is what the model does: its predictions, its attention, its causality."""

from dataclasses import fields, replace

import pytest
import torch
from torch.nn import functional as F

from tests import reference
from zigpt.anatomy.activations import inspect
from zigpt.anatomy.predictions import influence, predict
from zigpt.gpt.attention import fast_attention
from zigpt.gpt.model import GPT

IDS = [3, 0, 7, 7, 10, 2, 5, 1]


@pytest.fixture
def ids():
    return torch.tensor(IDS)


@pytest.fixture
def attention_of(tiny_model):
    """Queries, keys, values and outputs of every layer, from the fused attention that runs."""

    def run(ids):
        seen = []

        def attend(layer, q, k, v):
            seen.append((layer, q, k, v, fast_attention(layer, q, k, v)))
            return seen[-1][-1]

        with torch.no_grad():
            tiny_model(ids.unsqueeze(0), attend=attend)
        return seen

    return run


@pytest.mark.parametrize("length", range(1, 9))
def test_predictions_of_a_window_equal_those_of_one_prefix_at_a_time(tiny_model, length):
    window = torch.tensor([*IDS, 4][: length + 1])
    found = predict(tiny_model, window, n_guesses=3)
    assert len(found.losses) == length
    for t in range(length):
        with torch.no_grad():
            chances = F.softmax(tiny_model(window[None, : t + 1])[0, -1], dim=-1)
        order, target = chances.argsort(descending=True).tolist(), int(window[t + 1])
        assert float(found.probabilities[t]) == pytest.approx(float(chances[target]))
        assert float(found.losses[t]) == pytest.approx(-float(chances[target].log()), abs=1e-5)
        assert found.ranks[t] == order.index(target) + 1
        assert found.guesses[t].tolist() == order[:3]
        assert torch.allclose(found.chances[t], chances[order[:3]])


def test_the_mean_loss_over_a_window_is_the_one_that_training_sees(tiny_model):
    window = torch.tensor([*IDS, 4])
    with torch.no_grad():
        expected = F.cross_entropy(tiny_model(window[None, :-1])[0], window[1:])
    assert float(predict(tiny_model, window).losses.mean()) == pytest.approx(float(expected))


def test_rank_one_means_that_the_first_guess_was_right(tiny_model):
    window = torch.tensor(IDS[:6])
    window[-1] = predict(tiny_model, window).guesses[-1, 0]
    found = predict(tiny_model, window)
    assert found.ranks[-1] == 1
    assert torch.equal(found.ranks == 1, found.guesses[:, 0] == window[1:])


def test_ranks_and_probabilities_of_all_targets_cover_the_vocabulary(tiny_model, ids):
    asked = [predict(tiny_model, torch.cat([ids, torch.tensor([v])])) for v in range(11)]
    assert sorted(int(found.ranks[-1]) for found in asked) == list(range(1, 12))
    assert sum(float(found.probabilities[-1]) for found in asked) == pytest.approx(1, abs=1e-6)


def test_the_chances_of_all_guesses_sum_to_one_and_there_are_no_more_than_all(tiny_model, ids):
    found = predict(tiny_model, ids, n_guesses=99)
    assert found.guesses.shape == (7, 11)
    assert torch.allclose(found.chances.sum(-1), torch.ones(7))
    assert (found.chances.diff() <= 0).all()


def test_each_row_of_attention_sums_to_one_and_is_zero_above_the_diagonal(tiny_model, ids):
    maps = inspect(tiny_model, ids).weights
    assert maps.shape == (2, 2, 8, 8)
    assert (maps >= 0).all()
    assert torch.allclose(maps.sum(-1), torch.ones(2, 2, 8), atol=1e-6)
    above = torch.ones(8, 8, dtype=torch.bool).triu(1)
    assert (maps[..., above] == 0).all()
    assert (maps[..., ~above] > 0).all()


def test_the_weights_give_the_outputs_of_the_models_own_fused_attention(
    tiny_model, ids, attention_of
):
    seen = inspect(tiny_model, ids)
    layers = attention_of(ids)
    assert [layer for layer, *_ in layers] == [0, 1]
    for layer, _, _, v, output in layers:
        assert torch.allclose(seen.weights[layer] @ v[0], output[0], atol=1e-5)
        assert torch.allclose(seen.heads[layer], output[0], atol=1e-5)


def test_queries_keys_values_and_embeddings_are_the_models_own(tiny_model, ids, attention_of):
    seen = inspect(tiny_model, ids)
    for layer, q, k, v, _ in attention_of(ids):
        for own, kept in ((q, seen.q), (k, seen.k), (v, seen.v)):
            assert torch.allclose(kept[layer], own[0], atol=1e-5)
    assert torch.equal(seen.token, tiny_model.token_embedding.weight[ids])
    if seen.position is not None:
        assert torch.equal(seen.position, tiny_model.position_embedding.weight[:8])


def test_the_three_steps_of_attention_are_the_formula_row_by_row(tiny_model, ids, attention_of):
    seen = inspect(tiny_model, ids)
    for layer, q, k, _, _ in attention_of(ids):
        for head in range(2):
            for t in range(8):
                at = layer, head, t
                scores = torch.stack([q[0, head, t] @ k[0, head, s] for s in range(8)]) / 8**0.5
                assert torch.allclose(seen.scores[at], scores, atol=1e-4)
                assert torch.equal(seen.masked[at][: t + 1], seen.scores[at][: t + 1])
                assert (seen.masked[at][t + 1 :] == float("-inf")).all()
                row = torch.softmax(scores[: t + 1], 0)
                assert torch.allclose(seen.weights[at][: t + 1], row, atol=1e-5)


def test_the_first_character_attends_only_to_itself(tiny_model, ids):
    assert (inspect(tiny_model, ids).weights[:, :, 0, 0] == 1).all()
    assert (inspect(tiny_model, ids[:1]).weights == 1).all()


def test_the_activations_lead_to_the_models_own_logits(tiny_model, ids):
    seen = inspect(tiny_model, ids)
    with torch.no_grad():
        assert torch.allclose(seen.logits, tiny_model(ids.unsqueeze(0))[0], atol=1e-5)
        assert torch.equal(seen.logits, tiny_model.head(tiny_model.ln_f(seen.stream[-1])))
    assert torch.allclose(seen.logits, reference.logits(tiny_model, IDS), atol=1e-4)
    assert torch.allclose(seen.probabilities.sum(-1), torch.ones(8))


def test_each_state_of_the_stream_is_the_one_before_plus_a_branch(tiny_model, ids):
    seen = inspect(tiny_model, ids)
    start = seen.token if seen.position is None else seen.token + seen.position
    assert torch.equal(seen.stream[0], start)
    for layer, block in enumerate(tiny_model.blocks):
        before, between, after = seen.stream[2 * layer : 2 * layer + 3]
        heads = seen.heads[layer].transpose(0, 1).flatten(1)  # (H, T, D) -> (T, C)
        assert torch.allclose(between, before + block.attn.project(heads), atol=1e-5)
        assert torch.equal(after, between + seen.ffn[layer])
        expanded = block.ffn.expand(seen.ffn_inputs[layer])
        assert torch.allclose(seen.hidden[layer], reference.gelu(expanded), atol=1e-5)
        v = block.attn.qkv(seen.attention_inputs[layer])[:, 32:]
        assert torch.allclose(seen.v[layer].transpose(0, 1).flatten(1), v, atol=1e-5)


def test_inspecting_leaves_the_model_as_it_was(tiny_model, ids):
    model = tiny_model.train()
    with torch.no_grad():
        before = model(ids.unsqueeze(0))
        inspect(model, ids)
        assert torch.equal(model(ids.unsqueeze(0)), before)
    assert all(part.training and not part._forward_hooks for part in model.modules())


@pytest.mark.parametrize("position", range(8))
def test_a_changed_character_changes_nothing_before_it_and_everything_after(
    tiny_model, ids, position
):
    moved = influence(tiny_model, ids, position)
    assert moved.shape == (8,)
    assert (moved[:position] == 0).all()
    assert (moved[position:] > 0).all()


@pytest.mark.parametrize("position", [0, 4, 7])
def test_influence_is_the_largest_change_of_any_logit(tiny_model, ids, position):
    changed = [(v + 1) % 11 if t == position else v for t, v in enumerate(IDS)]
    with torch.no_grad():
        before = tiny_model(ids.unsqueeze(0))[0]
        after = tiny_model(torch.tensor([changed]))[0]
    expected = torch.stack([(a - b).abs().max() for a, b in zip(after, before, strict=True)])
    assert torch.allclose(influence(tiny_model, ids, position), expected, atol=1e-5)


def test_influence_leaves_the_ids_as_they_were(tiny_model, ids):
    influence(tiny_model, ids, 4)  # the last id of the vocabulary: its successor wraps around
    assert ids.tolist() == IDS


@pytest.mark.parametrize(
    "observe",
    [
        lambda m, i: predict(m, i).losses,
        lambda m, i: influence(m, i, 3),
        lambda m, i: inspect(m, i).logits,
        lambda m, i: inspect(m, i).weights,
    ],
)
def test_dropout_is_off_and_no_graph_is_kept(tiny_config, ids, observe):
    model = GPT(replace(tiny_config, dropout=0.5), torch.Generator().manual_seed(3)).train()
    first, second = observe(model, ids), observe(model.train(), ids)
    assert torch.equal(first, second)
    assert not first.requires_grad


def test_no_activation_keeps_a_graph(tiny_model, ids):
    seen = inspect(tiny_model, ids)
    tensors = [
        value for f in fields(seen) if isinstance(value := getattr(seen, f.name), torch.Tensor)
    ]
    assert len(tensors) > 10
    assert not any(tensor.requires_grad for tensor in tensors)
