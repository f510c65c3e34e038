"""What decays and what does not; the learning rate from the first step to the last."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zigpt.config import TrainConfig
from zigpt.optim import build_optimizer, learning_rate, set_learning_rate

CONSTANT = TrainConfig(learning_rate=3e-4, final_learning_rate=3e-4, warmup_steps=0)
COSINE = TrainConfig(
    learning_rate=1e-2, final_learning_rate=1e-3, warmup_steps=10, max_steps=110, beta2=0.95
)

# Peak, final share of it, warm-up steps and steps after it. Built in the test, not in the strategy:
# the type checks of the test run draw random numbers, which hypothesis forbids there.
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


def test_the_groups_hold_every_parameter_exactly_once(tiny_model):
    optimizer = build_optimizer(tiny_model, CONSTANT)
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in tiny_model.parameters())


def test_matrices_decay_and_vectors_do_not(tiny_model):
    optimizer = build_optimizer(tiny_model, TrainConfig(weight_decay=0.25))
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    for name, parameter in tiny_model.named_parameters():
        is_vector = name.endswith("bias") or "ln_" in name
        assert decay[id(parameter)] == (0.0 if is_vector else 0.25), name


def test_a_step_without_gradient_only_shrinks_the_matrices(tiny_model):
    config = TrainConfig(learning_rate=0.1, final_learning_rate=0.1, weight_decay=0.5)
    before = {name: p.detach().clone() for name, p in tiny_model.named_parameters()}
    for parameter in tiny_model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    build_optimizer(tiny_model, config).step()
    for name, parameter in tiny_model.named_parameters():
        kept = 1 - 0.1 * 0.5 if parameter.dim() > 1 else 1.0
        assert torch.allclose(parameter, before[name] * kept, rtol=1e-6), name


def test_the_first_step_is_adamw_by_hand(tiny_model):
    optimizer = build_optimizer(tiny_model, COSINE)
    assert isinstance(optimizer, torch.optim.AdamW)
    gain = tiny_model.ln_f.weight
    value, moment, square = gain.detach().clone(), 0.0, 0.0
    for step, gradient in enumerate([2.0, -1.0, 0.5], start=1):
        tiny_model.zero_grad()
        gain.grad = torch.full_like(gain, gradient)
        optimizer.step()
        moment = 0.9 * moment + 0.1 * gradient
        square = 0.95 * square + 0.05 * gradient**2
        size = (moment / (1 - 0.9**step)) / (math.sqrt(square / (1 - 0.95**step)) + 1e-8)
        value -= 1e-2 * size
        assert torch.allclose(gain, value, atol=1e-7)


def test_a_new_rate_reaches_every_group(tiny_model):
    optimizer = build_optimizer(tiny_model, CONSTANT)
    set_learning_rate(optimizer, 0.0123)
    assert [group["lr"] for group in optimizer.param_groups] == [0.0123, 0.0123]


@given(step=st.integers(0, 10_000), rate=st.floats(1e-6, 10))
def test_without_warm_up_and_descent_the_rate_is_exactly_constant(step, rate):
    config = TrainConfig(learning_rate=rate, final_learning_rate=rate, warmup_steps=0)
    assert learning_rate(step, config) == rate


@given(shape=shapes)
def test_warm_up_rises_linearly_from_the_first_step_to_the_peak(shape):
    config = schedule(shape)
    for step in range(config.warmup_steps):
        expected = config.learning_rate * (step + 1) / config.warmup_steps
        assert learning_rate(step, config) == pytest.approx(expected)
    assert learning_rate(config.warmup_steps, config) == pytest.approx(config.learning_rate)


@given(shape=shapes, data=st.data())
def test_later_steps_never_raise_the_rate(shape, data):
    config = schedule(shape)
    step = data.draw(st.integers(config.warmup_steps, config.max_steps))
    here, next_ = learning_rate(step, config), learning_rate(step + 1, config)
    assert next_ <= here * (1 + 1e-12)
    assert config.final_learning_rate * (1 - 1e-9) <= next_ <= config.learning_rate * (1 + 1e-9)


@given(shape=shapes, later=st.integers(0, 10_000))
def test_the_cosine_ends_at_the_final_rate_and_stays_there(shape, later):
    config = schedule(shape)
    final = pytest.approx(config.final_learning_rate, rel=1e-9)
    assert learning_rate(config.max_steps + later, config) == final


@given(shape=shapes)
def test_the_way_down_is_half_a_cosine(shape):
    peak, share, warmup, rest = shape
    config = schedule((peak, share, warmup, 4 * rest))
    middle, swing = peak * (1 + share) / 2, peak * (1 - share) / 2
    for quarter, height in enumerate([1.0, math.sqrt(0.5), 0.0, -math.sqrt(0.5), -1.0]):
        rate = learning_rate(warmup + quarter * rest, config)
        assert rate == pytest.approx(middle + swing * height, rel=1e-6)


def test_the_rate_is_never_zero():
    assert min(learning_rate(step, COSINE) for step in range(200)) == pytest.approx(1e-3)


def test_a_run_that_is_all_warm_up_still_has_a_rate_for_every_step():
    config = TrainConfig(learning_rate=1.0, final_learning_rate=0.5, warmup_steps=5, max_steps=5)
    rates = [learning_rate(step, config) for step in range(5)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert learning_rate(5, config) == pytest.approx(1.0)
