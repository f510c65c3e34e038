"""Text in terminal cells, of which a Chinese character takes two: columns, and lines to a width."""

import re
from itertools import zip_longest

from rich.cells import cell_len, chop_cells

_PIECES = re.compile(r"[（“]*(?:[\u2e80-\uffef]|[^\s\u2e80-\uffef]+)[，。：；、！？）”]*\s*")


def one_line(text: str, width: int = 72) -> str:
    """Put a text on one line: line breaks become ⏎, control characters U+FFFD."""
    marked = text.replace("\n", "⏎")
    shown = "".join(c if c.isprintable() else "\ufffd" for c in marked)
    return shown[: width - 1] + "…" if len(shown) > width else shown


def folded(text: str, width: int) -> list[str]:
    """Break a text into lines of at most `width` terminal cells.

    A line may end at a space, or after a Chinese character, but begins with no closing mark.
    """
    lines = []
    for paragraph in text.split("\n"):
        lines.append("")
        for piece in _PIECES.findall(paragraph):
            for part in chop_cells(piece.rstrip(), width):
                if lines[-1] and cell_len(lines[-1] + part) > width:
                    lines.append("")
                lines[-1] += part
            lines[-1] += piece[len(piece.rstrip()) :]
    return [line.rstrip() for line in lines]


def side_by_side(left: str, right: str, width: int) -> list[str]:
    """Lay out two texts as columns of `width` terminal cells."""
    rows = zip_longest(folded(left, width), folded(right, width), fillvalue="")
    return [f"{column(one, width)}  {other}".rstrip() for one, other in rows]


def labelled(label: str, text: str) -> str:
    """Put a line behind a short label; all labels are equally wide."""
    return column(label, 8) + text


def column(text: str, width: int, align: str = "<") -> str:
    """Pad to `width` terminal cells (a Chinese character takes two); cut at the front."""
    while cell_len(text) > width:
        text = text[1:]
    room = " " * (width - cell_len(text))
    return text + room if align == "<" else room + text
