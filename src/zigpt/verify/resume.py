"""Claim: a training run that was saved, loaded and resumed equals one that never stopped."""

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from zigpt.data.batches import Corpus
from zigpt.errors import DivergedError, ModelFileError, StorageError
from zigpt.gpt.config import GPTConfig, TrainConfig
from zigpt.language import joined, tr
from zigpt.runs.checkpoint import COUNTERS, restore_newest, save_checkpoint
from zigpt.training.loop import TrainState, train
from zigpt.training.optim import named_state
from zigpt.training.plan import time_step
from zigpt.verify.check import Check, Result, sentence, unchecked

_BEFORE, _AFTER = 2, 2  # steps before and after saving
_SECONDS = 1.0  # longest step; a batch that takes longer is made smaller
# Where bits may differ: nats per character, and a fraction of the distance weights have moved.
_NEAR_LOSS, _NEAR_WEIGHTS = 0.02, 0.25


@dataclass(frozen=True)
class Difference:
    """How far two training runs of the same steps are apart; all 0 if they are equal."""

    counters: tuple[str, ...]  # those that differ after loading
    loss: float  # largest difference of any step, in nats per character
    tensors: tuple[str, ...]  # weights and optimizer state that are not bit-equal
    largest: float  # difference of any of their values
    weights: float  # distance between all weights, relative to the distance they have moved

    @property
    def is_none(self) -> bool:
        """Whether the two are equal, bit for bit."""
        return not (self.counters or self.tensors or self.loss)

    @property
    def is_small(self) -> bool:
        """Whether the two are as close as on a device that adds in no fixed order."""
        is_near = self.loss <= _NEAR_LOSS and self.weights <= _NEAR_WEIGHTS
        return is_near and not self.counters


def check_resume(
    model: GPTConfig, config: TrainConfig, corpus: Corpus, device: torch.device
) -> Check:
    """Train a few steps as configured, once without a break and once with a checkpoint between.

    Only three things differ from the run: the number of steps, the length of the evaluations, and
    the batch size where a step would take too long.
    """
    seconds = time_step(model, config, corpus, device)
    size = max(1, min(config.batch_size, int(config.batch_size * _SECONDS / seconds)))
    short = replace(config, max_steps=_BEFORE + _AFTER, batch_size=size, patience=0, eval_chars=1)
    try:
        difference, losses = compare(model, short, corpus, device)
    except ModelFileError as error:
        why = joined(tr("The checkpoint could not be loaded."), sentence(error))
        return Check("resume", "failed", why)
    except (DivergedError, StorageError) as error:
        return unchecked("resume", error)
    is_same = difference.is_none if device.type == "cpu" else difference.is_small
    result: Result = "passed" if is_same else "failed"
    windows = tr("{count} windows", count=size)
    if size < config.batch_size:
        windows = tr(
            "{windows} (not {count}: a step would take {seconds:.1f} s)",
            windows=windows,
            count=config.batch_size,
            seconds=seconds,
        )
    detail = joined(
        tr(
            "This model was trained on this text from scratch for {steps} steps of {windows}: once "
            "without a break, once saved after {saved} steps and loaded into a new state.",
            steps=_BEFORE + _AFTER,
            windows=windows,
            saved=_BEFORE,
        ),
        _outcome(difference, device),
    )
    numbers = {"steps": _BEFORE + _AFTER, "saved_after": _BEFORE, "batch_size": size}
    return Check("resume", result, detail, {**numbers, "losses": losses, **asdict(difference)})


def compare(
    model: GPTConfig, config: TrainConfig, corpus: Corpus, device: torch.device
) -> tuple[Difference, list[float]]:
    """Train the same steps with and without a checkpoint; return the difference and the losses.

    Raises:
        ModelFileError: the checkpoint cannot be loaded.
        DivergedError: training diverges within these steps.
        StorageError: the checkpoint could not be written to the temporary folder.
    """
    straight, stopped, resumed = (TrainState.initialise(model, config, device) for _ in range(3))
    began = _flat(straight)
    losses = _train_to(straight, corpus, _BEFORE + _AFTER)
    again = _train_to(stopped, corpus, _BEFORE)
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder), stopped, {})
        restore_newest(Path(folder), resumed, lambda line: None)
    counters = [n for n in COUNTERS if getattr(stopped, n) != getattr(resumed, n)]
    again += _train_to(resumed, corpus, _BEFORE + _AFTER)
    apart = {
        name: float((tensor - other).abs().max())
        for (name, tensor), other in zip(
            _tensors(straight).items(), _tensors(resumed).values(), strict=True
        )
        if not torch.equal(tensor, other)
    }
    return Difference(
        counters=tuple(counters),
        loss=max(abs(a - b) for a, b in zip(losses, again, strict=False)),
        tensors=tuple(apart),
        largest=max(apart.values(), default=0.0),
        weights=float((_flat(straight) - _flat(resumed)).norm() / (_flat(straight) - began).norm()),
    ), losses


def _train_to(state: TrainState, corpus: Corpus, step: int) -> list[float]:
    """Train up to `step`; return the loss of each batch."""
    losses = []
    for progress in train(state, corpus):
        if progress.batch_loss is not None:
            losses.append(progress.batch_loss)
        if progress.step == step:
            break
    return losses


def _tensors(state: TrainState) -> dict[str, Tensor]:
    return {**state.model.state_dict(), **named_state(state.optimizers, state.model)}


def _flat(state: TrainState) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in state.model.parameters()])


def _outcome(difference: Difference, device: torch.device) -> str:
    if difference.is_none:
        return tr("Losses, weights and optimizer state are equal, bit for bit.")
    parts = [
        tr("losses differ by up to {loss:.2g}", loss=difference.loss),
        tr(
            "{count} tensors of weights and optimizer state by up to {largest:.2g}",
            count=len(difference.tensors),
            largest=difference.largest,
        ),
    ]
    if difference.tensors:
        parts[-1] += tr(", the first of them {tensor}", tensor=difference.tensors[0])
    if difference.counters:
        parts.append(tr("loading changed {counters}", counters=", ".join(difference.counters)))
    words = tr("The two are not equal: {differences}.", differences="; ".join(parts))
    if device.type == "cpu":
        return words
    return joined(
        words,
        tr(
            "On {device}, sums are added in no fixed order, so they need only be close: "
            "losses within {loss}, weights within {weights} of the distance they moved "
            "(here {distance:.2g}).",
            device=device.type,
            loss=_NEAR_LOSS,
            weights=_NEAR_WEIGHTS,
            distance=difference.weights,
        ),
    )
