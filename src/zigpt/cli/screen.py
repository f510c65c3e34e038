"""What a training run shows: plain lines and, on a terminal, a live line below them."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from zigpt.cli.terminal import harmless
from zigpt.language import tr


class _PatientStream(io.TextIOBase):
    """Writes to a stream; once its reader is gone or its disk full, what is written is lost."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._patience():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._patience():
            self._stream.flush()

    def isatty(self) -> bool:
        return bool(self._stream.isatty())

    def fileno(self) -> int:
        return int(self._stream.fileno())

    @contextmanager
    def _patience(self) -> Iterator[None]:
        try:
            yield
        except OSError:  # the rest goes nowhere, also what Python flushes at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


class Screen:
    """Lines and a live status line, on stdout unless told otherwise; a context manager."""

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
        """Print whole lines above the live one, with control characters escaped."""
        for line in lines:
            self._console.print(harmless(line))

    def show(self, step: int, status: str) -> None:
        """Update the live line."""
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
    """Format a time for people: 45 s, 3 min 20 s, 1 h 5 min."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return tr("{hours} h {minutes} min", hours=hours, minutes=minutes)
    if minutes:
        return tr("{minutes} min {seconds} s", minutes=minutes, seconds=seconds)
    return tr("{seconds} s", seconds=seconds)
