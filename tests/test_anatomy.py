"""What the eye is shown is what the model does: its predictions, its attention, its causality."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from zigpt.anatomy import attention_maps, influence, predictions
from zigpt.model import GPT, fused_attention

IDS = [3, 0, 7, 7, 10, 2, 5, 1]


@pytest.fixture
def ids():
    return torch.tensor(IDS)


@pytest.fixture
def watched(tiny_model):
    """Queries, keys, values and fused outputs of every layer, from the model's own fast path."""

    def look(ids):
        seen = []

        def attend(layer, q, k, v):
            seen.append((layer, q, k, v, fused_attention(layer, q, k, v)))
            return seen[-1][-1]

        with torch.no_grad():
            tiny_model(ids.unsqueeze(0), attend=attend)
        return seen

    return look


@pytest.mark.parametrize("length", range(1, 9))
def test_a_window_holds_the_examples_that_one_prefix_at_a_time_would_give(tiny_model, length):
    window = torch.tensor([*IDS, 4][: length + 1])
    found = predictions(tiny_model, window)
    assert len(found) == length
    for t, prediction in enumerate(found):
        prefix = window[: t + 1]
        with torch.no_grad():
            probabilities = F.softmax(tiny_model(prefix.unsqueeze(0))[0, -1], dim=-1)
        order = probabilities.argsort(descending=True).tolist()
        assert prediction.context == prefix.tolist()
        assert prediction.target == window[t + 1]
        assert prediction.probability == pytest.approx(float(probabilities[window[t + 1]]))
        assert prediction.rank == order.index(prediction.target) + 1
        assert prediction.guess == order[0]


def test_rank_one_means_that_the_first_guess_was_right(tiny_model, ids):
    found = predictions(tiny_model, torch.tensor([*IDS[:5], 0]))
    certain = [*found[-1].context, found[-1].guess]
    assert predictions(tiny_model, torch.tensor(certain))[-1].rank == 1
    for prediction in predictions(tiny_model, ids):
        assert (prediction.rank == 1) == (prediction.guess == prediction.target)


def test_ranks_and_probabilities_of_all_targets_cover_the_vocabulary(tiny_model, ids):
    last = [predictions(tiny_model, torch.cat([ids, torch.tensor([v])]))[-1] for v in range(11)]
    assert sorted(prediction.rank for prediction in last) == list(range(1, 12))
    assert sum(prediction.probability for prediction in last) == pytest.approx(1, abs=1e-6)


def test_predictions_are_plain_numbers_that_json_can_hold(tiny_model, ids):
    for prediction in predictions(tiny_model, ids):
        kinds = [type(value) for value in vars(prediction).values()]
        assert kinds == [list, int, float, int, int]
        assert {type(i) for i in prediction.context} == {int}


def test_each_row_of_attention_sums_to_one_and_is_zero_above_the_diagonal(tiny_model, ids):
    maps = attention_maps(tiny_model, ids)
    assert maps.shape == (2, 2, 8, 8)
    assert (maps >= 0).all()
    assert torch.allclose(maps.sum(-1), torch.ones(2, 2, 8), atol=1e-6)
    above = torch.ones(8, 8, dtype=torch.bool).triu(1)
    assert (maps[..., above] == 0).all()
    assert (maps[..., ~above] > 0).all()


def test_the_maps_give_the_very_outputs_of_the_models_own_fused_attention(tiny_model, ids, watched):
    maps = attention_maps(tiny_model, ids)
    layers = watched(ids)
    assert [layer for layer, *_ in layers] == [0, 1]
    for layer, _, _, v, output in layers:
        assert torch.allclose(maps[layer] @ v[0], output[0], atol=1e-5)


def test_the_maps_are_the_formula_row_by_row(tiny_model, ids, watched):
    maps = attention_maps(tiny_model, ids)
    for layer, q, k, _, _ in watched(ids):
        for head in range(2):
            for t in range(8):
                scores = torch.stack([q[0, head, t] @ k[0, head, s] for s in range(t + 1)])
                row = torch.softmax(scores / 8**0.5, 0)
                assert torch.allclose(maps[layer, head, t, : t + 1], row, atol=1e-6)


def test_looking_at_attention_does_not_change_what_the_model_says(tiny_model, ids):
    with torch.no_grad():
        before = tiny_model(ids.unsqueeze(0))
        attention_maps(tiny_model, ids)
        assert torch.equal(tiny_model(ids.unsqueeze(0)), before)


def test_the_first_character_can_only_look_at_itself(tiny_model, ids):
    assert (attention_maps(tiny_model, ids)[:, :, 0, 0] == 1).all()
    assert (attention_maps(tiny_model, ids[:1]) == 1).all()


@pytest.mark.parametrize("position", range(8))
def test_a_changed_character_moves_nothing_before_it_and_everything_after(
    tiny_model, ids, position
):
    moved = influence(tiny_model, ids, position)
    assert moved.shape == (8,)
    assert (moved[:position] == 0).all()
    assert (moved[position:] > 0).all()


@pytest.mark.parametrize("position", [0, 4, 7])
def test_influence_is_the_largest_move_of_any_logit_from_one_change(tiny_model, ids, position):
    changed = [(v + 1) % 11 if t == position else v for t, v in enumerate(IDS)]
    with torch.no_grad():
        before = tiny_model(ids.unsqueeze(0))[0]
        after = tiny_model(torch.tensor([changed]))[0]
    expected = torch.stack([(a - b).abs().max() for a, b in zip(after, before, strict=True)])
    assert torch.allclose(influence(tiny_model, ids, position), expected, atol=1e-5)


def test_influence_leaves_the_ids_as_they_were(tiny_model, ids):
    influence(tiny_model, ids, 4)  # holds the last id of the vocabulary, which wraps around
    assert ids.tolist() == IDS


@pytest.mark.parametrize("look", [predictions, attention_maps, lambda m, i: influence(m, i, 3)])
def test_dropout_is_off_and_no_graph_is_kept_while_looking(tiny_config, ids, look):
    model = GPT(replace(tiny_config, dropout=0.5), torch.Generator().manual_seed(3)).train()
    first, second = look(model, ids), look(model.train(), ids)
    if isinstance(first, list):
        assert first == second
    else:
        assert torch.equal(first, second)
        assert not first.requires_grad
