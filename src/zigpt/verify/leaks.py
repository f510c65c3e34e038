"""Search for predictions that depend on a later character; a causal model has none.

One search changes a character and checks whether any earlier score moves; the other computes
gradients. Both call the model as it is, with nothing but windows, so they test the code that really
runs. Positions are tested in random order until all are done or the time is up.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from zigpt.errors import ModelFileError
from zigpt.gpt.model import GPT
from zigpt.language import tr
from zigpt.training.device import autocast


@dataclass(frozen=True)
class Leak:
    """A prediction that depends on a later character; positions count from 0 in their window."""

    window: int
    prediction: int  # the position whose scores or loss depend on a later character
    position: int  # of that later character
    amount: float  # how far a score moved, or the size of the gradient


@dataclass(frozen=True)
class Search:
    """The result of a search: how many positions were tested, and the leak, if any."""

    tested: int
    possible: int
    leak: Leak | None
    largest: float  # of all amounts; exactly 0 in a causal model


class _Found:
    """How much each prediction depends on each later character, and in which window."""

    def __init__(self, length: int) -> None:
        self.amounts = torch.zeros(length, length)  # row: prediction; column: character
        self.windows = torch.zeros(length, length, dtype=torch.int64)
        self.tested = 0

    def search(self) -> Search:
        """Find the earliest prediction with a leak, and the latest character that it depends on.

        If one position attends to one later position, this is that pair: positions between the two
        may depend on it as well, through the layers above.
        """
        possible, largest, leak = len(self.amounts) - 1, float(self.amounts.max()), None
        if pairs := self.amounts.nonzero().tolist():
            prediction = pairs[0][0]
            position = max(s for t, s in pairs if t == prediction)
            at = prediction, position
            leak = Leak(int(self.windows[at]), *at, float(self.amounts[at]))
        return Search(self.tested, possible, leak, largest)


@torch.no_grad()
def search_by_change(model: GPT, windows: Int[Tensor, "B T"], seconds: float) -> Search:
    """Change one character and see whether an earlier score moves, in evaluation mode.

    Every pass has the shape of the first, so that equal scores are equal to the last bit. Row b of
    a pass tests one position in window b.

    Raises:
        ModelFileError: the scores are not finite.
    """
    model.eval()
    n_windows, length = windows.shape
    found, steps = _Found(length), torch.arange(length, device=windows.device)
    before = _finite(model(windows))
    for chunk in _chunks(1, length, n_windows, seconds):
        positions, rows = chunk.to(windows.device), steps[: len(chunk)]
        changed = windows.clone()
        changed[rows, positions] = (changed[rows, positions] + 1) % model.config.vocab_size
        moved = (_finite(model(changed)) - before).abs().amax(-1)[: len(chunk)]
        is_earlier = steps < positions.unsqueeze(-1)
        found.amounts[:, chunk] = moved.where(is_earlier, 0).T.cpu()
        found.windows[:, chunk] = rows.cpu()
        found.tested += len(chunk)
    return found.search()


def search_by_gradient(
    model: GPT,
    windows: Int[Tensor, "B T"],
    targets: Int[Tensor, "B T"],
    precision: torch.dtype,
    seconds: float,
) -> Search:
    """Differentiate the loss at a position by the embeddings of all later ones, in training mode.

    The embedding table is replaced by one with a row for every position of every window: the
    gradient of a row then belongs to one position.

    Raises:
        ModelFileError: a gradient is not finite.
    """
    n_windows, length = windows.shape
    found, steps = _Found(length), torch.arange(length, device=windows.device)
    table = model.token_embedding(windows).detach().flatten(0, 1).requires_grad_()
    own_rows = torch.arange(len(table), device=windows.device).view_as(windows)
    model.train()
    generators = [windows.device.index or 0] if windows.device.type == "cuda" else []
    with torch.random.fork_rng(generators), autocast(windows.device, precision):
        torch.manual_seed(0)  # for dropout
        logits = functional_call(model, {"token_embedding.weight": table}, (own_rows,))
    model.eval()
    losses = F.cross_entropy(logits.float().transpose(1, 2), targets, reduction="none")
    for chunk in _chunks(0, length - 1, n_windows, seconds):
        positions, rows = chunk.to(windows.device), steps[: len(chunk)]
        (slopes,) = torch.autograd.grad(losses[rows, positions].sum(), table, retain_graph=True)
        # (B * T, C) -> (B, T)
        steep = _finite(slopes).abs().amax(-1).view_as(windows)[: len(chunk)]
        is_later = steps > positions.unsqueeze(-1)
        found.amounts[chunk] = steep.where(is_later, 0).cpu()
        found.windows[chunk] = rows.unsqueeze(-1).cpu()
        found.tested += len(chunk)
    return found.search()


def _chunks(start: int, end: int, size: int, seconds: float) -> Iterator[Tensor]:
    """Yield positions, `size` at a time, until the time is up; at least once."""
    deadline = time.perf_counter() + seconds
    order = torch.randperm(end - start, generator=torch.Generator().manual_seed(0)) + start
    for chunk in order.split(size):
        yield chunk
        if time.perf_counter() > deadline:
            return


def _finite(numbers: Tensor) -> Tensor:
    if not numbers.isfinite().all():
        raise ModelFileError(
            tr("the model's scores are not finite"),
            tr("its weights are so large that a value overflowed"),
            tr("use another copy of the model, or train again"),
        )
    return numbers
