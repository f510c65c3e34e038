"""What a run would cost on this machine, before it starts: parameters, memory, time.

Time is not guessed but measured, on a few steps of the same model, which are thrown away.
"""

import math
import time
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from zigpt.data.batches import Corpus
from zigpt.data.source import LARGEST_IN_MEMORY
from zigpt.errors import OutOfMemoryError
from zigpt.gpt.attention import weights_kept
from zigpt.gpt.config import GPTConfig, TrainConfig
from zigpt.language import tr
from zigpt.machine import usable_memory
from zigpt.training.device import micro_batch_size, pick_precision
from zigpt.training.loop import FINAL_CHARS, TrainState, train_step

_PROGRAM_BYTES = 400 << 20  # Python and torch themselves
_WINDOW_BYTES = 16  # for each character of a batch: its position in the text, and its id
_CHARACTER_BYTES = 4  # of a text: itself, and its id
_SAVED_BYTES = 20  # for each parameter, while a checkpoint is packed: weights and moments, twice
_LAYER_COPIES = 20  # vectors of width C kept per position and layer for the backward pass
_FORWARD_SHARE = 1 / 3  # of a step's arithmetic: the backward pass has twice as much
PICTURE = 1.0  # seconds for loss.png, the last text and for leaving
FEWEST_STEPS = 10  # of a training run, however short its time
_TIMES_EVALUATION = 4  # as long as an evaluation, at least, the steps between two should take


@dataclass(frozen=True)
class Plan:
    """The cost of training; times in seconds, if the machine stays as busy as it is now."""

    parameters: int
    memory_bytes: int
    steps: int
    epochs: float  # passes over the train split, on average
    seconds_per_step: float
    evaluations: int  # of the train and validation loss
    seconds_per_evaluation: float
    seconds_at_end: float = 0.0  # for the exact loss, the picture and the last text

    def of(self, config: TrainConfig) -> "Plan":
        """Plan another number of steps and evaluations, each as long as here."""
        return replace(
            self,
            steps=config.max_steps,
            epochs=self.epochs * config.max_steps / self.steps,
            evaluations=_evaluations(config),
        )

    def shared(self, processes: int) -> "Plan":
        """Plan the same for several processes, each on a processor of its own."""
        return replace(self, seconds_per_step=self.seconds_per_step / processes)

    @property
    def seconds(self) -> float:
        """The time of the whole training, and of what comes after its last step."""
        evaluating = self.evaluations * self.seconds_per_evaluation
        return self.steps * self.seconds_per_step + evaluating + self.seconds_at_end


def make_plan(model: GPTConfig, config: TrainConfig, corpus: Corpus, device: torch.device) -> Plan:
    """Measure a few steps and work out what the whole training would cost."""
    per_step = time_step(model, config, corpus, device)
    chars_per_step = config.batch_size * model.block_size
    scored = sum(min(config.eval_chars, len(ids)) for ids in (corpus.train, corpus.validation))
    per_scored_char = per_step * _FORWARD_SHARE / chars_per_step
    return Plan(
        parameters=model.n_parameters,
        memory_bytes=memory_bytes(model, config, device, corpus.length),
        steps=config.max_steps,
        epochs=config.max_steps * chars_per_step / len(corpus.train),
        seconds_per_step=per_step,
        evaluations=_evaluations(config),
        seconds_per_evaluation=per_scored_char * scored,
        seconds_at_end=per_scored_char * min(FINAL_CHARS, len(corpus.validation)) + PICTURE,
    )


