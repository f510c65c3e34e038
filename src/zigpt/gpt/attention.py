"""What happens between positions: all that a position may learn of those before it.

Attention comes in several forms that compute the same: readable, for people and pictures, and
quick. Letters as in `zigpt.gpt.model`; this module knows no weights.
"""

import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from zigpt.gpt.config import ROTARY_BASE

# On a CPU in bfloat16: queries that go through attention together, and the longest window done so.
_ROWS, _LONGEST = 256, 2048


@runtime_checkable
class Before(Protocol):
    """What the position before had, at one place of the model: zeros before the first position."""

    def __call__(self, place: int, x: Float[Tensor, "B T half"]) -> Float[Tensor, "B T half"]:
        """Move `x`, half of the channels, on by one position; each block has two places."""
        ...


@runtime_checkable
class Attend(Protocol):
    """How the queries of one layer read its values: where positions meet."""

    def __call__(
        self,
        layer: int,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H T D"],
        v: Float[Tensor, "B H T D"],
    ) -> Float[Tensor, "B H T D"]:
        """Mix the values that each position may see; `layer` counts from 0."""
        ...


def position_before(place: int, x: Float[Tensor, "B T half"]) -> Float[Tensor, "B T half"]:
    """Move a whole window on by one position."""
    return F.pad(x[:, :-1], (0, 0, 1, 0))


def causal_mask(length: int, device: torch.device | None = None) -> Bool[Tensor, "T T"]:
    """Lower-triangular: row t is True where position t may look, at 0 ... t."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def attention_scores(
    q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H T D"]
) -> Float[Tensor, "B H T T"]:
    """scores = q kᵀ / √D: how well each query matches each key, before any mask."""
    return q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))


def hide_future(scores: Float[Tensor, "B H T T"]) -> Float[Tensor, "B H T T"]:
    """Put -inf where a key comes after its query, so that no weight can fall there."""
    past = causal_mask(scores.size(-1), scores.device)
    return scores.masked_fill(~past, float("-inf"))


def attention_weights(
    q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H T D"]
) -> Float[Tensor, "B H T T"]:
    """weights = softmax(scores, with the future at -inf): each row sums to 1, above is 0."""
    return F.softmax(hide_future(attention_scores(q, k)), dim=-1)


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

    On a CPU its bfloat16 is slow, and all but the longest windows take matrix products instead.
    """
    if _by_rows(q.size(-2), q.device, q.dtype):
        return _attention_by_rows(q, k, v)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def weights_kept(length: int, device: torch.device, precision: torch.dtype) -> int:
    """Count what `fused_attention` keeps for the backward pass: weights per query and head."""
    return (length + min(length, _ROWS)) // 2 if _by_rows(length, device, precision) else 0


def _by_rows(length: int, device: torch.device, precision: torch.dtype) -> bool:
    return device.type == "cpu" and precision == torch.bfloat16 and length <= _LONGEST


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


def rotated(attend: Attend, positions: Int[Tensor, " T"], head_size: int) -> Attend:
    """Turn queries and keys by their position before they meet (arXiv:2104.09864).

    Channels i and i + D/2 of a head are the coordinates (a, b) of a point, and its angle is the
    position x θ_i. A score then depends on how far two positions are apart, not on where they are.
    D must be even.
    """
    half = head_size // 2
    speeds = ROTARY_BASE ** (-torch.arange(half, device=positions.device) / half)
    angles = positions.unsqueeze(-1) * speeds
    cos = angles.cos().repeat(1, 2)
    sin = torch.cat((-angles.sin(), angles.sin()), dim=-1)

    def turned(x: Float[Tensor, "B H T D"]) -> Float[Tensor, "B H T D"]:
        # (a, b) becomes (a cos - b sin, b cos + a sin); rolling by half a head gives (b, a).
        return x * cos.to(x.dtype) + x.roll(half, dims=-1) * sin.to(x.dtype)

    def attend_turned(
        layer: int,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H T D"],
        v: Float[Tensor, "B H T D"],
    ) -> Float[Tensor, "B H T D"]:
        return attend(layer, turned(q), turned(k), v)

    return attend_turned
