"""Layer by layer: what each part adds to the residual stream and to the logit of a character."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zigpt.anatomy.activations import Activations
from zigpt.anatomy.predictions import Predictions, judge

Label = tuple[str | int, ...]  # the kind of part, then its indices: ("head", layer, head)


@dataclass(frozen=True)
class ScoreParts:
    """The logit of a character as a sum of contributions, one from each part of the model."""

    labels: list[Label]
    values: Float[Tensor, " N"]
    score: float  # the logit, as the model computed it

    @property
    def total(self) -> float:
        """The sum of the values: the score, up to rounding."""
        return float(self.values.sum())


@torch.no_grad()
def lens(seen: Activations, targets: Int[Tensor, " T"], n_guesses: int = 1) -> Predictions:
    """Read each state of the residual stream with the head, as if the model ended there.

    The logit lens (nostalgebraist 2020). The leading dimension counts the 2 L + 1 states; the last
    gives the model's own predictions.
    """
    return judge(seen.model.head(seen.model.ln_f(seen.stream)), targets, n_guesses)


@torch.no_grad()
def contributions(
    seen: Activations, position: int, state: int | None = None
) -> dict[Label, Float[Tensor, " C"]]:
    """Split the residual stream at one position into all that was added to it, in order.

    The parts add up to `seen.stream[state, position]`, by default of the last state.
    """
    config = seen.model.config
    parts: dict[Label, Tensor] = {("token",): seen.token[position]}
    if seen.position is not None:
        parts["position",] = seen.position[position]
    n_parts = len(parts)
    for layer in range(config.n_layer):
        project = f"blocks.{layer}.attn.project"
        weight = seen.model.get_parameter(f"{project}.weight")
        # (C, C) -> (C, H, D): the columns that multiply each head
        by_head = weight.view(config.n_embd, config.n_head, -1)
        for head in range(config.n_head):
            parts["head", layer, head] = by_head[:, head] @ seen.heads[layer, head, position]
        parts["attention bias", layer] = seen.model.get_parameter(f"{project}.bias")
        parts["feed-forward", layer] = seen.ffn[layer, position]
    if state is not None:
        n_parts += state // 2 * (config.n_head + 2) + state % 2 * (config.n_head + 1)
        parts = dict(list(parts.items())[:n_parts])
    return parts


@torch.no_grad()
def score_parts(seen: Activations, position: int, character: int) -> ScoreParts:
    """Split the logit of a character (its id) at a position into contributions that add up to it.

    Direct logit attribution (Elhage et al. 2021). The last LayerNorm subtracts the mean, which is
    linear, and divides by the standard deviation, which is held fixed: each part counts less its
    own mean, divided by the deviation of the whole. The norm's bias is a part of its own.
    """
    norm, row = seen.model.ln_f, seen.model.head.weight[character]
    parts = contributions(seen, position)
    stacked = torch.stack(list(parts.values()))
    deviation = (seen.stream[-1, position].var(correction=0) + norm.eps).sqrt()
    centred = stacked - stacked.mean(-1, keepdim=True)
    values = centred @ (row * norm.weight / deviation)
    return ScoreParts(
        labels=[*parts, ("norm bias",)],
        values=torch.cat([values, (row @ norm.bias).unsqueeze(0)]),
        score=float(seen.logits[position, character]),
    )
