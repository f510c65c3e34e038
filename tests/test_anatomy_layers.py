"""Layer by layer: contributions add up, and the lens reads every state of the stream."""

from dataclasses import replace

import pytest
import torch

from zigpt.anatomy.activations import inspect
from zigpt.anatomy.layers import contributions, lens, score_parts
from zigpt.anatomy.predictions import predict
from zigpt.gpt.model import GPT

IDS = [3, 0, 7, 7, 10, 2, 5, 1, 4]


@pytest.fixture
def seen(tiny_model):
    with torch.no_grad():  # far from 1 and 0, so that leaving either out would show
        tiny_model.ln_f.weight.mul_(1.7)
        tiny_model.ln_f.bias.add_(0.4)
    return inspect(tiny_model, torch.tensor(IDS[:-1]))


@pytest.mark.parametrize("position", range(8))
def test_contributions_add_up_to_every_state_of_the_stream(seen, position):
    for state in range(len(seen.stream)):
        total = sum(contributions(seen, position, state).values())
        assert torch.allclose(total, seen.stream[state, position], atol=1e-5)
    last, every = contributions(seen, position, 4), contributions(seen, position)
    assert last.keys() == every.keys()


def test_every_part_that_adds_to_the_stream_has_one_label(seen):
    first = [("token",)] if seen.position is None else [("token",), ("position",)]
    layers = [
        [("head", n, 0), ("head", n, 1), ("attention bias", n), ("feed-forward", n)]
        for n in range(2)
    ]
    assert list(contributions(seen, 3)) == [*first, *layers[0], *layers[1]]
    assert list(contributions(seen, 3, 3)) == [*first, *layers[0], *layers[1][:3]]


@pytest.mark.parametrize("position", range(8))
def test_the_parts_of_a_score_add_up_to_the_models_own_logit(tiny_model, seen, position):
    with torch.no_grad():
        logits = tiny_model(seen.ids.unsqueeze(0))[0, position]
    for character in range(11):
        split = score_parts(seen, position, character)
        assert split.total == pytest.approx(split.score, abs=1e-4)
        assert split.score == pytest.approx(float(logits[character]), abs=1e-4)
        assert len(split.labels) == len(split.values)


def test_an_ablated_head_contributes_nothing_and_the_rest_still_adds_up(tiny_model, seen):
    with torch.no_grad():
        tiny_model.blocks[1].attn.project.weight[:, 8:] = 0  # the output of head 1 in layer 1
    after = score_parts(inspect(tiny_model, seen.ids), 5, 4)
    values = dict(zip(after.labels, after.values.tolist(), strict=True))
    assert values["head", 1, 1] == 0
    assert values["head", 1, 0] != 0
    assert after.total == pytest.approx(after.score, abs=1e-4)


def test_adding_the_same_to_all_channels_changes_no_contribution(tiny_model, seen):
    """LayerNorm subtracts the mean, so only differences between channels count."""
    before = score_parts(seen, 5, 4)
    with torch.no_grad():
        tiny_model.blocks[1].ffn.project.bias.add_(100)
    after = score_parts(inspect(tiny_model, seen.ids), 5, 4)
    assert torch.allclose(after.values, before.values, atol=1e-3)


def test_the_lens_on_the_last_state_predicts_as_the_model_does(tiny_model, seen):
    own = predict(tiny_model, torch.tensor(IDS), 3)
    through = lens(seen, torch.tensor(IDS[1:]), 3)
    assert through.losses.shape == (5, 8)
    assert torch.allclose(through.losses[-1], own.losses, atol=1e-5)
    assert torch.equal(through.ranks[-1], own.ranks)
    assert torch.equal(through.guesses[-1], own.guesses)


@pytest.mark.parametrize("state", [0, 2, 4])
def test_the_lens_predicts_as_a_model_of_fewer_layers_would(tiny_model, seen, state):
    tiny_model.blocks = tiny_model.blocks[: state // 2]
    own = predict(tiny_model, torch.tensor(IDS), 3)
    through = lens(seen, torch.tensor(IDS[1:]), 3)
    assert torch.allclose(through.losses[state], own.losses, atol=1e-5)
    assert torch.equal(through.guesses[state], own.guesses)


def test_contributions_add_up_at_the_size_of_the_textbook_run(tiny_config):
    config = replace(tiny_config, vocab_size=65, block_size=64, n_layer=6, n_head=6, n_embd=384)
    model = GPT(config, torch.Generator().manual_seed(0))
    seen = inspect(model, torch.arange(64))
    for character in range(65):
        split = score_parts(seen, 63, character)
        assert split.total == pytest.approx(split.score, abs=1e-4)
