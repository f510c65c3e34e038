"""The GPT: ids (B, T) in, logits (B, T, V) out.

One legend for the whole project:

    B batch      windows of text side by side
    T time       positions in a window; S where keys reach further back than queries
    C channels   width of the residual stream, `n_embd`
    H heads      D = C / H channels each
    V vocabulary distinct characters

The architecture is GPT-2's (Radford et al. 2019) over the decoder of arXiv:1706.03762. This module
knows no text, no file and no optimizer. What happens between positions happens in one function,
`Attend`; everything else treats each position by itself. That is why a key-value cache, a picture
of the attention or an ablation are all just another `Attend` handed to the same model.
"""

import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from zigpt.config import GPTConfig

# On a CPU: queries that go through attention together, and the longest window done that way.
_ROWS, _LONGEST = 256, 2048


@runtime_checkable
class Attend(Protocol):
    """How the queries of one layer read its values: the only place where positions meet."""

    def __call__(
        self,
        layer: int,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H T D"],
        v: Float[Tensor, "B H T D"],
    ) -> Float[Tensor, "B H T D"]:
        """Mix the values that each position may see; `layer` counts from 0."""
        ...


def causal_mask(length: int, device: torch.device | None = None) -> Bool[Tensor, "T T"]:
    """Lower-triangular: row t is True where position t may look, at 0 ... t."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def attention_scores(
    q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H T D"]
) -> Float[Tensor, "B H T T"]:
    """scores = q kᵀ / √D: how well each query matches each key, before any mask."""
    return q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))


def attention_weights(
    q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H T D"]
) -> Float[Tensor, "B H T T"]:
    """weights = softmax(scores, with the future at -inf): each row sums to 1, above is 0."""
    scores = attention_scores(q, k)
    past = causal_mask(scores.size(-1), scores.device)
    return F.softmax(scores.masked_fill(~past, float("-inf")), dim=-1)


def readable_attention(
    layer: int,
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H T D"],
    v: Float[Tensor, "B H T D"],
) -> Float[Tensor, "B H T D"]:
    """attention = weights v, as in the formula of arXiv:1706.03762, eq. 1."""
    return attention_weights(q, k) @ v


def fused_attention(
    layer: int,
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H T D"],
    v: Float[Tensor, "B H T D"],
) -> Float[Tensor, "B H T D"]:
    """The same, quickly: one library call that never stores the weights (arXiv:2205.14135).

    All but the longest windows on a CPU take matrix products instead, which are faster there.
    """
    if _by_rows(q.size(-2), q.device):
        return _attention_by_rows(q, k, v)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def weights_kept(length: int, device: torch.device) -> int:
    """Count what `fused_attention` keeps for the backward pass: weights per query and head."""
    return (length + min(length, _ROWS)) // 2 if _by_rows(length, device) else 0


def _by_rows(length: int, device: torch.device) -> bool:
    return device.type == "cpu" and length <= _LONGEST


def _attention_by_rows(
    q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H T D"], v: Float[Tensor, "B H T D"]
) -> Float[Tensor, "B H T D"]:
    """softmax(mask + q kᵀ / √D) v, a stretch of queries at a time with the keys up to its end.

    Scale and mask are folded into the first matrix product.
    """
    # (B, H, T, D) -> (B * H, T, D), the shape of one batched matrix product
    queries, keys, values = (x.flatten(0, 1) for x in (q, k, v))
    length, head_size = q.shape[-2:]
    mixed = []
    for start in range(0, length, _ROWS):
        end = min(start + _ROWS, length)
        mask = torch.full((end - start, end), float("-inf"), dtype=q.dtype).triu(start + 1)
        labels = keys[:, :end].transpose(1, 2)
        scores = torch.baddbmm(mask, queries[:, start:end], labels, alpha=head_size**-0.5)
        mixed.append(scores.softmax(-1) @ values[:, :end])
    return torch.cat(mixed, dim=1).view_as(q)


def next_character_loss(
    logits: Float[Tensor, "B T V"], targets: Int[Tensor, "B T"]
) -> Float[Tensor, ""]:
    """Mean of -log p(target) over all B x T predictions, in nats per character."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def gelu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """GELU in GPT-2's tanh form (arXiv:1606.08415); in bfloat16 the exact form.

    They differ by less than 0.0005, and on a CPU the exact one costs a third in bfloat16.
    """
    return F.gelu(x, approximate="none" if x.dtype == torch.bfloat16 else "tanh")


class Dropout(nn.Module):
    """While training, set a share of the values to 0 and scale up the others to make up for it.

    As torch's own, but quicker on a CPU, where drawing one number for each value takes an eighth of
    a training step: here one draw of 64 bits decides about four values.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        """Draw the mask from torch's global generator."""
        if not self.training or self.share == 0 or x.device.type != "cpu":
            return F.dropout(x, self.share, self.training)
        dropped = min(round(self.share * 2**16), 2**16 - 1)  # of 65,536 equally likely numbers
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        numbers = draws.view(torch.int16)[: x.numel()].view(x.shape)
        kept = numbers.ge_(dropped - 2**15).to(x.dtype)  # in place: a bool would convert slowly
        return x * kept.mul_(2**16 / (2**16 - dropped))


