"""Optimizers step as torch's own and as by hand; the learning rate from first step to last."""

import copy
import io
import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import LambdaLR

from zigpt.gpt.config import TrainConfig
from zigpt.training.optim import (
    AdamW,
    Muon,
    build_optimizers,
    learning_rate_at,
    named_state,
    orthogonalise,
)

COSINE = TrainConfig(
    learning_rate=1e-2, final_learning_rate=1e-3, warmup_steps=10, max_steps=110, beta2=0.95
)

# Peak, final rate as a share of it, warm-up steps, steps after them. Configs are built in the tests
# and not in the strategy: the type checks of the test run draw random numbers, which hypothesis
# forbids there.
shapes = st.tuples(
    st.floats(1e-6, 10), st.floats(1e-3, 1), st.integers(0, 300), st.integers(1, 1000)
)


def schedule(shape: tuple[float, float, int, int]) -> TrainConfig:
    peak, share, warmup, rest = shape
    return TrainConfig(
        learning_rate=peak,
        final_learning_rate=peak * share,
        warmup_steps=warmup,
        max_steps=warmup + rest,
    )


def give_gradients(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def make_step(model, optimizers, seed):
    """One step with gradients that depend on the seed alone."""
    give_gradients(model, seed)
    for optimizer in optimizers:
        optimizer.step()


def all_equal(one, other):
    return all(map(torch.equal, one.parameters(), other.parameters()))


def names_of(optimizer, model):
    return {key.rpartition(".")[0] for key in named_state([optimizer], model)}


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_every_parameter_has_exactly_one_optimizer(tiny_model, kind):
    optimizers = build_optimizers(tiny_model, TrainConfig(optimizer=kind))
    held = [name for optimizer in optimizers for name in names_of(optimizer, tiny_model)]
    assert sorted(held) == sorted(name for name, _ in tiny_model.named_parameters())


def test_muon_has_the_matrices_inside_the_blocks_and_no_others(tiny_model):
    optimizers = build_optimizers(tiny_model, TrainConfig(optimizer="muon"))
    held = set().union(*(names_of(o, tiny_model) for o in optimizers if isinstance(o, Muon)))
    for name, parameter in tiny_model.named_parameters():
        assert (name in held) == (name.startswith("blocks.") and parameter.dim() == 2), name


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_step_without_gradient_only_shrinks_the_matrices(tiny_model, kind):
    before = {name: p.detach().clone() for name, p in tiny_model.named_parameters()}
    for parameter in tiny_model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    config = TrainConfig(optimizer=kind, learning_rate=0.1, weight_decay=0.5)
    for optimizer in build_optimizers(tiny_model, config):
        optimizer.step()
    for name, parameter in tiny_model.named_parameters():
        kept = 1 - 0.1 * 0.5 if parameter.dim() > 1 else 1.0
        assert torch.allclose(parameter, before[name] * kept, rtol=1e-6), name


def test_adamw_steps_as_torchs_own_does_bit_for_bit(tiny_model):
    twin = copy.deepcopy(tiny_model)
    matrices = [p for p in twin.parameters() if p.dim() >= 2]
    vectors = [p for p in twin.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    theirs = torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.95), fused=True)
    ours = build_optimizers(
        tiny_model, TrainConfig(learning_rate=3e-3, weight_decay=0.1, beta2=0.95)
    )
    for seed in range(4):
        make_step(tiny_model, ours, seed)
        make_step(twin, [theirs], seed)
    assert all_equal(tiny_model, twin)


def test_three_steps_are_adamw_by_hand():
    gain = torch.nn.Parameter(torch.ones(5))
    optimizer = AdamW([{"params": [gain]}], lr=1e-2, beta2=0.95)
    value, moment, square = gain.detach().clone(), 0.0, 0.0
    for step, gradient in enumerate([2.0, -1.0, 0.5], start=1):
        gain.grad = torch.full_like(gain, gradient)
        optimizer.step()
        moment = 0.9 * moment + 0.1 * gradient
        square = 0.95 * square + 0.05 * gradient**2
        size = (moment / (1 - 0.9**step)) / (math.sqrt(square / (1 - 0.95**step)) + 1e-8)
        value -= 1e-2 * size
        assert torch.allclose(gain, value, atol=1e-7)


@pytest.mark.parametrize("shape", [(8, 8), (8, 32), (1, 8)])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_orthogonalised_matrices_keep_their_directions_and_lose_their_sizes(shape, precision):
    matrices = torch.randn(5, *shape, generator=torch.Generator().manual_seed(0))
    left, sizes, right = torch.linalg.svd(matrices, full_matrices=False)
    matrices = left @ torch.diag_embed(sizes.clamp(min=0.3)) @ right  # near 0 they may stay there
    result = orthogonalise(1e-4 * matrices, precision)
    sizes = torch.linalg.svdvals(result)
    assert 0.6 < float(sizes.min()) <= float(sizes.max()) < 1.3
    similarity = torch.nn.functional.cosine_similarity(result.flatten(1), (left @ right).flatten(1))
    assert float(similarity.min()) > 0.95


