"""What the page may ask about a model's own numbers: whole pictures, and the origin of each one."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zigpt.anatomy.predictions import influence
from zigpt.anatomy.trace import SHAPES, trace
from zigpt.gpt.model import gelu
from zigpt.web.guard import Refused
from zigpt.web.looking import Looked, Question, numbers
from zigpt.web.questions import field, index

_TERMS = 20  # of a number, one by one; the rest as their sum
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


def tensors(looked: Looked, asked: Any) -> dict[str, Any]:
    """What can be traced: each tensor's letters and sizes."""
    found = {name: getattr(looked.seen, name) for name in SHAPES}
    return {
        name: {"letters": SHAPES[name].strip("()").split(", "), "sizes": list(tensor.shape)}
        for name, tensor in found.items()
        if tensor is not None
    }


def cells(looked: Looked, asked: Any) -> bytes:
    """The rows and columns of a tensor at an index that names all dimensions before these."""
    name, place = field(asked, "tensor", str), _numbers(asked, "index")
    tensor: Tensor | None = getattr(looked.seen, name) if name in SHAPES else None
    if tensor is None:
        raise Refused(422, f"there is no tensor {name!r} to look at")
    before = tensor.shape[:-2]
    if len(place) != len(before) or any(at >= size for at, size in zip(place, before, strict=True)):
        raise Refused(422, f"{name} is {SHAPES[name]} = {tuple(tensor.shape)}, not so at {place}")
    return numbers(tensor[place])


def traced(looked: Looked, asked: Any) -> dict[str, Any]:
    """One number of a tensor: what it is made of, where and how."""
    name, place = field(asked, "tensor", str), _numbers(asked, "index")
    try:
        found = trace(looked.seen, name, place, looked.text, looked.file)
    except (ValueError, IndexError) as error:
        raise Refused(422, str(error)) from error
    values = [value for _, value in found.terms]
    total = math.fsum(values)
    own = None if found.own is None else dict(found.terms)[found.own]
    return {
        "value": found.value,
        "rule": found.rule,
        "terms": found.terms[:_TERMS],
        "count": len(values),
        "rest": math.fsum(values[_TERMS:]),
        "total": total,
        "own": [found.own, own],
        "made": _made(found.rule, total, own),
        "source": {
            "path": found.source.path,
            "number": found.source.number,
            "code": found.source.code,
        },
        "snippet": found.snippet,
        "file": looked.file,
    }


def _made(rule: str, total: float, own: float | None) -> float:
    """What the terms make, by the rule."""
    if own is not None:
        return own / total
    return float(gelu(torch.tensor(total))) if rule == "gelu" else total


def _numbers(asked: Any, name: str) -> tuple[int, ...]:
    """Take a list of whole numbers, from 0 on."""
    return tuple(index({name: n}, name, 2**31) for n in field(asked, name, list))


QUESTIONS: dict[str, Question] = {
    "heads": heads,
    "attention": attention,
    "moved": moved,
    "tensors": tensors,
    "cells": cells,
    "trace": traced,
}
