"""What the eye wants to see of a model: its predictions, its attention, and who influences whom."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zigpt.attention import attention_weights
from zigpt.model import GPT


@dataclass(frozen=True)
class Prediction:
    """One of the T training examples in a window: the ids up to a position and the next one."""

    context: list[int]
    target: int
    probability: float  # that the model gives the target
    rank: int  # 1 if the target is the model's first guess
    guess: int  # the model's first guess


@torch.no_grad()
def predictions(model: GPT, ids: Int[Tensor, " T"]) -> list[Prediction]:
    """Read a window of T + 1 ids as the T examples it holds, all answered by one forward pass."""
    inputs, targets = ids[:-1], ids[1:]
    probabilities = model.eval()(inputs.unsqueeze(0))[0].float().softmax(-1)
    of_target = probabilities.gather(-1, targets.unsqueeze(-1))
    ranks = (probabilities > of_target).sum(-1) + 1
    return [
        Prediction(inputs[: t + 1].tolist(), int(target), float(p), int(rank), int(guess))
        for t, (target, p, rank, guess) in enumerate(
            zip(targets, of_target.squeeze(-1), ranks, probabilities.argmax(-1), strict=True)
        )
    ]


@torch.no_grad()
def attention_maps(model: GPT, ids: Int[Tensor, " T"]) -> Float[Tensor, "L H T T"]:
    """Collect the attention weights of every layer and head: row t is where position t looks."""
    maps: list[Tensor] = []

    def attend_and_keep(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        maps.append(attention_weights(q, k)[0])
        return maps[-1] @ v

    model.eval()(ids.unsqueeze(0), attend=attend_and_keep)
    return torch.stack(maps)


@torch.no_grad()
def influence(model: GPT, ids: Int[Tensor, " T"], position: int) -> Float[Tensor, " T"]:
    """Change the id at `position` and measure how far any logit moves, position by position.

    In a causal model everything before `position` stays exactly where it was.
    """
    changed = ids.clone()
    changed[position] = (ids[position] + 1) % model.config.vocab_size
    before, after = model.eval()(torch.stack([ids, changed]))
    return (after - before).abs().amax(-1)
