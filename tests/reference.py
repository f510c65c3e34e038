"""The model spelled out, one head and one query at a time: the oracle of the tests."""

import cmath
import math

import torch
from torch import Tensor

from zigpt.gpt.model import GPT


def layer_norm(x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred**2).mean(-1, keepdim=True)
    return centred / torch.sqrt(variance + 1e-5) * gain + bias


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One head of one window: q, k, v are (T, D)."""
    rows = []
    for t in range(len(q)):
        scores = [float("-inf")] * len(q)
        scores[: t + 1] = [q[t] @ k[s] / math.sqrt(q.size(-1)) for s in range(t + 1)]
        exps = [torch.exp(torch.as_tensor(score)) for score in scores]
        total = sum(exps)
        rows.append(sum(e / total * v[s] for s, e in enumerate(exps)))
    return torch.stack(rows)


def rotate(x: Tensor) -> Tensor:
    """One head of one window (T, D): each pair of channels is a complex number, rotated."""
    half = x.size(-1) // 2
    rows = []
    for t, row in enumerate(x):
        pairs = [complex(row[i], row[i + half]) for i in range(half)]
        rotated = [pair * cmath.exp(1j * t * 10_000 ** (-i / half)) for i, pair in enumerate(pairs)]
        rows.append(torch.tensor([z.real for z in rotated] + [z.imag for z in rotated]))
    return torch.stack(rows)


def shift(x: Tensor) -> Tensor:
    """The first half of each position's channels come from the one before, 0 at the first."""
    rows = []
    for t, row in enumerate(x):
        before = x[t - 1] if t else torch.zeros_like(row)
        rows.append(torch.tensor([*before[: len(row) // 2], *row[len(row) // 2 :]]))
    return torch.stack(rows)


def logits(model: GPT, ids: list[int]) -> Tensor:
    """The scores of a GPT for one window, from its weights alone: (T, V)."""
    w = model.state_dict()
    config = model.config
    size = config.n_embd // config.n_head
    modern = config.architecture == "modern"
    x = torch.stack([w["token_embedding.weight"][i] for i in ids])
    if not modern:
        x = x + torch.stack([w["position_embedding.weight"][t] for t in range(len(ids))])
    for n in range(config.n_layer):
        at = f"blocks.{n}."

        def linear(x: Tensor, name: str, at: str = at) -> Tensor:
            return x @ w[f"{at}{name}.weight"].T + w[f"{at}{name}.bias"]

        h = layer_norm(x, w[at + "ln_1.weight"], w[at + "ln_1.bias"])
        h = shift(h) if modern else h
        q, k, v = linear(h, "attn.qkv").split(config.n_embd, dim=-1)
        heads = []
        for c in range(0, config.n_embd, size):
            one, two, three = (part[:, c : c + size] for part in (q, k, v))
            heads.append(attention(*((rotate(one), rotate(two)) if modern else (one, two)), three))
        x = x + linear(torch.cat(heads, dim=-1), "attn.project")
        h = layer_norm(x, w[at + "ln_2.weight"], w[at + "ln_2.bias"])
        h = shift(h) if modern else h
        x = x + linear(gelu(linear(h, "ffn.expand")), "ffn.project")
    return layer_norm(x, w["ln_f.weight"], w["ln_f.bias"]) @ w["head.weight"].T
