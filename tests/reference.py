"""The textbook, spelled out: one head, one query, one number at a time: our oracle."""

import math

import torch
from torch import Tensor

from zigpt.model import GPT


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


def logits(model: GPT, ids: list[int]) -> Tensor:
    """The scores of a GPT for one window, from its weights alone: (T, V)."""
    w = model.state_dict()
    config = model.config
    size = config.n_embd // config.n_head
    x = torch.stack(
        [
            w["token_embedding.weight"][i] + w["position_embedding.weight"][t]
            for t, i in enumerate(ids)
        ]
    )
    for n in range(config.n_layer):
        at = f"blocks.{n}."

        def linear(x: Tensor, name: str, at: str = at) -> Tensor:
            return x @ w[f"{at}{name}.weight"].T + w[f"{at}{name}.bias"]

        h = layer_norm(x, w[at + "ln_1.weight"], w[at + "ln_1.bias"])
        q, k, v = linear(h, "attn.qkv").split(config.n_embd, dim=-1)
        heads = [
            attention(q[:, c : c + size], k[:, c : c + size], v[:, c : c + size])
            for c in range(0, config.n_embd, size)
        ]
        x = x + linear(torch.cat(heads, dim=-1), "attn.project")
        h = layer_norm(x, w[at + "ln_2.weight"], w[at + "ln_2.bias"])
        x = x + linear(gelu(linear(h, "ffn.expand")), "ffn.project")
    return layer_norm(x, w["ln_f.weight"], w["ln_f.bias"]) @ w["head.weight"].T
