"""Every number that a model computes for a window: its tensors, and where each number is from."""

import math

import torch
from torch import Tensor

from zigpt.anatomy.trace import SHAPES, trace
from zigpt.gpt.model import gelu
from zigpt.web.guard import Refused
from zigpt.web.handlers.requests import TensorRequest, WindowRequest
from zigpt.web.handlers.windows import Answer, Window, pack_float32

_MOST_TERMS = 20  # of a number, one by one; the rest as their sum


def list_tensors(window: Window, _: WindowRequest) -> Answer:
    """List the tensors with their letters and sizes."""
    found = {name: getattr(window.activations, name) for name in SHAPES}
    return {
        name: {"letters": SHAPES[name].strip("()").split(", "), "sizes": list(tensor.shape)}
        for name, tensor in found.items()
        if tensor is not None
    }


def cells(window: Window, request: TensorRequest) -> Answer:
    """Give the rows and columns of a tensor at an index of all dimensions before them."""
    name, index = request.tensor, request.index
    tensor: Tensor | None = getattr(window.activations, name) if name in SHAPES else None
    if tensor is None:
        raise Refused(422, f"there is no tensor {name!r}")
    before = tensor.shape[:-2]
    if len(index) != len(before) or any(i >= size for i, size in zip(index, before, strict=True)):
        raise Refused(422, f"{name} is {SHAPES[name]} = {tuple(tensor.shape)}: no index {index}")
    return pack_float32(tensor[index])


def explain(window: Window, request: TensorRequest) -> Answer:
    """Give one number of a tensor: its terms, the rule that joins them, and the line of code."""
    try:
        found = trace(window.activations, request.tensor, request.index, window.text, window.file)
    except (ValueError, IndexError) as error:
        raise Refused(422, str(error)) from error
    values = [value for _, value in found.terms]
    total = math.fsum(values)
    own = None if found.own is None else dict(found.terms)[found.own]
    return {
        "value": found.value,
        "rule": found.rule,
        "terms": found.terms[:_MOST_TERMS],
        "count": len(values),
        "rest": math.fsum(values[_MOST_TERMS:]),
        "total": total,
        "own": [found.own, own],
        "made": _apply(found.rule, total, own),
        "source": {
            "path": found.source.path,
            "number": found.source.number,
            "code": found.source.code,
        },
        "snippet": found.snippet,
        "file": window.file,
    }


def _apply(rule: str, total: float, own: float | None) -> float:
    """Make the number from the sum of its terms."""
    if own is not None:
        return own / total
    return float(gelu(torch.tensor(total))) if rule == "gelu" else total
