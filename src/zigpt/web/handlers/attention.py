"""Attention: the weights of all heads in small, one head in full, and how far a change reaches."""

from torch.nn import functional as F

from zigpt.anatomy.predictions import influence
from zigpt.web.handlers.requests import (
    HeadRequest,
    InfluenceRequest,
    WindowRequest,
    require_index,
)
from zigpt.web.handlers.windows import Answer, Window, pack_float32

_THUMBNAIL = 48  # rows and columns


def all_heads(window: Window, _: WindowRequest) -> Answer:
    """Give the weights of all heads in small: each cell is the largest of those it stands for."""
    weights = window.activations.weights
    return pack_float32(F.adaptive_max_pool2d(weights, min(weights.size(-1), _THUMBNAIL)))


def one_head(window: Window, request: HeadRequest) -> Answer:
    """Give one head's scores, the same masked, and its weights; T x T each."""
    seen, config = window.activations, window.saved.model.config
    layer, head = request.layer, request.head
    require_index("layer", layer, config.n_layer)
    require_index("head", head, config.n_head)
    return pack_float32(*(step[layer, head] for step in (seen.scores, seen.masked, seen.weights)))


def change_reach(window: Window, request: InfluenceRequest) -> Answer:
    """Give how far the logits of each position move if one character is replaced."""
    seen = window.activations
    require_index("position", request.position, len(seen.ids))
    return pack_float32(influence(seen.model, seen.ids, request.position))
