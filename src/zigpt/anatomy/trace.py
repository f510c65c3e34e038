"""Where a number comes from: its terms, the line that made it, and how to make it again."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import zigpt
from zigpt.anatomy.activations import Activations
from zigpt.anatomy.layers import Label
from zigpt.anatomy.origins import ORIGINS, Rule

# The tensors of `Activations` that can be traced, in its letters.
SHAPES = {
    "token": "(T, C)", "position": "(T, C)", "stream": "(S, T, C)",
    "q": "(L, H, T, D)", "k": "(L, H, T, D)", "v": "(L, H, T, D)",
    "scores": "(L, H, T, T)", "weights": "(L, H, T, T)", "heads": "(L, H, T, D)",
    "hidden": "(L, T, F)", "logits": "(T, V)", "probabilities": "(T, V)",
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A line of zigpt's source; the path starts at the package."""

    path: str
    number: int
    code: str


@dataclass(frozen=True)
class Trace:
    """One number of a model and what it is made of.

    The rule says how: the sum of the terms, GELU of that sum, or the share that the term called
    `own` has in it.
    """

    value: float
    shape: str  # of the tensor, as in `SHAPES`
    rule: Rule
    terms: list[tuple[Label, float]]  # the largest first, whatever their sign
    own: Label | None  # for a share: whose it is
    source: Line
    snippet: str  # Python that makes the number again from the model's file


@torch.no_grad()
def trace(
    seen: Activations,
    name: str,
    index: tuple[int, ...],
    text: str,
    file: str = "model.safetensors",
) -> Trace:
    """Trace the cell at `index` of a tensor in `seen`, which was made from `text`.

    The index is a full one: (layer, head, row, column) where there are layers and heads. The
    snippet reads the model from `file`.

    Raises:
        ValueError: there is no such tensor, it has not that many dimensions, or the text is
            another.
        IndexError: the tensor has no such cell.
    """
    _check(seen, name, index, text)
    origin = ORIGINS[name](seen, *index)
    return Trace(
        value=float(getattr(seen, name)[index]),
        shape=SHAPES[name],
        rule=origin.rule,
        terms=sorted(origin.terms.items(), key=lambda term: -abs(term[1])),
        own=list(origin.terms)[index[-1]] if origin.rule == "share" else None,
        source=source_line(origin.made_in, origin.statement),
        snippet=f"""{origin.imports}\
import zigpt
seen = zigpt.load({file!r}, "cpu").inspect({text!r})
{origin.code}
""",
    )


def source_line(function: Callable[..., Any], statement: str) -> Line:
    """Find the line of a function where a statement stands.

    Raises:
        LookupError: it stands there no more, or more than once.
    """
    lines, first = inspect.getsourcelines(function)
    found = [number for number, line in enumerate(lines) if statement in line]
    if len(found) != 1:
        raise LookupError(f"{len(found)} lines of {function.__qualname__} have {statement!r}")
    path = Path(inspect.getfile(inspect.unwrap(function)))
    package = Path(zigpt.__file__).parent
    return Line(
        path=path.relative_to(package.parent).as_posix(),
        number=first + found[0],
        code=lines[found[0]].strip(),
    )


def _check(seen: Activations, name: str, index: tuple[int, ...], text: str) -> None:
    if name not in SHAPES:
        raise ValueError(f"there is no tensor {name!r} to trace: choose from {', '.join(SHAPES)}")
    tensor = getattr(seen, name)
    if tensor is None:
        raise ValueError(f"there is no {name} in a {seen.model.config.architecture} model")
    if len(index) != tensor.ndim:
        raise ValueError(f"{name} is {SHAPES[name]}: expected {tensor.ndim} numbers, got {index}")
    if not all(0 <= n < size for n, size in zip(index, tensor.shape, strict=True)):
        raise IndexError(f"{name} is {tuple(tensor.shape)}: there is no cell {index}, from 0 on")
    if len(text) != len(seen.ids):
        raise ValueError(
            f"the text has {len(text)} characters, but {len(seen.ids)} have been seen: "
            "give the text that was looked at"
        )
