"""Who influences whom, measured: change one character and see which scores move."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zigpt.gpt.model import GPT


@torch.no_grad()
def influence(model: GPT, ids: Int[Tensor, " T"], position: int) -> Float[Tensor, " T"]:
    """Change the id at `position` and measure how far any logit moves, position by position.

    In a causal model everything before `position` stays exactly where it was.
    """
    changed = ids.clone()
    changed[position] = (ids[position] + 1) % model.config.vocab_size
    before, after = model.eval()(torch.stack([ids, changed]))
    return (after - before).abs().amax(-1)
