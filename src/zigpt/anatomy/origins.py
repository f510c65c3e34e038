"""How each number in `Activations` is computed.

Each function here takes the activations and the full index of a cell, and returns the terms of its
value, the call in the model that computes it, and the Python that computes it again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from zigpt.anatomy.activations import Activations
from zigpt.anatomy.layers import Label, contributions
from zigpt.gpt.attention import attention_scores, attention_weights, readable_attention, with_rotary
from zigpt.gpt.config import ROTARY_BASE
from zigpt.gpt.model import GPT, Block, FeedForward, SelfAttention

Rule = Literal["sum", "share", "gelu"]
Terms = dict[Label, float]


@dataclass(frozen=True)
class Origin:
    """How one number is computed; a share has a term for each number of its row."""

    terms: Terms
    computed_in: Callable[..., Any]  # a function of the model
    call: str  # the name of what it calls to compute the number
    code: str  # prints the number, given `seen`
    imports: str = ""
    rule: Rule = "sum"


def _each(what: str, values: Float[Tensor, " N"]) -> Terms:
    return {(what, n): value for n, value in enumerate(values.tolist())}


def _linear(seen: Activations, name: str) -> tuple[Tensor, Tensor]:
    """Weight (out, in) and bias (out,) of a layer."""
    return seen.model.get_parameter(f"{name}.weight"), seen.model.get_parameter(f"{name}.bias")


def _token(seen: Activations, position: int, channel: int) -> Origin:
    table = seen.model.get_parameter("token_embedding.weight")
    return Origin(
        {("token",): float(table[seen.ids[position], channel])},
        GPT.forward,
        "token_embedding",
        "table = seen.model.token_embedding.weight\n"
        f"print(table[seen.ids[{position}], {channel}].item())",
    )


def _position(seen: Activations, position: int, channel: int) -> Origin:
    table = seen.model.get_parameter("position_embedding.weight")
    return Origin(
        {("position",): float(table[position, channel])},
        GPT.forward,
        "position_embedding",
        f"table = seen.model.position_embedding.weight\nprint(table[{position}, {channel}].item())",
    )


def _stream(seen: Activations, state: int, position: int, channel: int) -> Origin:
    if state == 0:
        return _first_state(seen, position, channel)
    parts = contributions(seen, position, state)
    layer, is_ffn = divmod(state - 1, 2)
    if is_ffn:
        branch, read = "ffn", f"seen.hidden[{layer}, {position}]"
    else:
        branch, read = "attn", f"seen.heads[{layer}, :, {position}].flatten()"
    return Origin(
        {label: float(part[channel]) for label, part in parts.items()},
        Block.forward,
        branch,
        f"project, read = seen.model.blocks[{layer}].{branch}.project, {read}\n"
        f"added = project.weight[{channel}] @ read + project.bias[{channel}]\n"
        f"print((seen.stream[{state - 1}, {position}, {channel}] + added).item())",
    )


def _first_state(seen: Activations, position: int, channel: int) -> Origin:
    token = _token(seen, position, channel)
    if seen.position is None:
        return token
    return Origin(
        token.terms | _position(seen, position, channel).terms,
        GPT.forward,
        "position_embedding",
        "tokens, positions = seen.model.token_embedding, seen.model.position_embedding\n"
        f"x = tokens.weight[seen.ids[{position}]] + positions.weight[{position}]\n"
        f"print(x[{channel}].item())",
    )


def _qkv(
    part: int, seen: Activations, layer: int, head: int, position: int, channel: int
) -> Origin:
    if part < 2 and seen.position is None:
        return _rotated(part, seen, layer, head, position, channel)
    width, size = seen.token.size(-1), seen.q.size(-1)
    row = part * width + head * size + channel
    weight, bias = _linear(seen, f"blocks.{layer}.attn.qkv")
    inputs = seen.attention_inputs[layer, position]
    return Origin(
        {**_each("channel", weight[row] * inputs), ("bias",): float(bias[row])},
        SelfAttention.forward,
        "qkv",
        f"qkv, x = seen.model.blocks[{layer}].attn.qkv, seen.attention_inputs[{layer}, {position}]"
        f"\nrow = {part} * {width} + {head} * {size} + {channel}"
        f"  # {'qkv'[part]}, head {head}, channel {channel}\n"
        "print((qkv.weight[row] @ x + qkv.bias[row]).item())",
    )


def _rotated(
    part: int, seen: Activations, layer: int, head: int, position: int, channel: int
) -> Origin:
    """As `_qkv`, where q and k are rotated: two rows of the weight make one number."""
    size = seen.q.size(-1)
    half = size // 2
    pair = channel % half
    first = part * seen.token.size(-1) + head * size + pair
    rows = [first, first + half]
    weight, bias = _linear(seen, f"blocks.{layer}.attn.qkv")
    inputs = seen.attention_inputs[layer, position]
    # What each channel adds to the coordinates a and b, and the bias last: (2, C + 1)
    a, b = torch.cat([weight[rows] * inputs, bias[rows].unsqueeze(-1)], dim=-1)
    angle = position * (ROTARY_BASE ** (-torch.arange(half, device=a.device) / half))[pair]
    cos, sin = angle.cos(), angle.sin()
    if channel < half:
        values, formula = a * cos - b * sin, "a * angle.cos() - b * angle.sin()"
    else:
        values, formula = b * cos + a * sin, "b * angle.cos() + a * angle.sin()"
    return Origin(
        {**_each("channel", values[:-1]), ("bias",): float(values[-1])},
        with_rotary,
        "roll",
        f"a, b = seen.model.blocks[{layer}].attn.qkv(seen.attention_inputs[{layer}, {position}])"
        f"[{rows}]\n"
        f"angle = {position} * ({ROTARY_BASE:_.0f} ** (-torch.arange({half}) / {half}))[{pair}]\n"
        f"print(({formula}).item())",
        imports="import torch\n",
    )


def _scores(seen: Activations, layer: int, head: int, row: int, column: int) -> Origin:
    q, k = seen.q[layer, head, row], seen.k[layer, head, column]
    return Origin(
        _each("channel", q * k / len(q) ** 0.5),
        attention_scores,
        "transpose",
        f"q, k = seen.q[{layer}, {head}, {row}], seen.k[{layer}, {head}, {column}]\n"
        "print((q @ k / len(q) ** 0.5).item())",
    )


def _weights(seen: Activations, layer: int, head: int, row: int, column: int) -> Origin:
    scores = seen.masked[layer, head, row]
    return Origin(
        _each("position", (scores - scores.max()).exp()),
        attention_weights,
        "softmax",
        f"scores = seen.masked[{layer}, {head}, {row}]\n{_softmax('scores', column)}",
        rule="share",
    )


def _softmax(name: str, own: int) -> str:
    return f"shares = ({name} - {name}.max()).exp()\nprint((shares[{own}] / shares.sum()).item())"


def _heads(seen: Activations, layer: int, head: int, row: int, channel: int) -> Origin:
    weights, v = seen.weights[layer, head, row], seen.v[layer, head, :, channel]
    return Origin(
        _each("position", weights * v),
        readable_attention,
        "attention_weights",
        f"weights, v = seen.weights[{layer}, {head}, {row}], seen.v[{layer}, {head}, :, {channel}]"
        "\nprint((weights @ v).item())",
    )


def _hidden(seen: Activations, layer: int, position: int, unit: int) -> Origin:
    weight, bias = _linear(seen, f"blocks.{layer}.ffn.expand")
    inputs = seen.ffn_inputs[layer, position]
    return Origin(
        {**_each("channel", weight[unit] * inputs), ("bias",): float(bias[unit])},
        FeedForward.forward,
        "gelu",
        f"expand, x = seen.model.blocks[{layer}].ffn.expand, seen.ffn_inputs[{layer}, {position}]\n"
        f"print(gelu(expand.weight[{unit}] @ x + expand.bias[{unit}]).item())",
        imports="from zigpt.gpt.model import gelu\n",
        rule="gelu",
    )


def _logits(seen: Activations, position: int, character: int) -> Origin:
    normed = seen.model.ln_f(seen.stream[-1, position])
    return Origin(
        _each("channel", normed * seen.model.head.weight[character]),
        GPT.forward,
        "head",
        f"x = seen.model.ln_f(seen.stream[-1, {position}])\n"
        f"print((seen.model.head.weight[{character}] @ x).item())",
    )


def _probabilities(seen: Activations, position: int, character: int) -> Origin:
    logits = seen.logits[position]
    return Origin(
        _each("character", (logits - logits.max()).exp()),
        vars(Activations)["probabilities"].func,
        "softmax",
        f"logits = seen.logits[{position}]\n{_softmax('logits', character)}",
        rule="share",
    )


ORIGINS: dict[str, Callable[..., Origin]] = {
    "token": _token,
    "position": _position,
    "stream": _stream,
    "q": partial(_qkv, 0),
    "k": partial(_qkv, 1),
    "v": partial(_qkv, 2),
    "scores": _scores,
    "weights": _weights,
    "heads": _heads,
    "hidden": _hidden,
    "logits": _logits,
    "probabilities": _probabilities,
}
