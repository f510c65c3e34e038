"""Claim: no prediction depends on a character that comes after it."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from zigpt.data.batches import Corpus
from zigpt.errors import ModelFileError
from zigpt.formats.saved_model import SavedModel
from zigpt.gpt.config import GPTConfig, TrainConfig
from zigpt.language import joined, mark, tr
from zigpt.tokenizers.base import Tokenizer
from zigpt.training.device import micro_batch_size, pick_precision, precision_name
from zigpt.verify.check import Check, Result, unchecked
from zigpt.verify.leaks import Search, search_by_change, search_by_gradient

_SECONDS = 4.0  # for either search

_STILL = mark("no score before the changed character moved, not even in the last bit.")
_MOVED = mark(
    "A LATER CHARACTER LEAKED. Changing {shown} at position {position} of window {window} moves "
    "the scores at the earlier position {prediction} by {amount:.3g}."
)
_FLAT = mark("every gradient is exactly 0.")
_STEEP = mark(
    "A LATER CHARACTER LEAKED. The loss at position {prediction} of window {window} depends on "
    "{shown} at the later position {position}: the gradient is {amount:.3g}."
)

Numbers = dict[str, Any]


@dataclass(frozen=True)
class Windows:
    """Windows of a text and their targets; `origin` describes in words where they come from."""

    inputs: Int[Tensor, "B T"]
    targets: Int[Tensor, "B T"]
    origin: str


def take_windows(
    model: GPTConfig, config: TrainConfig, corpus: Corpus | None, device: torch.device
) -> Windows:
    """Cut windows of the full block size from the validation split, one micro-batch of training.

    Without a text that is long enough, the characters are drawn at random.
    """
    count = micro_batch_size(config.batch_size, model.block_size, model.n_embd, device)
    if corpus is None or corpus.largest_block_size < model.block_size:
        shape = (count, model.block_size + 1)
        drawn = torch.from_numpy(np.random.default_rng(0).integers(model.vocab_size, size=shape))
        origin = tr("drawn at random, as there is no text to take them from")
        return Windows(drawn[:, :-1].to(device), drawn[:, 1:].to(device), origin)
    inputs, targets = next(corpus.windows("validation", model.block_size, count, count))
    # A short text has fewer windows: they are repeated.
    shape = (count, model.block_size)
    first, second = (torch.from_numpy(np.resize(part, shape)) for part in (inputs, targets))
    return Windows(first.to(device), second.to(device), tr("from the validation split"))


def check_causality(saved: SavedModel, config: TrainConfig, windows: Windows) -> Check:
    """Search for a leak by changing characters and by differentiating.

    The first search computes in float32, as for evaluation; the second as in training.
    """
    model, inputs = saved.model, windows.inputs
    if model.config.block_size < 2 or model.config.vocab_size < 2:
        return unchecked(
            "causality", tr("With a block size or a vocabulary of 1, there is nothing to leak.")
        )
    precision = pick_precision(inputs.device, config.precision)
    try:
        change = search_by_change(model, inputs, _SECONDS)
        gradient = search_by_gradient(model, inputs, windows.targets, precision, _SECONDS)
    except ModelFileError as error:
        return unchecked("causality", error)
    ways = {
        "change": _numbers(change, inputs, saved.tokenizer),
        "gradient": _numbers(gradient, inputs, saved.tokenizer),
    }
    detail = joined(
        tr(
            "Checked {count} windows of {length} characters {origin}.",
            count=len(inputs),
            length=model.config.block_size,
            origin=windows.origin,
        ),
        tr(
            "In float32, as for evaluation, one character was changed at a time, at {extent}: "
            "{outcome}",
            extent=_extent(change),
            outcome=_outcome(ways["change"], _MOVED, _STILL),
        ),
        tr(
            "In {precision} with dropout, as in training, the losses at {extent} were "
            "differentiated with respect to all later characters: {outcome}",
            precision=precision_name(precision),
            extent=_extent(gradient),
            outcome=_outcome(ways["gradient"], _STEEP, _FLAT),
        ),
    )
    numbers = {"block_size": model.config.block_size, "windows": len(inputs), **ways}
    result: Result = "failed" if change.leak or gradient.leak else "passed"
    return Check("causality", result, detail, numbers)


def _numbers(search: Search, inputs: Int[Tensor, "B T"], tokenizer: Tokenizer) -> Numbers:
    found = asdict(search)
    if leak := search.leak:
        found["leak"]["character"] = tokenizer.decode([int(inputs[leak.window, leak.position])])
    return found


def _extent(search: Search) -> str:
    if search.tested == search.possible:
        return tr("all {count:,} positions", count=search.possible)
    return tr(
        "{tested:,} of {possible:,} positions (chosen at random; time was up)",
        tested=search.tested,
        possible=search.possible,
    )


def _outcome(found: Numbers, leaked: str, kept: str) -> str:
    """Describe the result of a search: its own sentence for a leak, another for none."""
    if not found["leak"]:
        return tr(kept)
    character = found["leak"]["character"]
    shown = f"{character!r} (U+{ord(character):04X})"
    return joined(
        tr(leaked, **found["leak"], shown=shown),
        tr("The largest such amount anywhere is {largest:.3g}.", largest=found["largest"]),
    )