def muon(parameters, lr, stacked=1):
    return Muon(parameters, [stacked] * len(parameters), lr, 0.0, torch.float32)


def test_matrices_that_share_a_parameter_are_orthogonalised_separately():
    packed = torch.nn.Parameter(torch.zeros(12, 4))
    packed.grad = torch.zeros_like(packed)
    packed.grad[:4] = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    muon([packed], 0.1, stacked=3).step()
    assert float(packed[:4].detach().square().mean().sqrt()) == pytest.approx(0.2 * 0.1, rel=0.2)
    assert (packed[4:] == 0).all()


def test_muons_momentum_looks_ahead():
    """Two gradients by hand: the direction is 0.05 g + 0.95 m, where m averages both."""
    parameter = torch.nn.Parameter(torch.zeros(6, 6))
    optimizer = muon([parameter], 1.0)
    generator = torch.Generator().manual_seed(1)
    first, second = (torch.randn(6, 6, generator=generator) for _ in range(2))
    parameter.grad = first.clone()
    optimizer.step()
    before = parameter.detach().clone()
    parameter.grad = second.clone()
    optimizer.step()
    momentum = 0.95 * 0.05 * first + 0.05 * second
    expected = orthogonalise((0.05 * second + 0.95 * momentum)[None], torch.float32)[0]
    torch.testing.assert_close(
        before - parameter.detach(), 0.2 * math.sqrt(6) * expected, rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("shape", [(16, 16), (8, 32), (32, 8)])
def test_muon_steps_as_torchs_own_does(shape):
    """torch's always computes in bfloat16."""
    ours, theirs = (torch.nn.Parameter(torch.ones(shape)) for _ in range(2))
    mine = Muon([ours], [1], 0.1, 0.5, torch.bfloat16)
    other = torch.optim.Muon([theirs], 0.1, 0.5, adjust_lr_fn="match_rms_adamw")
    generator = torch.Generator().manual_seed(5)
    for _ in range(3):
        ours.grad = torch.randn(shape, generator=generator)
        theirs.grad = ours.grad.clone()
        mine.step()
        other.step()
    moved = (1 - ours.detach()).norm()
    assert float((ours - theirs).detach().norm() / moved) < 0.01


def test_a_closure_is_called_with_gradients_and_its_loss_returned(tiny_model):
    optimizer, *_ = build_optimizers(tiny_model, TrainConfig())

    def closure():
        loss = sum((parameter**2).sum() for parameter in tiny_model.parameters())
        loss.backward()
        return loss.detach()

    assert optimizer.step(closure) > optimizer.step(closure)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_torchs_schedulers_drive_our_optimizers(tiny_model, kind):
    optimizers = build_optimizers(tiny_model, TrainConfig(optimizer=kind, weight_decay=0.5))
    schedulers = [LambdaLR(optimizer, lambda step: float(step < 2)) for optimizer in optimizers]
    moves = []
    for step in range(4):
        before = copy.deepcopy(tiny_model)
        make_step(tiny_model, optimizers, step)
        moves.append(not all_equal(tiny_model, before))
        for scheduler in schedulers:
            scheduler.step()
    assert moves == [True, True, False, False]


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_state_saved_and_loaded_by_torch_makes_the_same_next_steps(tiny_model, kind):
    config = TrainConfig(optimizer=kind, learning_rate=0.01)
    original = build_optimizers(tiny_model, config)
    for step in range(2):
        make_step(tiny_model, original, step)
    twin = copy.deepcopy(tiny_model)
    other_options = TrainConfig(optimizer=kind, learning_rate=1.0, weight_decay=0.5, beta2=0.5)
    loaded = build_optimizers(twin, other_options)
    for optimizer, restored in zip(original, loaded, strict=True):
        torch.save(optimizer.state_dict(), file := io.BytesIO())
        file.seek(0)
        restored.load_state_dict(torch.load(file, weights_only=True))
    for step in range(2, 4):
        make_step(tiny_model, original, step)
        make_step(twin, loaded, step)
    assert all_equal(tiny_model, twin)


def test_a_group_added_later_steps_with_options_of_its_own():
    first, later = (torch.nn.Parameter(torch.ones(4)) for _ in range(2))
    optimizer = AdamW([{"params": [first]}], lr=0.1, beta2=0.9)
    optimizer.add_param_group({"params": [later], "lr": 0.2})
    first.grad, later.grad = torch.ones(4), torch.ones(4)
    optimizer.step()
    assert torch.allclose(1 - first, torch.full((4,), 0.1))
    assert torch.allclose(1 - later, torch.full((4,), 0.2))
    with pytest.raises(ValueError, match="more than one parameter group"):
        optimizer.add_param_group({"params": [first]})


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_parameter_without_gradient_stays_as_it_is(tiny_model, kind):
    frozen = ["head.weight", "ln_f.bias", "blocks.0.attn.qkv.weight"]
    before = {name: tiny_model.get_parameter(name).detach().clone() for name in frozen}
    give_gradients(tiny_model, 0)
    for name in frozen:
        tiny_model.get_parameter(name).grad = None
    for optimizer in build_optimizers(tiny_model, TrainConfig(optimizer=kind, weight_decay=0.5)):
        optimizer.step()
    assert all(torch.equal(tiny_model.get_parameter(name), before[name]) for name in frozen)


def test_no_compiler_is_loaded_to_build_an_optimizer_or_to_step():
    program = """
import sys, torch
from zigpt.training.optim import AdamW, Muon
weight = torch.nn.Parameter(torch.ones(4, 4))
weight.grad = torch.ones(4, 4)
AdamW([{"params": [weight]}], 0.1, 0.9).step()
Muon([weight], [1], 0.1, 0.0, torch.float32).step()
print("torch._dynamo" in sys.modules)
"""
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "False\n"


def test_matrices_that_go_through_together_move_as_they_would_alone():
    shapes = [(24, 8), (24, 8), (8, 8), (24, 72), (8, 24)]  # of each third; two of them are tall
    shapes = [(3 * rows, columns) for rows, columns in shapes]
    gradients = [
        torch.randn(*shape, generator=torch.Generator().manual_seed(i))
        for i, shape in enumerate(shapes)
    ]

    def moved(chosen):
        parameters = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in chosen]
        for parameter, gradient in zip(parameters, chosen, strict=True):
            parameter.grad = gradient.clone()
        muon(parameters, 0.1, stacked=3).step()
        return [parameter.detach() for parameter in parameters]

    for gradient, other in zip(gradients, moved(gradients), strict=True):
        torch.testing.assert_close(moved([gradient])[0], other)


