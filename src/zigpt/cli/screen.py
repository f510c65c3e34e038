"""What a training shows: plain lines anywhere, and one live line where it is a terminal."""

import io
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO, cast

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from zigpt.cli.terminal import harmless


class _PatientStream(io.TextIOBase):
    """A stream whose reader may go away, or whose disk may be full: the work goes on without it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._descriptor, self._is_terminal = stream.fileno, stream.isatty()

    def write(self, text: str) -> int:
        return self._try(lambda stream: stream.write(text)) or len(text)

    def flush(self) -> None:
        self._try(lambda stream: stream.flush())

    def isatty(self) -> bool:
        return self._is_terminal

    def fileno(self) -> int:
        return self._descriptor()

    def _try(self, act: Callable[[Any], Any]) -> Any:
        if self._stream is None:
            return None
        try:
            return act(self._stream)
        except OSError:
            # Python would complain once more when it flushes what is left at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            self._stream = None


class Screen:
    """Lines and a live status line, by default on stdout; use it as a context manager."""

    def __init__(self, on_stderr: bool = False) -> None:
        self.total_steps = 0
        stream = _PatientStream(sys.stderr if on_stderr else sys.stdout)
        self._console = Console(
            file=cast(TextIO, stream), highlight=False, markup=False, emoji=False, soft_wrap=True
        )
        self._bar = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.description}", markup=False),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("")

    def say(self, *lines: str) -> None:
        """Print whole lines, above the live one; nothing in them commands the terminal."""
        for line in lines:
            self._console.print(harmless(line))

    def show(self, step: int, status: str) -> None:
        """Renew the live line."""
        self._bar.update(self._task, completed=step, total=self.total_steps, description=status)

    def __enter__(self) -> "Screen":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()


def duration(seconds: float) -> str:
    """Say a time the way people do."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def one_line(text: str, width: int = 72) -> str:
    """Squeeze a text into one line: line breaks become ⏎, control characters U+FFFD."""
    marked = text.replace("\n", "⏎")
    shown = "".join(c if c.isprintable() else "\ufffd" for c in marked)
    return shown[: width - 1] + "…" if len(shown) > width else shown


def column(text: str, width: int, align: str = "<") -> str:
    """Fill a column of `width` terminal cells (a Chinese character takes two); keep the end."""
    while cell_len(text) > width:
        text = text[1:]
    room = " " * (width - cell_len(text))
    return text + room if align == "<" else room + text
