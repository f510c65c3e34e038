"""The cost of a run: arithmetic over a measured step, filled budgets, estimated memory."""

import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.texts import story
from zigpt.data.batches import Corpus
from zigpt.errors import OutOfMemoryError
from zigpt.gpt.config import GPTConfig, TrainConfig, configure
from zigpt.gpt.model import GPT, next_character_loss
from zigpt.training import plan as planning
from zigpt.training.device import autocast, micro_batch_size, pick_precision
from zigpt.training.loop import TrainState, train
from zigpt.training.optim import learning_rate_at
from zigpt.training.plan import (
    Plan,
    activation_bytes,
    change_rest,
    fit_to_seconds,
    make_plan,
    memory_bytes,
    move_end,
    require_memory,
    time_step,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
MODEL = GPTConfig(vocab_size=30, block_size=16, n_layer=2, n_head=2, n_embd=32, dropout=0.0)
TRAINING = TrainConfig(
    batch_size=4, warmup_steps=50, max_steps=100, eval_interval=20, eval_chars=320
)
TEXT = Corpus.from_text(story(2000))  # 1,800 characters to learn from, 200 for validation


@pytest.fixture
def measured(monkeypatch):
    """Let every step take a given number of seconds on any machine."""

    def steps_take(seconds: float) -> None:
        monkeypatch.setattr(planning, "time_step", lambda *_: seconds)

    return steps_take


def test_a_plan_is_arithmetic_over_the_measured_step(measured):
    measured(0.75)
    plan = make_plan(MODEL, TRAINING, TEXT, CPU)
    assert plan.parameters == sum(p.numel() for p in GPT(MODEL).parameters())
    assert plan.memory_bytes == memory_bytes(MODEL, TRAINING, CPU, TEXT.length)
    assert plan.steps == 100
    assert plan.seconds_per_step == 0.75
    assert plan.epochs == 100 * 4 * 16 / 1800
    assert plan.evaluations == 6  # at 0, 20, 40, 60, 80 and 100
    # An evaluation scores 320 train and all 200 validation characters, forwards only: a third of
    # a step's work.
    assert plan.seconds_per_evaluation == pytest.approx(0.75 / 3 * (320 + 200) / 64)
    # The exact loss scores the 200 once; a second is left for the picture and the last text.
    assert plan.seconds_at_end == pytest.approx(0.75 / 3 * 200 / 64 + 1)
    at_intervals = 6 * plan.seconds_per_evaluation
    assert plan.seconds == pytest.approx(100 * 0.75 + at_intervals + plan.seconds_at_end)


def test_the_end_is_part_of_the_time(measured):
    measured(0.01)
    plan = make_plan(MODEL, TRAINING, TEXT, CPU)
    config = fit_to_seconds(TRAINING, 3.0, plan)
    assert 2.5 < plan.of(config).seconds <= 3.0


def test_no_more_characters_are_scored_than_the_text_has(measured):
    measured(1.0)
    plan = make_plan(MODEL, replace(TRAINING, eval_chars=10**9), TEXT, CPU)
    assert plan.seconds_per_evaluation == pytest.approx(1 / 3 * 2000 / 64)


def test_one_epoch_reads_as_many_characters_as_the_train_split_has(measured):
    measured(1.0)
    corpus = Corpus.from_text("ab" * 640)  # 1,152 to learn from: 18 steps of 4 windows of 16
    plan = make_plan(MODEL, replace(TRAINING, max_steps=18), corpus, CPU)
    assert plan.epochs == 1.0


@pytest.mark.parametrize(
    ("max_steps", "interval"),
    [
        (6, 2),
        (6, 6),
        (5, 1),
        (6, 4),
        (3, 10),
    ],
)
def test_the_planned_evaluations_are_those_that_training_makes(measured, max_steps, interval):
    measured(1.0)
    config = replace(TRAINING, max_steps=max_steps, eval_interval=interval)
    model = replace(MODEL, vocab_size=TEXT.tokenizer.vocab_size, n_layer=1, n_embd=4)
    evaluations = sum(
        p.evaluation is not None for p in train(TrainState.initialise(model, config, CPU), TEXT)
    )
    assert make_plan(model, config, TEXT, CPU).evaluations == evaluations


class Clock:
    """Time that passes only in training steps."""

    def __init__(self, durations: Sequence[float]) -> None:
        self.now, self.durations = 0.0, durations
        self.steps: list[Any] = []

    def perf_counter(self):
        return self.now

    def train_step(self, state, inputs, targets):
        self.now += self.durations[len(self.steps)]
        self.steps.append((state, inputs, targets))
        return 1.0


@pytest.fixture
def clock(monkeypatch):
    def make(*durations):
        clock = Clock(durations)
        monkeypatch.setattr(planning, "time", clock)
        monkeypatch.setattr(planning, "train_step", clock.train_step)
        return clock

    return make


def test_the_fastest_step_but_the_first_counts(clock):
    clock(0.1, 0.5, 0.25, 0.75, 0.5)
    assert time_step(MODEL, TRAINING, TEXT, CPU) == 0.25


def test_three_steps_are_timed_however_slow_and_then_until_the_budget_is_spent(clock):
    slow = clock(10, 9, 8, 7)
    time_step(MODEL, TRAINING, TEXT, CPU, budget=2.0)
    assert len(slow.steps) == 3
    quick = clock(*[0.125] * 99)
    time_step(MODEL, TRAINING, TEXT, CPU, budget=2.0)
    assert len(quick.steps) == 16


def test_a_step_of_many_micro_batches_is_timed_by_one_of_them(clock):
    model, config = replace(MODEL, block_size=128, n_embd=1024), replace(TRAINING, batch_size=48)
    assert micro_batch_size(48, 128, 1024, CPU) == 16
    watch = clock(1.0, 1.0, 1.0)
    assert time_step(model, config, TEXT, CPU, budget=0.0) == 3.0
    assert {tuple(inputs.shape) for _, inputs, _ in watch.steps} == {(16, 128)}


def test_the_real_model_is_timed_on_the_real_text(clock):
    watch = clock(1.0, 1.0, 1.0)
    time_step(MODEL, TRAINING, TEXT, CPU, budget=0.0)
    state, inputs, targets = watch.steps[0]
    expected = TEXT.batch(0, 4, 16, TRAINING.seed)
    assert state.model.config == MODEL
    # The same work, with a learning rate too small to diverge.
    assert 0 < state.config.learning_rate < 1e-6
    assert replace(TRAINING, learning_rate=1e-9, final_learning_rate=1e-9) == state.config
    assert inputs.tolist() == expected[0].tolist()
    assert targets.tolist() == expected[1].tolist()


def test_a_step_is_measured_for_real():
    assert 0 < time_step(MODEL, TRAINING, TEXT, CPU, budget=0.01) < 1


@pytest.mark.parametrize("preset", ["tiny", "laptop", "gpu"])
@pytest.mark.parametrize("name", ["n_layer", "vocab_size", "block_size", "batch_size", "n_embd"])
def test_memory_grows_with_every_size(preset, name):
    model, training = configure(65, preset, {})
    sizes = []
    for factor in (1, 2, 3):
        if name == "batch_size":
            pair = model, replace(training, batch_size=factor * training.batch_size)
        else:
            pair = replace(model, **{name: factor * getattr(model, name)}), training
        sizes.append(memory_bytes(*pair, CUDA))
    assert sizes[0] < sizes[1] < sizes[2]


def without_activations(model: GPTConfig) -> int:
    one, two = (memory_bytes(model, replace(TRAINING, batch_size=b), CUDA) for b in (1, 2))
    return 2 * one - two


def test_weights_gradient_and_two_moments_are_sixteen_bytes_a_parameter():
    small, large = MODEL, replace(MODEL, n_layer=5, vocab_size=999, n_embd=64)
    grown = without_activations(large) - without_activations(small)
    assert grown == 16 * (large.n_parameters - small.n_parameters)


def test_a_checkpoint_is_packed_in_memory_and_may_need_more_than_a_step():
    wide = replace(MODEL, n_embd=512, block_size=16)
    config = replace(TRAINING, precision="float32")  # in bfloat16 a CPU keeps more of attention
    step, whole = activation_bytes(wide, config, CPU), memory_bytes(wide, config, CPU)
    assert whole - memory_bytes(wide, config, CUDA) == 20 * wide.n_parameters - step > 0


def test_a_text_counts_until_it_is_so_large_that_its_ids_are_on_disk():
    of = [memory_bytes(MODEL, TRAINING, CPU, n) for n in (0, 10**6, 10**8, 10**9)]
    assert of[1] - of[0] == 4 * 10**6
    assert of[0] < of[1] < of[2] == of[3]


def test_even_the_smallest_model_needs_the_memory_of_python_and_torch():
    smallest = GPTConfig(vocab_size=2, block_size=1, n_layer=1, n_head=1, n_embd=1)
    assert 200 << 20 < memory_bytes(smallest, TRAINING, CPU) < 1 << 30


def test_on_a_cpu_only_one_micro_batch_is_in_memory_at_a_time():
    model = replace(MODEL, block_size=128, n_embd=1024)
    assert micro_batch_size(64, 128, 1024, CPU) == 16
    of = {b: replace(TRAINING, batch_size=b) for b in (16, 64)}
    grown = activation_bytes(model, of[64], CPU) - activation_bytes(model, of[16], CPU)
    assert grown == 16 * 48 * 128  # the windows themselves: ids, and their positions in the text
    assert memory_bytes(model, of[64], CUDA) > memory_bytes(model, of[16], CUDA)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("n_layer", [1, 4])
@pytest.mark.parametrize("vocab_size", [65, 3000])
@pytest.mark.parametrize(("block_size", "batch_size"), [(64, 8), (256, 4), (1024, 1)])
def test_activations_are_estimated_close_to_what_autograd_keeps(
    precision, n_layer, vocab_size, block_size, batch_size
):
    model = GPTConfig(vocab_size, block_size, n_layer, 4, 64, dropout=0.0)
    kept: dict[int, int] = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    gpt, ids = GPT(model), torch.zeros(batch_size, block_size, dtype=torch.int64)
    weights = {p.untyped_storage().data_ptr() for p in gpt.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with autocast(CPU, pick_precision(CPU, precision)):
            logits = gpt(ids)
        loss = next_character_loss(logits.float(), ids)  # keeps them alive
    real = sum(size for place, size in kept.items() if place not in weights)
    assert loss.requires_grad
    config = replace(TRAINING, batch_size=batch_size, precision=precision)
    estimate = activation_bytes(model, config, CPU)
    # Never much less; more where logits are large, whose gradients the backward pass needs as well.
    assert 0.9 * real < estimate < 2.7 * real


def test_a_training_that_just_fits_is_accepted_and_with_one_byte_less_refused(monkeypatch):
    needed = memory_bytes(MODEL, TRAINING, CPU)
    monkeypatch.setattr(planning, "_total_memory", lambda device: needed)
    require_memory(MODEL, TRAINING, CPU)
    monkeypatch.setattr(planning, "_total_memory", lambda device: needed - 1)
    with pytest.raises(OutOfMemoryError):
        require_memory(MODEL, TRAINING, CPU)


def test_a_training_that_does_not_fit_is_refused_word_for_word(monkeypatch):
    monkeypatch.setattr(planning, "_total_memory", lambda device: 8.0 * 2**30)
    model = GPTConfig(vocab_size=65, block_size=256, n_layer=48, n_head=25, n_embd=1600)
    needed = memory_bytes(model, TRAINING, CPU) / 2**30
    with pytest.raises(OutOfMemoryError) as refusal:
        require_memory(model, TRAINING, CPU)
    assert str(refusal.value) == (
        f"{model.n_parameters:,} parameters do not fit into 8 GB of memory\n"
        f"why: this run needs about {needed:,.3g} GB\n"
        "fix: lower `n_embd`, `n_layer`, `block_size` or `batch_size`, or use the `preset` laptop"
    )
    assert refusal.value.exit_code == 7


def test_the_memory_of_a_gpu_is_that_of_the_chosen_one(monkeypatch):
    def properties(device):
        assert device == torch.device("cuda:1")
        return SimpleNamespace(total_memory=memory_bytes(MODEL, TRAINING, CUDA) - 1)

    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    with pytest.raises(OutOfMemoryError):
        require_memory(MODEL, TRAINING, torch.device("cuda:1"))


def test_the_memory_of_a_cpu_is_all_that_the_machine_has(monkeypatch):
    pages = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": memory_bytes(MODEL, TRAINING, CPU) // 1000}
    monkeypatch.setattr(os, "sysconf_names", dict.fromkeys(pages, 0))
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    with pytest.raises(OutOfMemoryError):
        require_memory(MODEL, TRAINING, CPU)
    pages["SC_PHYS_PAGES"] += 1
    require_memory(MODEL, TRAINING, CPU)


def test_a_machine_that_does_not_report_its_memory_is_trusted(monkeypatch):
    huge = replace(MODEL, n_layer=10**6)
    with pytest.raises(OutOfMemoryError):
        require_memory(huge, TRAINING, CPU)
    monkeypatch.setattr(os, "sysconf_names", {})
    require_memory(huge, TRAINING, CPU)


def spent(config: TrainConfig, per_step: float, per_evaluation: float) -> float:
    """Seconds of a whole training: evaluations at 0, at every interval and at the end."""
    evaluations = 1 + -(-config.max_steps // config.eval_interval)
    return config.max_steps * per_step + evaluations * per_evaluation


@pytest.fixture
def machine():
    """Plan with given costs, and return the config that fits."""

    def fit(minutes, per_step, per_evaluation, config=TRAINING):
        plan = Plan(0, 0, config.max_steps, 1.0, per_step, 1, per_evaluation)
        return fit_to_seconds(config, 60 * minutes, plan)

    return fit


BUDGETS = [
    (3.0, 0.1, 0.2),
    (60.0, 0.5, 2.0),
    (1.0, 0.001, 0.002),
    (3.0, 0.12, 0.0),
    (600.0, 3.0, 20.0),
]


@pytest.mark.parametrize(("minutes", "per_step", "per_evaluation"), BUDGETS)
def test_the_budget_is_filled_and_not_exceeded(machine, minutes, per_step, per_evaluation):
    config = machine(minutes, per_step, per_evaluation)
    assert 0.9 * 60 * minutes < spent(config, per_step, per_evaluation) <= 60 * minutes


def test_a_short_budget_is_not_exceeded_either(machine):
    # A step of 0.12 s, an evaluation of 0.8 s every 100 steps: as measured on a laptop.
    config = replace(TRAINING, eval_interval=100, max_steps=1500)
    assert spent(machine(0.5, 0.12, 0.8, config), 0.12, 0.8) <= 30


@pytest.mark.parametrize(("minutes", "per_evaluation"), [(1.0, 3.0), (1.2, 3.0), (5.8, 25.0)])
def test_a_budget_of_few_steps_is_not_exceeded_by_its_evaluations(machine, minutes, per_evaluation):
    for per_step in (0.01 * i for i in range(60, 300)):
        config = machine(minutes, per_step, per_evaluation)
        assert config.max_steps == 10 or spent(config, per_step, per_evaluation) <= 60 * minutes


@pytest.mark.parametrize("minutes", [0.0, 0.001, -5.0])
def test_ten_steps_are_made_however_short_the_time(machine, minutes):
    config = machine(minutes, 5.0, 5.0)
    assert (config.max_steps, config.warmup_steps, config.eval_interval) == (10, 1, 4)


def test_in_a_few_seconds_there_are_fewer_evaluations_than_ten(machine):
    # As measured: a step of 27 ms, an evaluation of 150 ms.
    config = machine(0.1, 0.027, 0.15, replace(TRAINING, eval_interval=80))
    assert config.eval_interval == 23  # the steps between two take four times as long as one
    assert 0.9 * 6 < spent(config, 0.027, 0.15) <= 6


def test_time_decides_the_steps_and_the_schedule_is_fitted_to_them(machine):
    short, long = machine(1.0, 0.5, 0.0), machine(100.0, 0.5, 0.0)
    for config in (short, long):
        assert config.warmup_steps == min(50, config.max_steps // 10)
        assert config.eval_interval == min(20, -(-config.max_steps // 10))
    assert (short.warmup_steps, short.eval_interval) == (12, 12)
    assert (long.warmup_steps, long.eval_interval) == (50, 20)


def test_only_the_schedule_is_changed(machine):
    before, after = asdict(TRAINING), asdict(machine(3.0, 0.1, 0.2))
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {"max_steps", "warmup_steps", "decay_steps", "eval_interval"}


def test_the_number_of_steps_configured_before_does_not_matter(machine):
    one, other = (machine(3.0, 0.1, 0.2, replace(TRAINING, max_steps=n)) for n in (60, 9999))
    assert one == other


def test_a_plan_of_other_settings_has_the_same_costs(measured):
    measured(0.5)
    plan, longer = make_plan(MODEL, TRAINING, TEXT, CPU), replace(TRAINING, max_steps=250)
    assert asdict(plan.of(longer)) == pytest.approx(asdict(make_plan(MODEL, longer, TEXT, CPU)))


@pytest.mark.parametrize("decay_steps", [0, 40])
@pytest.mark.parametrize("step", [11, 45, 59, 60, 61, 75, 99])
@pytest.mark.parametrize("steps_left", [1, 20, 70, 400])
def test_the_end_is_moved_without_a_jump_of_the_rate(decay_steps, step, steps_left):
    config = replace(
        TRAINING, warmup_steps=10, decay_steps=decay_steps, learning_rate=1.0,
        final_learning_rate=1e-3,
    )  # fmt: skip
    moved = move_end(config, step, steps_left)
    assert moved.max_steps == step + steps_left
    rates = [learning_rate_at(n, moved) for n in range(step, moved.max_steps + 1)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(1e-3)
    # As high as before; the rounding is less than a step of the fall.
    has_fallen = step > 100 - (decay_steps or 90)
    steepest = math.pi / 2 / moved.decay_steps
    assert rates[0] == pytest.approx(learning_rate_at(step, config), abs=steepest)
    if not has_fallen:
        assert moved.decay_steps == pytest.approx(min(0.4 * moved.max_steps, steps_left), abs=1)


def test_moving_the_end_again_and_again_keeps_the_fall_smooth():
    config = replace(TRAINING, warmup_steps=0, decay_steps=60, max_steps=1000)
    config = replace(config, learning_rate=1.0, final_learning_rate=1e-6)
    rates, step = [], 0
    while step < config.max_steps:
        rates.append(learning_rate_at(step, config))
        step += 1
        if step % 7 == 0 and step < config.max_steps:
            config = move_end(config, step, max(1, config.max_steps - step + (step % 3 - 1) * 3))
    assert max(abs(a - b) for a, b in itertools.pairwise(rates)) < 3 * math.pi / 2 / 60
    assert rates[-1] < 0.05


@pytest.mark.parametrize("decay_steps", [0, 40])
@pytest.mark.parametrize("step", [11, 59, 61, 99, 100])
class TestChangingTheRest:
    def config(self, decay_steps):
        return replace(
            TRAINING, warmup_steps=10, decay_steps=decay_steps, learning_rate=1.0,
            final_learning_rate=1e-3,
        )  # fmt: skip

    @pytest.mark.parametrize("max_steps", [90, 101, 150, 1000])
    def test_with_more_or_fewer_steps_the_rate_never_rises(self, decay_steps, step, max_steps):
        config = self.config(decay_steps)
        changed = change_rest(config, step, {"max_steps": max_steps})
        rates = [learning_rate_at(n, changed) for n in range(step, max_steps)]
        assert changed.max_steps == max_steps
        assert rates == sorted(rates, reverse=True)
        if rates:
            steepest = math.pi / 2 / changed.decay_steps if step < 100 else 0
            assert rates[0] == pytest.approx(learning_rate_at(step, config), abs=steepest)
            assert learning_rate_at(max_steps, changed) == pytest.approx(1e-3)

    @pytest.mark.parametrize("rate", [1e-4, 0.5, 3.0])
    def test_another_rate_counts_from_the_next_step_on(self, decay_steps, step, rate):
        changed = change_rest(
            self.config(decay_steps), step, {"max_steps": 150, "learning_rate": rate}
        )
        rates = [learning_rate_at(n, changed) for n in range(step, 151)]
        assert rates == sorted(rates, reverse=True)
        assert rates[0] == pytest.approx(rate)
        assert rates[-1] == pytest.approx(min(rate, 1e-3))

    def test_other_settings_leave_the_schedule_alone(self, decay_steps, step):
        config = self.config(decay_steps)
        assert change_rest(config, step, {"patience": 3}) == replace(config, patience=3)
