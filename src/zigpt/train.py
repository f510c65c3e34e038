"""The training loop: a state, a step, a look at the loss, and a generator that joins them.

Nothing here prints or writes a file. Every random choice of a step (its windows, its dropout) is a
function of (seed, step) alone, so there is no generator whose position could be lost: a state that
was saved and loaded goes on exactly as it would have gone on.
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

from zigpt.config import GPTConfig, TrainConfig
from zigpt.corpus.batches import Corpus, Split
from zigpt.device import autocast, micro_batch_size, pick_precision
from zigpt.errors import DivergedError
from zigpt.model import GPT, next_character_loss
from zigpt.optim import Optimizer, build_optimizers, learning_rate

FINAL_CHARS = 2_000_000  # test characters scored when a training ends: all of texts up to 20 MB


@dataclass
class TrainState:
    """Everything a training is at one moment, and all that a checkpoint has to hold."""

    model: GPT
    config: TrainConfig
    step: int = 0  # updates made so far
    seconds: float = 0.0  # spent on steps and looks so far
    best_step: int = 0
    best_loss: float = math.inf  # lowest test loss seen, nats per character
    looks_since_best: int = 0
    looked_at: int = -1  # the step of the last look
    optimizers: tuple[Optimizer, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.optimizers = build_optimizers(self.model, self.config)

    @classmethod
    def fresh(cls, model: GPTConfig, config: TrainConfig, device: torch.device) -> "TrainState":
        """Start with new weights, drawn on the CPU so that every device starts alike."""
        generator = torch.Generator().manual_seed(config.seed)
        return cls(GPT(model, generator).to(device), config)

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        return self.model.head.weight.device

    @property
    def out_of_patience(self) -> bool:
        """Whether the test loss has gone too many looks without a new best."""
        return 0 < self.config.patience <= self.looks_since_best

    @property
    def is_finished(self) -> bool:
        """Whether no further step is to be made, and the last one has been looked at."""
        return self.out_of_patience or (self.step >= self.config.max_steps and not self.is_due)

    @property
    def is_due(self) -> bool:
        """Whether this step asks for a look that has not been taken."""
        asked = self.step % self.config.eval_interval == 0 or self.step >= self.config.max_steps
        return asked and self.looked_at < self.step


@dataclass(frozen=True)
class Look:
    """Both losses at one moment, in nats per character, on the same windows at every look."""

    train_loss: float
    test_loss: float
    is_best: bool


@dataclass(frozen=True)
class Progress:
    """What one step brought, or a look after it: every `eval_interval` steps and at both ends."""

    step: int
    batch_loss: float | None  # of the batch just learned, dropout on; None at a look
    learning_rate: float
    seconds: float
    chars_per_second: float | None  # of the steps since the last look
    look: Look | None


def go_on() -> None:
    """Do nothing: what `breathe` is where nobody wants to interrupt."""


def train(
    state: TrainState, corpus: Corpus, breathe: Callable[[], None] = go_on
) -> Iterator[Progress]:
    """Advance `state` in place until it is finished, yielding after every step and every look.

    A generator: nothing happens until it is consumed, and the consumer may print, save or stop at
    any yield. A state that has already made steps goes on where it is. `breathe` is called in the
    midst of steps and looks; if it raises, `state` is still that of the yield before.

    Raises:
        TextError: the corpus is too short for the model's block size.
        DivergedError: loss or gradient is no longer finite; the weights are those of the last step.
    """
    config, block_size = state.config, state.model.config.block_size
    corpus.require(block_size)
    learned, busy = 0, 0.0  # characters and seconds since the last look
    while True:
        rate = learning_rate(max(0, state.step - 1), config)
        if state.is_due:
            look = take_look(state, corpus, breathe)
            speed = learned / busy if busy else None
            yield Progress(state.step, None, rate, state.seconds, speed, look)
            learned, busy = 0, 0.0
        if state.is_finished:
            return
        began = time.perf_counter()
        inputs, targets = corpus.batch(state.step, config.batch_size, block_size, config.seed)
        ids, following = torch.from_numpy(inputs), torch.from_numpy(targets)
        loss = train_step(state, ids, following, breathe=breathe)
        spent = time.perf_counter() - began
        state.seconds += spent
        learned, busy = learned + inputs.size, busy + spent
        rate = learning_rate(state.step - 1, config)
        yield Progress(state.step, loss, rate, state.seconds, learned / busy, None)


def train_step(
    state: TrainState,
    inputs: Int[Tensor, "B T"],
    targets: Int[Tensor, "B T"],
    *,
    breathe: Callable[[], None] = go_on,
) -> float:
    """Learn one batch: B x T predictions, one update. Returns their mean loss before the update.

    The batch goes through in micro-batches whose gradients add up to that of the whole.

    Raises:
        DivergedError: before the update, if the loss or a gradient is not finite.
    """
    model, config, device = state.model.train(), state.config, state.device
    model.zero_grad(set_to_none=True)
    precision = pick_precision(device, config.precision)
    size = micro_batch_size(len(inputs), inputs.size(1), model.config.n_embd, device)
    total = torch.zeros((), device=device)
    with _seeded(config.seed, state.step, device):
        for x, y in zip(inputs.split(size), targets.split(size), strict=True):
            breathe()
            share = len(x) / len(inputs)
            with autocast(device, precision):
                logits = model(x.to(device))
            loss = next_character_loss(logits.float(), y.to(device)) * share
            loss.backward()
            total += loss.detach()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip or math.inf)
    if not math.isfinite(total + norm):
        raise DivergedError(
            f"diverged in step {state.step + 1}: loss {total:.3g}, gradient norm {norm:.3g}",
            "the steps were too large; the weights are still those of the step before",
            f"start again with --learning-rate {config.learning_rate / 3:.2g}",
        )
    for optimizer in state.optimizers:
        optimizer.step(learning_rate(state.step, config))
    state.step += 1
    return float(total)


def take_look(state: TrainState, corpus: Corpus, breathe: Callable[[], None] = go_on) -> Look:
    """Estimate both losses on fixed windows and remember the best; randomness is not touched."""
    began = time.perf_counter()
    precision = pick_precision(state.device, state.config.precision)
    most = max(1, state.config.eval_chars // state.model.config.block_size)
    train_loss = split_loss(state.model, corpus, "train", most, precision, breathe)
    test_loss = split_loss(state.model, corpus, "test", most, precision, breathe)
    state.looked_at = state.step
    is_best = test_loss < state.best_loss
    if is_best:
        state.best_step, state.best_loss, state.looks_since_best = state.step, test_loss, 0
    else:
        state.looks_since_best += 1
    state.seconds += time.perf_counter() - began
    return Look(train_loss, test_loss, is_best)


def final_loss(model: GPT, corpus: Corpus) -> tuple[float, int]:
    """Mean loss over the test split, and over how many predictions: all, or else evenly spread.

    The whole of a large split could take longer than the training.
    """
    block_size = model.config.block_size
    if len(corpus.test) <= FINAL_CHARS:
        return split_loss(model, corpus, "test"), len(corpus.test) - 1
    most = FINAL_CHARS // block_size
    return split_loss(model, corpus, "test", most), most * block_size


@torch.no_grad()
def split_loss(
    model: GPT,
    corpus: Corpus,
    split: Split,
    most: int | None = None,
    precision: torch.dtype = torch.float32,
    breathe: Callable[[], None] = go_on,
) -> float:
    """Mean loss over a split in nats per character; over the whole of it unless `most` is given.

    The split is walked in windows that do not overlap, so every character but the first is
    predicted exactly once, from at most block_size characters before it. The sum is kept in
    float64: the number does not depend on how many windows go through at once.
    """
    was_training = model.training
    model.eval()
    device, block_size = model.head.weight.device, model.config.block_size
    batch_size = micro_batch_size(64, block_size, model.config.n_embd, device)
    total, count = 0.0, 0
    for inputs, targets in corpus.windows(split, block_size, batch_size, most):
        breathe()
        with autocast(device, precision):
            logits = model(torch.from_numpy(inputs).to(device))
        loss = next_character_loss(logits.float(), torch.from_numpy(targets).to(device))
        total += loss.item() * targets.size
        count += targets.size
    model.train(was_training)
    return total / count


@contextmanager
def _seeded(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Make torch's global generator a function of (seed, step), and leave it as it was found."""
    devices = [] if device.type == "cpu" else [device.index or 0]
    device_type = "cuda" if device.type == "cpu" else device.type
    with torch.random.fork_rng(devices, device_type=device_type):
        torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]))
        yield
