"""What the page may ask about a model's own numbers: whole pictures, and the origin of each one."""

from typing import Any

from torch.nn import functional as F

from zigpt.anatomy import influence
from zigpt.web.looking import Looked, Question, numbers
from zigpt.web.questions import index

_THUMB = 48  # rows and columns of a head among all the others


def heads(looked: Looked, asked: Any) -> bytes:
    """The weights of all heads in small: each cell is the largest of those it stands for."""
    weights = looked.seen.weights
    return numbers(F.adaptive_max_pool2d(weights, min(weights.size(-1), _THUMB)))


def attention(looked: Looked, asked: Any) -> bytes:
    """One head's scores, then masked, then as weights; T x T each."""
    seen, config = looked.seen, looked.saved.model.config
    layer, head = index(asked, "layer", config.n_layer), index(asked, "head", config.n_head)
    return numbers(*(step[layer, head] for step in (seen.scores, seen.masked, seen.weights)))


def moved(looked: Looked, asked: Any) -> bytes:
    """How far the logits of each position move if one character is another."""
    seen = looked.seen
    return numbers(influence(seen.model, seen.ids, index(asked, "position", len(seen.ids))))


QUESTIONS: dict[str, Question] = {"heads": heads, "attention": attention, "moved": moved}