class SelfAttention(nn.Module):
    """Every position asks (q), every earlier one offers a label (k) and a content (v)."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.n_head = config.n_head
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.project = nn.Linear(config.n_embd, config.n_embd)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "B T C"], attend: Attend) -> Float[Tensor, "B T C"]:
        """project(attend(q, k, v)), all heads at once."""
        q, k, v = (self._split_heads(part) for part in self.qkv(x).chunk(3, dim=-1))
        heads = attend(self.layer, q, k, v)
        # (B, H, T, D) -> (B, T, C)
        return self.dropout(self.project(heads.transpose(1, 2).flatten(-2)))

    def _split_heads(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B H T D"]:
        # (B, T, C) -> (B, H, T, D)
        return x.view(*x.shape[:-1], self.n_head, -1).transpose(1, 2)


class FeedForward(nn.Module):
    """project(GELU(expand(x))): each position on its own, through a layer four times as wide."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.expand = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.project = nn.Linear(4 * config.n_embd, config.n_embd)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        """Expand, GELU, project, drop."""
        return self.dropout(self.project(gelu(self.expand(x))))


class Block(nn.Module):
    """Look around, then think: two residual branches, each behind its own LayerNorm."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd)
        self.attn = SelfAttention(config, layer)
        self.ln_2 = nn.LayerNorm(config.n_embd)
        self.ffn = FeedForward(config)

    def forward(self, x: Float[Tensor, "B T C"], attend: Attend) -> Float[Tensor, "B T C"]:
        """x + attn(ln_1(x)), then x + ffn(ln_2(x))."""
        x = x + self.attn(self.ln_1(x), attend)
        return x + self.ffn(self.ln_2(x))


class GPT(nn.Module):
    """A decoder-only Transformer.

    `generator` supplies the initial weights; without one, torch's global generator does.
    """

    def __init__(self, config: GPTConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.position_embedding = nn.Embedding(config.block_size, config.n_embd)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd)
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self._initialise(generator)

    def forward(
        self, ids: Int[Tensor, "B T"], attend: Attend = fused_attention, start: int = 0
    ) -> Float[Tensor, "B T V"]:
        """Score every possible next character at every position at once.

        `start` is the position of the first id, for an `attend` that remembers earlier ones.

        Raises:
            ValueError: the ids reach beyond the block size.
        """
        end = start + ids.size(1)
        if end > self.config.block_size:
            raise ValueError(
                f"expected at most {self.config.block_size} positions, got {end}: "
                "give the model the last block_size characters"
            )
        positions = torch.arange(start, end, device=ids.device)
        x = self.dropout(self.token_embedding(ids) + self.position_embedding(positions))
        for block in self.blocks:
            x = block(x, attend)
        return self.head(self.ln_f(x))

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator | None) -> None:
        """GPT-2's: N(0, 0.02); what writes into the residual stream shrunk by √(2 n_layer).

        Only the head differs, because GPT-2 ties it to the embedding and we do not: its scores
        start with a spread of 0.2 at any width, so that the first loss is that of a blind guess.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02, generator=generator)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        nn.init.normal_(
            self.head.weight, std=0.2 / math.sqrt(self.config.n_embd), generator=generator
        )
        for module in self.modules():
            if isinstance(module, SelfAttention | FeedForward):
                module.project.weight.div_(math.sqrt(2 * self.config.n_layer))
