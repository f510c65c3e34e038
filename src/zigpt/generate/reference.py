"""The model itself as a `Decoder`: float32, on any device, with or without a key-value cache."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from zigpt.generate.loop import context_start
from zigpt.gpt.attention import causal_mask
from zigpt.gpt.config import GPTConfig
from zigpt.gpt.model import GPT


class KVCache:
    """Keys and values of the positions already read, so that only new ones are computed."""

    def __init__(self, config: GPTConfig, batch_size: int, like: Tensor) -> None:
        head_size = config.n_embd // config.n_head
        shape = (config.n_layer, batch_size, config.n_head, config.block_size, head_size)
        self._keys, self._values = like.new_zeros(shape), like.new_zeros(shape)
        half = config.n_embd // 2
        # What entered each residual branch last; only the modern architecture asks for it.
        self._newest = like.new_zeros(2 * config.n_layer, batch_size, 1, half)
        self._start, self._end = 0, 0  # the stretch of text that is cached

    def attend(
        self,
        layer: int,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H T D"],
        v: Float[Tensor, "B H T D"],
    ) -> Float[Tensor, "B H T D"]:
        """Cache k and v of this layer and attend to all that is cached."""
        n_cached = self._end - self._start
        stop = n_cached + q.size(2)
        keys, values = self._keys[layer, :, :, :stop], self._values[layer, :, :, :stop]
        keys[:, :, n_cached:] = k
        values[:, :, n_cached:] = v
        # A single query is the newest position and may see everything: no mask.
        mask = causal_mask(stop, q.device)[n_cached:] if q.size(2) > 1 else None
        return F.scaled_dot_product_attention(q, keys, values, mask)

    def previous(self, branch: int, x: Float[Tensor, "B T half"]) -> Float[Tensor, "B T half"]:
        """Shift `x` by one position: put the cached one first, and cache the last."""
        joined = torch.cat((self._newest[branch], x), dim=1)
        self._newest[branch] = joined[:, -1:]
        return joined[:, :-1]

    def reset(self, start: int = 0) -> None:
        """Forget everything, and cache from the position `start` of a text on."""
        self._start = self._end = start
        self._newest.zero_()

    def next_logits(self, model: GPT, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B V"]:
        """Compute the logits after `ids`, and nothing that is cached."""
        start = context_start(ids.size(1), model.config.block_size)
        if start != self._start:
            self.reset(start)
        logits = model(ids[:, self._end :], self.attend, self.previous, self._end - self._start)
        self._end = ids.size(1)
        return logits[:, -1]


class ReferenceDecoder:
    """A GPT that writes `count` texts side by side; it is put into evaluation mode.

    Without the cache it computes the same logits the slow way.
    """

    def __init__(self, model: GPT, count: int = 1, cached: bool = True) -> None:
        self.count, self.block_size = count, model.config.block_size
        self._model, self._cached = model, cached
        self._cache = KVCache(model.config, count, model.head.weight)

    def reset(self) -> None:
        """Forget the text: the ids of the next call are another."""
        self._cache.reset()

    @torch.inference_mode()
    def next_logits(self, ids: Int[np.ndarray, "B T"]) -> Float[np.ndarray, "B V"]:
        """Compute the logits after `ids`, which continue those of the previous call."""
        model = self._model
        if model.training:
            model.eval()
        text = torch.from_numpy(ids).to(model.head.weight.device)
        if self._cached:
            logits = self._cache.next_logits(model, text)
        else:
            window = text[:, context_start(ids.shape[1], self.block_size) :]
            logits = model(window)[:, -1]
        return logits.float().cpu().numpy()
