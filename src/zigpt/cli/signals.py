"""How a command is asked to stop: once to end well, twice to leave at once."""

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
        """Take a signal; a second one, or one that finds nothing to save, is obeyed at once."""
        is_second, self.code = self.code is not None, 128 + number
        # Python drops what is raised while it cleans up: the code is remembered all the same.
        if is_second or not self.gently:
            raise Stopped(self.code)


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
