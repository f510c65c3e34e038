"""Everything that one forward pass computes, taken from the model's own run."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zigpt.gpt.attention import attention_scores, attention_weights, hide_future, readable_attention
from zigpt.gpt.model import GPT


@dataclass(frozen=True)
class Activations:
    """What a model computed for one window, in the letters of `zigpt.gpt.model`.

    L counts layers from 0. The residual stream is kept in S = 2 L + 1 states: as the embeddings
    leave it, then after each attention and each feed-forward. F = 4 C.
    """

    model: GPT
    ids: Int[Tensor, " T"]
    token: Float[Tensor, "T C"]
    position: Float[Tensor, "T C"] | None  # the modern architecture has none
    stream: Float[Tensor, "S T C"]
    attention_inputs: Float[Tensor, "L T C"]  # the stream normed, and shifted if modern
    q: Float[Tensor, "L H T D"]  # q and k as they meet: turned by position if modern
    k: Float[Tensor, "L H T D"]
    v: Float[Tensor, "L H T D"]
    heads: Float[Tensor, "L H T D"]  # weights v: what each head has read
    ffn_inputs: Float[Tensor, "L T C"]
    hidden: Float[Tensor, "L T F"]  # inside the feed-forward, after GELU
    ffn: Float[Tensor, "L T C"]  # what it adds to the stream
    logits: Float[Tensor, "T V"]

    @cached_property
    def scores(self) -> Float[Tensor, "L H T T"]:
        """How well each query (row) matches each key (column), before the mask."""
        return attention_scores(self.q, self.k)

    @cached_property
    def masked(self) -> Float[Tensor, "L H T T"]:
        """The scores with the future at -inf."""
        return hide_future(self.scores)

    @cached_property
    def weights(self) -> Float[Tensor, "L H T T"]:
        """Where each position looks: the softmax of each masked row."""
        return attention_weights(self.q, self.k)

    @cached_property
    def probabilities(self) -> Float[Tensor, "T V"]:
        """What the next character may be, at each position."""
        return self.logits.softmax(-1)


@torch.no_grad()
def inspect(model: GPT, ids: Int[Tensor, " T"]) -> Activations:
    """Run a model once, without dropout, and keep what passes through its parts.

    Listeners sit on a copy of the modules that shares the weights: the model itself is not touched,
    and may be at work elsewhere.
    """
    own = copy.deepcopy(model, {id(weight): weight for weight in model.parameters()}).eval()
    given: dict[str, Tensor] = {}
    made: dict[str, Tensor] = {}
    met: list[tuple[Tensor, ...]] = []

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        met.append((q, k, v, readable_attention(layer, q, k, v)))
        return met[-1][-1]

    for name, part in own.named_modules():
        part.register_forward_hook(_listener(name, given, made))
    own(ids.unsqueeze(0), attend=attend)

    blocks = [f"blocks.{layer}" for layer in range(model.config.n_layer)]

    def of_blocks(found: dict[str, Tensor], part: str) -> Tensor:
        return torch.cat([found[f"{block}.{part}"] for block in blocks])

    q, k, v, heads = (torch.cat(parts) for parts in zip(*met, strict=True))
    halves = [state for block in blocks for state in (given[f"{block}.ln_2"], made[block])]
    return Activations(
        model=model,
        ids=ids,
        token=made["token_embedding"][0],
        position=made.get("position_embedding"),
        stream=torch.cat([made["dropout"], *halves]),
        attention_inputs=of_blocks(given, "attn.qkv"),
        q=q,
        k=k,
        v=v,
        heads=heads,
        ffn_inputs=of_blocks(given, "ffn.expand"),
        hidden=of_blocks(given, "ffn.project"),
        ffn=of_blocks(made, "ffn"),
        logits=made[""][0],
    )


def _listener(
    name: str, given: dict[str, Tensor], made: dict[str, Tensor]
) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
    def keep(part: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        given[name], made[name] = inputs[0], output

    return keep
