"""What a training shows: plain lines anywhere, and one live line where it is a terminal."""

import os
import shutil
import sys
from pathlib import Path
from types import TracebackType

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from zigpt.cli.terminal import harmless


class _PatientConsole(Console):
    """A console that may go away, or be a log on a full disk: the work goes on without it."""

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError:  # rich itself knows only the reader that has gone
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


class Screen:
    """Lines and a live status line, by default on stdout; use it as a context manager."""

    def __init__(self, total_steps: int = 1, on_stderr: bool = False) -> None:
        console = _PatientConsole(
            highlight=False, markup=False, emoji=False, soft_wrap=True, stderr=on_stderr
        )
        self._console = console
        self._bar = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total_steps)

    def say(self, *lines: str) -> None:
        """Print whole lines, above the live one; nothing in them commands the terminal."""
        for line in lines:
            self._console.print(harmless(line))

    def show(self, step: int, status: str) -> None:
        """Renew the live line."""
        self._bar.update(self._task, completed=step, description=status)

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


def program() -> str:
    """Spell this program the way it can be typed here."""
    if shutil.which("zigpt"):
        return "zigpt"
    called = Path(sys.argv[0])
    if called.name != "zigpt":
        return "python -m zigpt"
    return os.path.relpath(called)


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
