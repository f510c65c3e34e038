"""Every position of a text is a question: how the model answered, and what else it thought of."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from zigpt.gpt.model import GPT


@dataclass(frozen=True)
class Predictions:
    """Answers for T positions; any dimensions in front are kept, as layers are in a lens."""

    losses: Float[Tensor, "*N T"]  # -ln p(target), in nats per character
    ranks: Int[Tensor, "*N T"]  # of the target; 1 if it was the first guess
    guesses: Int[Tensor, "*N T K"]  # ids, the likeliest first
    chances: Float[Tensor, "*N T K"]  # the probability of each guess

    @property
    def probabilities(self) -> Float[Tensor, "*N T"]:
        """What the model gave the targets."""
        return (-self.losses).exp()


@torch.no_grad()
def predict(model: GPT, ids: Int[Tensor, " T"], n_guesses: int = 1) -> Predictions:
    """Read a window of T + 1 ids as the T examples it holds, all answered by one forward pass."""
    return judge(model.eval()(ids[:-1].unsqueeze(0))[0], ids[1:], n_guesses)


def judge(
    logits: Float[Tensor, "*N T V"], targets: Int[Tensor, " T"], n_guesses: int = 1
) -> Predictions:
    """Compare scores with what really came next."""
    logs = F.log_softmax(logits.float(), dim=-1)
    of_target = logs.gather(-1, targets.expand(logs.shape[:-1]).unsqueeze(-1))
    best = logs.topk(min(n_guesses, logs.size(-1)))
    return Predictions(
        losses=-of_target.squeeze(-1),
        ranks=(logs > of_target).sum(-1) + 1,
        guesses=best.indices,
        chances=best.values.exp(),
    )
