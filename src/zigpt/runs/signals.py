"""How a command is asked to stop: once to end well, with Ctrl-C twice to leave at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(KeyboardInterrupt):
    """A signal asked us to leave at once; `code` is the exit code that tells so."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Signals:
    """Ctrl-C, SIGTERM and SIGHUP: while `gently`, the first one only sets `code`."""

    def __init__(self) -> None:
        self.gently = False
        self.code: int | None = None

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Take a signal; a second Ctrl-C, or one that finds nothing to save, is obeyed at once.

        A terminal that is closed and a machine that is shut down may send several others.
        """
        is_urgent = self.code is not None and number == signal.SIGINT
        # Python drops what is raised while it cleans up: the code is remembered all the same.
        self.code = 128 + number if is_urgent or self.code is None else self.code
        if is_urgent or not self.gently:
            raise Stopped(self.code)

    def obey_at_once(self) -> int | None:
        """From now on; returns the exit code of a signal that came just before."""
        self.gently = False
        return self.code


@contextmanager
def listening() -> Iterator[Signals]:
    """Receive what would otherwise end this process."""
    signals = Signals()
    numbers = [signal.SIGINT, signal.SIGTERM]
    # Under nohup it is ignored: the training is meant to outlive its terminal.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, signals.receive) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