def _evaluations(config: TrainConfig) -> int:
    return 1 + -(-config.max_steps // config.eval_interval)  # the first, and the last


def time_step(
    model: GPTConfig,
    config: TrainConfig,
    corpus: Corpus,
    device: torch.device,
    budget: float = 0.1,
) -> float:
    """Measure the seconds of one training step, on a model that is thrown away.

    Times single micro-batches for about `budget` seconds and takes the fastest but the first:
    anything else the machine does can only slow one down.
    """
    # With a learning rate of almost 0: on the same batch again and again it might diverge.
    state = TrainState.initialise(
        model, replace(config, learning_rate=1e-9, final_learning_rate=1e-9), device
    )
    size = micro_batch_size(config.batch_size, model.block_size, model.n_embd, device)
    inputs, targets = map(torch.from_numpy, corpus.batch(0, size, model.block_size, config.seed))
    times: list[float] = []
    deadline = time.perf_counter() + budget
    while len(times) < 3 or time.perf_counter() < deadline:
        started = time.perf_counter()
        train_step(state, inputs, targets)
        times.append(time.perf_counter() - started)
    return min(times[1:]) * config.batch_size / size


def memory_bytes(
    model: GPTConfig, config: TrainConfig, device: torch.device, characters: int = 0
) -> int:
    """Estimate the peak memory of training on a text of so many characters.

    Weights, gradient and two moments; and on top the activations of a step, or what saving takes.
    """
    working = activation_bytes(model, config, device)
    if device.type == "cpu":
        working = max(working, _SAVED_BYTES * model.n_parameters)
    text = _CHARACTER_BYTES * min(characters, LARGEST_IN_MEMORY)
    return 16 * model.n_parameters + working + text + _PROGRAM_BYTES


def activation_bytes(model: GPTConfig, config: TrainConfig, device: torch.device) -> int:
    """Estimate what one training step needs besides weights, gradient and moments."""
    size = micro_batch_size(config.batch_size, model.block_size, model.n_embd, device)
    precision = pick_precision(device, config.precision)
    weights = model.n_head * weights_kept(model.block_size, device, precision)
    per_layer = _LAYER_COPIES * model.n_embd + weights
    per_position = model.n_layer * per_layer + 3 * model.vocab_size
    windows = _WINDOW_BYTES * config.batch_size * model.block_size
    return 4 * size * model.block_size * per_position + windows


def require_memory(
    model: GPTConfig, config: TrainConfig, device: torch.device, characters: int = 0
) -> None:
    """Check that the training fits into the memory of this machine, before anything is built.

    Raises:
        OutOfMemoryError: it needs more than there is.
    """
    needed = memory_bytes(model, config, device, characters)
    available = _total_memory(device)
    if needed > available:
        raise OutOfMemoryError(
            tr(
                "{parameters:,} parameters do not fit into {gigabytes:.3g} GB of memory",
                parameters=model.n_parameters,
                gigabytes=available / 2**30,
            ),
            tr("this run needs about {gigabytes:,.3g} GB", gigabytes=needed / 2**30),
            tr(
                "lower `n_embd`, `n_layer`, `block_size` or `batch_size`, or use the `preset` "
                "laptop"
            ),
        )


def _total_memory(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    return usable_memory()


def fit_to_seconds(
    config: TrainConfig, seconds: float, plan: Plan, given: Container[str] = ()
) -> TrainConfig:
    """Choose the number of steps that fills a time budget, and fit the schedule to it.

    `plan` has the times of a step, an evaluation and the end. What is `given` stays as it is.
    """
    # One evaluation every eval_interval steps and at both ends, but ten, if there is time for them.
    evaluation, step = plan.seconds_per_evaluation, plan.seconds_per_step
    seconds -= plan.seconds_at_end
    spaced = (seconds - 2 * evaluation) / (step + evaluation / config.eval_interval)
    ten = (seconds - 11 * evaluation) / step
    fewer = (seconds - 2 * evaluation) / (step * (1 + 1 / _TIMES_EVALUATION))
    most = spaced if "eval_interval" in given else min(spaced, max(ten, fewer))
    steps = max(FEWEST_STEPS, int(most))
    interval = max(-(-steps // 10), math.ceil(_TIMES_EVALUATION * evaluation / step))
    fitted: dict[str, Any] = {
        "max_steps": steps,
        "warmup_steps": min(config.warmup_steps, steps // 10),
        "decay_steps": steps * config.decay_steps // config.max_steps,
        "eval_interval": min(config.eval_interval, interval),
    }
    return replace(config, **{name: fitted[name] for name in fitted if name not in given})


def move_end(config: TrainConfig, step: int, steps_left: int) -> TrainConfig:
    """Change the number of steps still to be made after `step`, without a jump of the rate.

    As long as the learning rate has not started to fall, the fall keeps its share of all steps, if
    there are so many left; from then on it becomes steeper or flatter.
    """
    planned, end = config.max_steps - step, step + steps_left
    decay = config.decay_steps or max(1, config.max_steps - config.warmup_steps)
    if planned >= decay:
        moved = min(decay * end / config.max_steps, steps_left)
    else:
        moved = decay * steps_left / planned
    return replace(config, max_steps=end, decay_steps=max(1, round(moved)))


def change_rest(config: TrainConfig, step: int, changes: Mapping[str, Any]) -> TrainConfig:
    """Change settings after `step`, so that the learning rate rises only where that is wanted.

    With another number of steps it keeps falling from where it is; if it has fallen to its end, it
    stays there. Another learning rate counts from the next step on, and falls like the old one.
    """
    end, rest = changes.get("max_steps", config.max_steps), config
    is_constant = config.learning_rate == config.final_learning_rate
    if end != config.max_steps and end > step and not is_constant:
        if step < config.max_steps:
            rest = move_end(config, step, end - step)
        else:
            rest = replace(config, learning_rate=config.final_learning_rate)
    if "learning_rate" in changes:
        fall = min(rest.decay_steps or end - rest.warmup_steps, end - step)
        rest = replace(rest, decay_steps=max(1, fall), learning_rate=changes["learning_rate"])
        lowest = min(rest.final_learning_rate, rest.learning_rate)
        rest = replace(rest, final_learning_rate=lowest)
    return replace(rest, **changes)