@given(step=st.integers(0, 10_000), rate=st.floats(1e-6, 10))
def test_without_warm_up_and_decay_the_rate_is_exactly_constant(step, rate):
    config = TrainConfig(learning_rate=rate, final_learning_rate=rate, warmup_steps=0)
    assert learning_rate_at(step, config) == rate


@given(shape=shapes)
def test_warm_up_rises_linearly_from_the_first_step_to_the_peak(shape):
    config = schedule(shape)
    for step in range(config.warmup_steps):
        expected = config.learning_rate * (step + 1) / config.warmup_steps
        assert learning_rate_at(step, config) == pytest.approx(expected)
    assert learning_rate_at(config.warmup_steps, config) == pytest.approx(config.learning_rate)


@given(shape=shapes, data=st.data())
def test_later_steps_never_raise_the_rate(shape, data):
    config = schedule(shape)
    step = data.draw(st.integers(config.warmup_steps, config.max_steps))
    here, next_ = learning_rate_at(step, config), learning_rate_at(step + 1, config)
    assert next_ <= here * (1 + 1e-12)
    assert config.final_learning_rate * (1 - 1e-9) <= next_ <= config.learning_rate * (1 + 1e-9)


@given(shape=shapes, later=st.integers(0, 10_000))
def test_the_cosine_ends_at_the_final_rate_and_stays_there(shape, later):
    config = schedule(shape)
    final = pytest.approx(config.final_learning_rate, rel=1e-9)
    assert learning_rate_at(config.max_steps + later, config) == final


@given(shape=shapes)
def test_the_rate_falls_along_half_a_cosine(shape):
    peak, share, warmup, rest = shape
    config = schedule((peak, share, warmup, 4 * rest))
    middle, swing = peak * (1 + share) / 2, peak * (1 - share) / 2
    for quarter, height in enumerate([1.0, math.sqrt(0.5), 0.0, -math.sqrt(0.5), -1.0]):
        rate = learning_rate_at(warmup + quarter * rest, config)
        assert rate == pytest.approx(middle + swing * height, rel=1e-6)


@given(shape=shapes, decay=st.integers(1, 1000), later=st.integers(0, 1000))
def test_until_it_falls_the_rate_is_at_its_peak_and_the_end_may_still_be_moved(shape, decay, later):
    config = replace(schedule(shape), decay_steps=decay)
    moved = replace(config, max_steps=config.max_steps + later)
    start = config.max_steps - decay
    for step in range(config.warmup_steps, start + 1, 17):
        assert learning_rate_at(step, config) == pytest.approx(config.learning_rate)
    for step in range(0, start, 17):
        assert learning_rate_at(step, config) == learning_rate_at(step, moved)
    if config.final_learning_rate < 0.9 * config.learning_rate:
        assert learning_rate_at(config.max_steps, config) < config.learning_rate


def test_the_rate_is_never_zero():
    assert min(learning_rate_at(step, COSINE) for step in range(200)) == pytest.approx(1e-3)


def test_a_run_that_is_all_warm_up_still_has_a_rate_for_every_step():
    config = TrainConfig(learning_rate=1.0, final_learning_rate=0.5, warmup_steps=5, max_steps=5)
    rates = [learning_rate_at(step, config) for step in range(5)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert learning_rate_at(5, config) == pytest.approx(1.0)
