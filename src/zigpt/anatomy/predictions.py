"""What a model predicts at each position, and how far its predictions rest on one character."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from zigpt.gpt.model import GPT


@dataclass(frozen=True)
class Predictions:
    """Predictions at T positions; leading dimensions are kept, as of the layers in `lens`."""

    losses: Float[Tensor, "*N T"]  # -ln p(target), in nats per character
    ranks: Int[Tensor, "*N T"]  # of the target; 1 if it was the first guess
    guesses: Int[Tensor, "*N T K"]  # ids, the likeliest first
    chances: Float[Tensor, "*N T K"]  # the probability of each guess

    @property
    def probabilities(self) -> Float[Tensor, "*N T"]:
        """The probability of each target."""
        return (-self.losses).exp()


@torch.no_grad()
def predict(model: GPT, ids: Int[Tensor, " T"], n_guesses: int = 1) -> Predictions:
    """Predict each character of a window from those before it: T + 1 ids are T examples."""
    return judge(model.eval()(ids[:-1].unsqueeze(0))[0], ids[1:], n_guesses)


def judge(
    logits: Float[Tensor, "*N T V"], targets: Int[Tensor, " T"], n_guesses: int = 1
) -> Predictions:
    """Compare logits with the characters that really came next."""
    logs = F.log_softmax(logits.float(), dim=-1)
    of_target = logs.gather(-1, targets.expand(logs.shape[:-1]).unsqueeze(-1))
    best = logs.topk(min(n_guesses, logs.size(-1)))
    return Predictions(
        losses=-of_target.squeeze(-1),
        ranks=(logs > of_target).sum(-1) + 1,
        guesses=best.indices,
        chances=best.values.exp(),
    )


@torch.no_grad()
def influence(model: GPT, ids: Int[Tensor, " T"], position: int) -> Float[Tensor, " T"]:
    """Change the id at `position`; return the largest change of any logit at each position.

    In a causal model it is 0 everywhere before `position`.
    """
    changed = ids.clone()
    changed[position] = (ids[position] + 1) % model.config.vocab_size
    before, after = model.eval()(torch.stack([ids, changed]))
    return (after - before).abs().amax(-1)
