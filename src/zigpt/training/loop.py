"""The training loop: a state, a step, an evaluation, and a generator that joins them.

Nothing here prints or writes a file. Every random choice of a step is a function of (seed, step):
there is no generator state to lose, and a resumed run equals an uninterrupted one.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from zigpt.data.batches import Corpus, Split
from zigpt.errors import DivergedError
from zigpt.gpt.config import GPTConfig, TrainConfig
from zigpt.gpt.model import GPT, next_character_loss
from zigpt.language import tr
from zigpt.training.device import autocast, micro_batch_size, pick_precision
from zigpt.training.optim import build_optimizers, learning_rate_at
from zigpt.training.team import ALONE, Team

_WINDOWS_SCORED = 64  # at once, at most
FINAL_CHARS = 2_000_000  # validation characters scored at the end: all, for texts up to 20 MB


@dataclass
class TrainState:
    """The whole state of a training run: what a checkpoint has to hold."""

    model: GPT
    config: TrainConfig
    step: int = 0  # steps made so far
    seconds: float = 0.0  # spent on steps and evaluations so far
    best_step: int = 0
    best_loss: float = math.inf  # lowest validation loss so far, nats per character
    evaluations_since_best: int = 0
    evaluated_at: int = -1  # the step of the last evaluation
    optimizers: tuple[torch.optim.Optimizer, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.optimizers = build_optimizers(self.model, self.config)

    @classmethod
    def initialise(
        cls,
        model: GPTConfig,
        config: TrainConfig,
        device: torch.device,
        corpus: Corpus | None = None,
    ) -> "TrainState":
        """Start from random weights, drawn on the CPU so that they are the same on every device.

        A modern model starts from the character frequencies of the corpus, if there is one.
        """
        gpt = GPT(model, torch.Generator().manual_seed(config.seed))
        if corpus and model.architecture == "modern":
            gpt.start_from(torch.from_numpy(corpus.frequencies()).float())
        return cls(gpt.to(device), config)

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        return self.model.head.weight.device

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last step made; of the first, if none has been made yet."""
        return learning_rate_at(max(0, self.step - 1), self.config)

    @property
    def is_out_of_patience(self) -> bool:
        """Whether too many evaluations in a row have brought no lower validation loss."""
        return 0 < self.config.patience <= self.evaluations_since_best

    @property
    def must_evaluate(self) -> bool:
        """Whether this step is at an interval, or the last, and has not been evaluated yet."""
        at_interval = self.step % self.config.eval_interval == 0
        is_due = at_interval or self.step >= self.config.max_steps
        return is_due and self.evaluated_at < self.step

    @property
    def is_finished(self) -> bool:
        """Whether patience has run out, or all steps are made and the last is evaluated."""
        return self.is_out_of_patience or self.config.max_steps <= self.step <= self.evaluated_at


@dataclass(frozen=True)
class Evaluation:
    """Both losses, in nats per character, over the same windows every time."""

    train_loss: float
    val_loss: float
    is_best: bool


@dataclass(frozen=True)
class Progress:
    """The result of a step, or of an evaluation: at the start, at intervals, and at the end."""

    step: int
    batch_loss: float | None  # of the batch just learned, with dropout; None at an evaluation
    learning_rate: float
    seconds: float
    chars_per_second: float | None  # over the steps since the last evaluation
    evaluation: Evaluation | None


def never_stop() -> None:
    """Let a step or an evaluation run to its end: the default `check_stop`."""


def train(
    state: TrainState,
    corpus: Corpus,
    check_stop: Callable[[], None] = never_stop,
    team: Team = ALONE,
) -> Iterator[Progress]:
    """Advance `state` in place until it is finished; yield after every step and evaluation.

    A generator: nothing happens until it is consumed, and the consumer may print, save or stop at
    any yield. A state that has already made steps continues from there. `check_stop` is called
    several times in each step and evaluation; if it raises, `state` is that of the last yield.

    Raises:
        TextError: the corpus is too short for the model's block size.
        DivergedError: loss or gradient is not finite; the weights are those of the last step.
    """
    block_size = state.model.config.block_size
    corpus.require(block_size)
    chars, seconds = 0, 0.0  # of the steps since the last evaluation
    while True:
        if state.must_evaluate:
            evaluation = evaluate(state, corpus, team.meanwhile(check_stop))
            speed = chars / seconds if seconds else None
            yield Progress(state.step, None, state.learning_rate, state.seconds, speed, evaluation)
            chars, seconds = 0, 0.0
        if state.is_finished:
            return
        started = time.perf_counter()
        team.tell(state.config)  # the caller may have changed how many steps there are
        inputs, targets = next_batch(state, corpus)
        loss = train_step(state, inputs, targets, check_stop=check_stop, team=team)
        elapsed = time.perf_counter() - started
        state.seconds += elapsed
        chars, seconds = chars + inputs.numel(), seconds + elapsed
        yield Progress(state.step, loss, state.learning_rate, state.seconds, chars / seconds, None)


def next_batch(state: TrainState, corpus: Corpus) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    """Take the inputs and targets of the next step."""
    config, length = state.config, state.model.config.block_size
    batch = corpus.batch(state.step, config.batch_size, length, config.seed, config.windows)
    return torch.from_numpy(batch[0]), torch.from_numpy(batch[1])


