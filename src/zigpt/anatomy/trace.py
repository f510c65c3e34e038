"""Where a number comes from: its terms, the line that computes it, and how to compute it again."""

import ast
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import torch

from zigpt.anatomy.activations import Activations
from zigpt.anatomy.layers import Label
from zigpt.anatomy.origins import ORIGINS, Rule

_PACKAGE = Path(__file__).parents[1]

# The tensors of `Activations` that can be traced, and their shapes in its letters.
SHAPES = {
    "token": "(T, C)", "position": "(T, C)", "stream": "(S, T, C)",
    "q": "(L, H, T, D)", "k": "(L, H, T, D)", "v": "(L, H, T, D)",
    "scores": "(L, H, T, T)", "weights": "(L, H, T, T)", "heads": "(L, H, T, D)",
    "hidden": "(L, T, F)", "logits": "(T, V)", "probabilities": "(T, V)",
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A line of zigpt's source; the path starts with the package's name."""

    path: str
    number: int
    code: str


@dataclass(frozen=True)
class Trace:
    """One number in a model's activations, and how it is computed.

    By `rule` it is the sum of the terms, GELU of that sum, or the share of the term `own` in it.
    """

    value: float
    shape: str  # of the tensor, as in `SHAPES`
    rule: Rule
    terms: list[tuple[Label, float]]  # the largest first, whatever their sign
    own: Label | None  # of a share: the term whose share it is
    source: Line  # of the model, where the number is computed
    snippet: str  # Python that computes it again from the model's file


@torch.no_grad()
def trace(
    seen: Activations,
    name: str,
    index: tuple[int, ...],
    text: str,
    file: str = "model.safetensors",
) -> Trace:
    """Trace the cell at `index` of the tensor `name` in `seen`, the activations on `text`.

    The index is complete: (layer, head, row, column) where there are layers and heads. The snippet
    loads the model from `file`.

    Raises:
        ValueError: no such tensor, an index of another length than its shape, or a text of another
            length than the one in `seen`.
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
        source=line_of_call(origin.computed_in, origin.call),
        snippet=f"""{origin.imports}\
import zigpt
seen = zigpt.load({file!r}, "cpu").inspect({text!r})
{origin.code}
""",
    )


def line_of_call(function: Callable[..., Any], name: str) -> Line:
    """Find the line of a zigpt function that calls `name`: its first line if not just one does.

    The source may have been edited since this was written, and even since it was imported.
    """
    function = inspect.unwrap(function)
    path = Path(inspect.getfile(function)).relative_to(_PACKAGE.parent).as_posix()
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(dedent("".join(lines)))
    except (OSError, SyntaxError):
        return Line(path, function.__code__.co_firstlineno, "")
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found = [expression.end_lineno or 1 for expression in called if _last_name(expression) == name]
    number = found[0] if len(found) == 1 else 1
    return Line(path, first + number - 1, lines[number - 1].strip())


def _last_name(expression: ast.expr) -> str | None:
    """Return `c` for `a.b.c` as for `c` alone."""
    if isinstance(expression, ast.Attribute):
        return expression.attr
    return expression.id if isinstance(expression, ast.Name) else None


def _check(seen: Activations, name: str, index: tuple[int, ...], text: str) -> None:
    if name not in SHAPES:
        raise ValueError(f"there is no tensor {name!r} to trace: choose from {', '.join(SHAPES)}")
    tensor = getattr(seen, name)
    if tensor is None:
        raise ValueError(f"there is no {name} in a {seen.model.config.architecture} model")
    if len(index) != tensor.ndim:
        raise ValueError(f"{name} is {SHAPES[name]}: expected {tensor.ndim} numbers, got {index}")
    if not all(0 <= n < size for n, size in zip(index, tensor.shape, strict=True)):
        raise IndexError(f"{name} is {tuple(tensor.shape)}: there is no cell {index}")
    if len(text) != len(seen.ids):
        raise ValueError(
            f"the text has {len(text)} characters, the activations are those of {len(seen.ids)}: "
            "give the text that was inspected"
        )
