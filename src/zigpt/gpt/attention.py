"""What happens between positions: only here does one position learn about another.

Attention comes in two forms with the same result: a readable one, for people and pictures, and a
fast one. Letters as in `zigpt.gpt.model`; this module has no weights.
"""

import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from zigpt.gpt.config import ROTARY_BASE

# On a CPU in bfloat16 attention is computed in chunks of queries, up to windows of this length.
_CHUNK, _LONGEST_CHUNKED = 256, 2048


@runtime_checkable
class Previous(Protocol):
    """What each position is given of the position before it; the first is given zeros."""

    def __call__(self, branch: int, x: Float[Tensor, "B T half"]) -> Float[Tensor, "B T half"]:
        """Shift `x` by one position; the residual branches of all blocks are numbered from 0."""
        ...


@runtime_checkable
class Attend(Protocol):
    """How one layer computes attention."""

    def __call__(
        self,
        layer: int,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H T D"],
        v: Float[Tensor, "B H T D"],
    ) -> Float[Tensor, "B H T D"]:
        """Give each position a mixture of the values it may see; `layer` counts from 0."""
        ...


def previous_position(branch: int, x: Float[Tensor, "B T half"]) -> Float[Tensor, "B T half"]:
    """Shift a whole window by one position."""
    return F.pad(x[:, :-1], (0, 0, 1, 0))


def causal_mask(length: int, device: torch.device | None = None) -> Bool[Tensor, "T T"]:
    """Lower-triangular: row t is True at 0 ... t, the positions that t may see."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def attention_scores(
    q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H T D"]
) -> Float[Tensor, "B H T T"]:
    """scores = q kᵀ / √D: how well each query matches each key, before any mask."""
    return q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))


def hide_future(scores: Float[Tensor, "B H T T"]) -> Float[Tensor, "B H T T"]:
    """Set the score to -inf where a key comes after its query, so that its weight becomes 0."""
    visible = causal_mask(scores.size(-1), scores.device)
    return scores.masked_fill(~visible, float("-inf"))


def attention_weights(
    q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H T D"]
) -> Float[Tensor, "B H T T"]:
    """weights = softmax(scores, future at -inf): each row sums to 1, above the diagonal is 0."""
    return F.softmax(hide_future(attention_scores(q, k)), dim=-1)


def readable_attention(
    layer: int,
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H T D"],
    v: Float[Tensor, "B H T D"],
) -> Float[Tensor, "B H T D"]:
    """attention = weights v, as in the formula of arXiv:1706.03762, eq. 1."""
    return attention_weights(q, k) @ v


def fast_attention(
    layer: int,
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H T D"],
    v: Float[Tensor, "B H T D"],
) -> Float[Tensor, "B H T D"]:
    """The same, fast: PyTorch's fused kernel, which never stores the weights (arXiv:2205.14135).

    On a CPU that kernel is slow in bfloat16; there all but the longest windows go in chunks.
    """
    if _is_chunked(q.size(-2), q.device, q.dtype):
        return _chunked_attention(q, k, v)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def weights_kept(length: int, device: torch.device, precision: torch.dtype) -> int:
    """Count the weights that `fast_attention` keeps for the backward pass, per query and head."""
    return (length + min(length, _CHUNK)) // 2 if _is_chunked(length, device, precision) else 0


def _is_chunked(length: int, device: torch.device, precision: torch.dtype) -> bool:
    return device.type == "cpu" and precision == torch.bfloat16 and length <= _LONGEST_CHUNKED


def _chunked_attention(
    q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H T D"], v: Float[Tensor, "B H T D"]
) -> Float[Tensor, "B H T D"]:
    """softmax(mask + q kᵀ / √D) v for a chunk of queries at a time, and the keys up to its end.

    The mask is 0 where a query may see a key and -inf elsewhere; one call adds it, scales and
    multiplies.
    """
    # (B, H, T, D) -> (B * H, T, D), the shape of one batched matrix product
    queries, keys, values = (x.flatten(0, 1) for x in (q, k, v))
    length, head_size = q.shape[-2:]
    mixed = []
    for start in range(0, length, _CHUNK):
        end = min(start + _CHUNK, length)
        mask = torch.full((end - start, end), float("-inf"), dtype=q.dtype).triu(start + 1)
        keys_so_far = keys[:, :end].transpose(1, 2)
        scores = torch.baddbmm(mask, queries[:, start:end], keys_so_far, alpha=head_size**-0.5)
        mixed.append(scores.softmax(-1) @ values[:, :end])
    return torch.cat(mixed, dim=1).view_as(q)


def with_rotary(attend: Attend, positions: Int[Tensor, " T"], head_size: int) -> Attend:
    """Rotate queries and keys by an angle that grows with their position (arXiv:2104.09864).

    Channels i and i + D/2 of a head are a point (a, b) in the plane, which turns by θ_i per
    position. A score then depends on the distance between two positions, not on where they are. D
    must be even.
    """
    half = head_size // 2
    frequencies = ROTARY_BASE ** (-torch.arange(half, device=positions.device) / half)
    angles = positions.unsqueeze(-1) * frequencies
    cos = angles.cos().repeat(1, 2)
    sin = torch.cat((-angles.sin(), angles.sin()), dim=-1)

    def rotate(x: Float[Tensor, "B H T D"]) -> Float[Tensor, "B H T D"]:
        # (a, b) becomes (a cos - b sin, b cos + a sin); rolling by half a head gives (b, a).
        return x * cos.to(x.dtype) + x.roll(half, dims=-1) * sin.to(x.dtype)

    def attend_rotated(
        layer: int,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H T D"],
        v: Float[Tensor, "B H T D"],
    ) -> Float[Tensor, "B H T D"]:
        return attend(layer, rotate(q), rotate(k), v)

    return attend_rotated
