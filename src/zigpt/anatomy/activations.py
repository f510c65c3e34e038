"""All activations of one forward pass, recorded while the model computes them."""

import copy
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zigpt.gpt.attention import attention_scores, attention_weights, hide_future, readable_attention
from zigpt.gpt.model import GPT


@dataclass(frozen=True)
class Activations:
    """The activations of a model on one window, in the letters of `zigpt.gpt.model`.

    L is the number of layers and F = 4 C the width of the feed-forward. The residual stream has
    S = 2 L + 1 states: after the embeddings, then after each attention and each feed-forward.
    """

    model: GPT
    ids: Int[Tensor, " T"]
    token: Float[Tensor, "T C"]  # token embeddings
    position: Float[Tensor, "T C"] | None  # position embeddings; None in the modern architecture
    stream: Float[Tensor, "S T C"]  # the residual stream
    attention_inputs: Float[Tensor, "L T C"]  # after LayerNorm and, if modern, token shift
    q: Float[Tensor, "L H T D"]  # queries and keys; if modern, after rotation by position
    k: Float[Tensor, "L H T D"]
    v: Float[Tensor, "L H T D"]  # values
    heads: Float[Tensor, "L H T D"]  # the output of each head: weights @ v
    ffn_inputs: Float[Tensor, "L T C"]  # as attention_inputs
    hidden: Float[Tensor, "L T F"]  # the hidden layer of the feed-forward, after GELU
    ffn: Float[Tensor, "L T C"]  # the output of the feed-forward, added to the stream
    logits: Float[Tensor, "T V"]

    @cached_property
    def scores(self) -> Float[Tensor, "L H T T"]:
        """Attention scores of each query (row) with each key (column), before the mask."""
        return attention_scores(self.q, self.k)

    @cached_property
    def masked(self) -> Float[Tensor, "L H T T"]:
        """The scores with future positions at -inf."""
        return hide_future(self.scores)

    @cached_property
    def weights(self) -> Float[Tensor, "L H T T"]:
        """Attention weights: the softmax of each masked row."""
        return attention_weights(self.q, self.k)

    @cached_property
    def probabilities(self) -> Float[Tensor, "T V"]:
        """The distribution of the next character at each position."""
        return self.logits.softmax(-1)


@torch.no_grad()
def inspect(model: GPT, ids: Int[Tensor, " T"]) -> Activations:
    """Run a model once on a window, without dropout, and keep all its activations.

    Forward hooks are registered on a copy of the modules that shares the weights: the model itself
    is not touched, and may be in use elsewhere.
    """
    own = copy.deepcopy(model, {id(weight): weight for weight in model.parameters()}).eval()
    inputs, outputs = _record(own)
    attention: list[tuple[Tensor, ...]] = []

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        attention.append((q, k, v, readable_attention(layer, q, k, v)))
        return attention[-1][-1]

    own(ids.unsqueeze(0), attend=attend)

    blocks = [f"blocks.{layer}" for layer in range(model.config.n_layer)]

    def of_blocks(recorded: dict[str, Tensor], module: str) -> Tensor:
        return torch.cat([recorded[f"{block}.{module}"] for block in blocks])

    q, k, v, heads = (torch.cat(layers) for layers in zip(*attention, strict=True))
    states = [state for block in blocks for state in (inputs[f"{block}.ln_2"], outputs[block])]
    return Activations(
        model=model,
        ids=ids,
        token=outputs["token_embedding"][0],
        position=outputs.get("position_embedding"),
        stream=torch.cat([outputs["dropout"], *states]),
        attention_inputs=of_blocks(inputs, "attn.qkv"),
        q=q,
        k=k,
        v=v,
        heads=heads,
        ffn_inputs=of_blocks(inputs, "ffn.expand"),
        hidden=of_blocks(inputs, "ffn.project"),
        ffn=of_blocks(outputs, "ffn"),
        logits=outputs[""][0],
    )


def _record(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Fill two mappings whenever the model runs: each module's first input, and its output."""
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}

    def hook(name: str, module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        inputs[name], outputs[name] = arguments[0], output

    for name, module in model.named_modules():
        module.register_forward_hook(partial(hook, name))
    return inputs, outputs
