"""The preset `auto`: the best known choice for a text, a machine and a time (docs/record.md)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from zigpt.data.batches import Corpus
from zigpt.gpt.config import GPTConfig, Precision, PresetName, TrainConfig, configure
from zigpt.language import tr
from zigpt.training.plan import time_step

_LARGER = {"n_layer": 5, "n_head": 5, "n_embd": 160}
_LONGER = {"block_size": 512, "batch_size": 4}
# What `auto` chooses from, smallest first, and from how many steps on each ends lower than the one
# before (docs/record.md: measured at 1, 3, 15 and 60 minutes, so the limits are estimates).
_BY_STEPS: tuple[tuple[int, PresetName, Mapping[str, Any]], ...] = (
    (0, "tiny", {"n_layer": 1, "block_size": 64}),
    (440, "tiny", {"block_size": 128, "batch_size": 16}),
    (1100, "tiny", {"block_size": 256, "batch_size": 8}),
    (1500, "laptop", {}),
    (3500, "laptop", _LARGER),
    (8000, "laptop", {**_LARGER, **_LONGER}),
    (25_000, "laptop", {"n_layer": 6, "n_head": 6, "n_embd": 192, **_LONGER}),
)
_SMALL_TEXT = 20_000  # characters, or
_SMALL_SHARE = 50  # of them for each distinct one: fewer are learned by heart at once
_SMALL_MODEL = {"n_embd": 64, "block_size": 32, "weight_decay": 0.3}
_PATIENT_PASSES = 8
# Passes over the text from which so much dropout pays (docs/record.md).
_DROPOUT_BY_PASSES = ((0, 0.0), (7, 0.1), (15, 0.2), (35, 0.3))
_PASSES_TO_FORGET, _FEWEST_TO_FORGET = 0.6, 40  # passes, steps (docs/record.md)


@dataclass(frozen=True)
class Advice:
    """A preset, the settings that differ from it, and what decided."""

    preset: PresetName
    settings: Mapping[str, Any]
    why: str


def advise(
    corpus: Corpus, device: torch.device, minutes: float | None, precision: Precision = "auto"
) -> Advice:
    """Choose a preset and its settings for a text and a time, by timing steps on this device."""
    length, vocab_size = len(corpus.train), corpus.tokenizer.vocab_size
    why = tr(
        "{count:,} characters to learn from, {distinct:,} distinct",
        count=length,
        distinct=vocab_size,
    )
    if length < max(_SMALL_TEXT, _SMALL_SHARE * vocab_size):
        small = {**_SMALL_MODEL}
        if 0 < corpus.largest_block_size < small["block_size"]:
            small["block_size"] = corpus.largest_block_size
        return Advice("tiny", small, tr("{why}: too few for a larger model", why=why))
    if device.type == "cuda":
        return Advice("gpu", {}, tr("{why}; a GPU", why=why))
    if minutes is None:
        return Advice("laptop", {}, why)
    why = tr(
        "{why}; the largest that makes enough steps in {minutes:g} min", why=why, minutes=minutes
    )
    choices = iter(_BY_STEPS)
    _, preset, settings = next(choices)
    for fewest, larger, of_larger in choices:
        shape = configure(vocab_size, larger, {**of_larger, "precision": precision})
        if 60 * minutes < fewest * time_step(*shape, corpus, device):
            break
        preset, settings = larger, of_larger
    return Advice(preset, settings, why)


def evaluate_often_enough(config: TrainConfig, corpus: Corpus, block_size: int) -> TrainConfig:
    """Evaluate at least four times in each pass over the text: a small one is soon memorised."""
    quarter = int(_steps_in_pass(config, corpus, block_size) / 4)
    return replace(config, eval_interval=max(1, min(config.eval_interval, quarter)))


def drop_out(model: GPTConfig, passes: float) -> GPTConfig:
    """Drop more, the more often the text is read: what is read often is learned by heart."""
    _, dropout = max(choice for choice in _DROPOUT_BY_PASSES if choice[0] <= passes)
    return replace(model, dropout=max(model.dropout, dropout))


def forget(config: TrainConfig, corpus: Corpus, block_size: int) -> TrainConfig:
    """Let weights decay so fast that what one passage taught fades before it is read again."""
    steps = max(_FEWEST_TO_FORGET, _PASSES_TO_FORGET * _steps_in_pass(config, corpus, block_size))
    decay = 1 / (config.learning_rate * steps)  # a weight falls to 1 / e in so many steps
    return replace(config, weight_decay=max(config.weight_decay, round(decay, 2)))


def be_patient(config: TrainConfig, corpus: Corpus, block_size: int) -> TrainConfig:
    """Train on without a lower loss for eight passes over the text, or a third of the steps.

    While the learning rate is high the loss goes up and down, and most of what it will fall is
    still to come. In eight passes a model that only memorises has shown it.
    """
    steps = min(_PATIENT_PASSES * _steps_in_pass(config, corpus, block_size), config.max_steps / 3)
    evaluations = math.ceil(steps / config.eval_interval)
    return replace(config, patience=config.patience and max(config.patience, evaluations))


def _steps_in_pass(config: TrainConfig, corpus: Corpus, block_size: int) -> float:
    return len(corpus.train) / (config.batch_size * block_size)