def train_step(
    state: TrainState,
    inputs: Int[Tensor, "B T"],
    targets: Int[Tensor, "B T"],
    *,
    check_stop: Callable[[], None] = never_stop,
    team: Team = ALONE,
) -> float:
    """Learn one batch: B x T predictions, one update. Return their mean loss before the update.

    Its parts, which a team shares, go through in micro-batches; all gradients add up to the
    batch's.

    Raises:
        DivergedError: before the update, if loss or gradient is not finite.
    """
    model, config, device = state.model.train(), state.config, state.device
    precision = pick_precision(device, config.precision)
    parts = [whole.tensor_split(config.parts) for whole in (inputs, targets)]

    def learn(number: int) -> list[Tensor]:
        part = [pieces[number] for pieces in parts]
        size = micro_batch_size(len(part[0]), inputs.size(1), model.config.n_embd, device)
        loss_sum = torch.zeros((), device=device)
        model.zero_grad(set_to_none=True)
        with _seeded([config.seed, state.step, number], device):  # a 0 at the end changes nothing
            for x, y in zip(*(whole.split(size) for whole in part), strict=True):
                check_stop()
                with autocast(device, precision):
                    logits = model(x.to(device))
                loss = next_character_loss(logits.float(), y.to(device)) * (len(x) / len(inputs))
                loss.backward()
                loss_sum += loss.detach()
        gradients = (weight.grad for weight in model.parameters() if weight.grad is not None)
        return [loss_sum, *gradients]

    mean_loss, *gradients = team.add_up(learn, config.parts)
    for weight, gradient in zip(model.parameters(), gradients, strict=True):
        weight.grad = gradient
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip or math.inf)
    if not (math.isfinite(mean_loss) and math.isfinite(norm)):
        raise DivergedError(
            tr(
                "diverged in step {step}: loss {loss:.3g}, gradient norm {norm:.3g}",
                step=state.step + 1,
                loss=mean_loss,
                norm=norm,
            ),
            tr("the learning rate is too high; the weights are still those of the step before"),
            tr(
                "start again with a `learning_rate` of {rate:.2g}",
                rate=config.learning_rate / 3,
            ),
        )
    for optimizer in state.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(state.step, config)
        optimizer.step()
    state.step += 1
    return float(mean_loss)


def evaluate(
    state: TrainState, corpus: Corpus, check_stop: Callable[[], None] = never_stop
) -> Evaluation:
    """Estimate both losses on fixed windows and keep track of the best; draw no random number."""
    started = time.perf_counter()
    max_windows = max(1, state.config.eval_chars // state.model.config.block_size)
    options = (max_windows, pick_precision(state.device, state.config.precision), check_stop)
    train_loss = split_loss(state.model, corpus, "train", *options)
    val_loss = split_loss(state.model, corpus, "validation", *options)
    state.evaluated_at = state.step
    if is_best := val_loss < state.best_loss:
        state.best_step, state.best_loss, state.evaluations_since_best = state.step, val_loss, 0
    else:
        state.evaluations_since_best += 1
    state.seconds += time.perf_counter() - started
    return Evaluation(train_loss, val_loss, is_best)


def final_loss(model: GPT, corpus: Corpus) -> tuple[float, int]:
    """Mean loss over the validation split, and over how many predictions: all, or evenly spread.

    Scoring the whole of a large split could take longer than the training.
    """
    block_size = model.config.block_size
    if len(corpus.validation) <= FINAL_CHARS:
        return split_loss(model, corpus, "validation"), len(corpus.validation) - 1
    max_windows = FINAL_CHARS // block_size
    return split_loss(model, corpus, "validation", max_windows), max_windows * block_size


@torch.no_grad()
def split_loss(
    model: GPT,
    corpus: Corpus,
    split: Split,
    max_windows: int | None = None,
    precision: torch.dtype = torch.float32,
    check_stop: Callable[[], None] = never_stop,
) -> float:
    """Mean loss over a split in nats per character: all of it, or `max_windows` evenly spread.

    The windows do not overlap: without `max_windows`, every character but the first is predicted
    exactly once, from at most block_size characters before it.
    """
    was_training = model.training
    model.eval()
    device, block_size = model.head.weight.device, model.config.block_size
    batch_size = micro_batch_size(_WINDOWS_SCORED, block_size, model.config.n_embd, device)
    total, count = 0.0, 0
    try:
        for batch in corpus.windows(split, block_size, batch_size, max_windows):
            check_stop()
            inputs, targets = map(torch.from_numpy, batch)
            with autocast(device, precision):
                logits = model(inputs.to(device))
            loss = next_character_loss(logits.float(), targets.to(device))
            total += loss.item() * targets.numel()
            count += targets.numel()
    finally:
        model.train(was_training)
    return total / count


@contextmanager
def _seeded(numbers: list[int], device: torch.device) -> Iterator[None]:
    """Make torch's global generators a function of `numbers`, and restore them afterwards."""
    devices = [] if device.type == "cpu" else [device]  # the CPU's is restored in any case
    with torch.random.fork_rng(devices, device_type=device.type):
        torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]))
        yield
