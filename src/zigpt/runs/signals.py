"""How signals stop a training run: the first lets it save, a second Ctrl-C ends it at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from zigpt.runs.torchrun import is_launched


class Interrupted(KeyboardInterrupt):
    """A signal that is obeyed at once; `code` is the exit code that stands for it."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Signals:
    """Ctrl-C, SIGTERM and SIGHUP: while `graceful`, the first one only sets `code`."""

    def __init__(self) -> None:
        self.graceful = False
        self.code: int | None = None

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Take a signal; it is obeyed at once if there is nothing to save, or on a second Ctrl-C.

        No other second signal is: a closing terminal and a machine that shuts down send several.
        """
        # torchrun passes a Ctrl-C on, which at a terminal has come to this process as well.
        is_urgent = self.code is not None and number == signal.SIGINT and not is_launched()
        # Python drops an exception raised while it cleans up: the code is still set then.
        self.code = 128 + number if is_urgent or self.code is None else self.code
        if is_urgent or not self.graceful:
            raise Interrupted(self.code)

    def obey_at_once(self) -> int | None:
        """Obey signals at once from now on; return the code of one that came before."""
        self.graceful = False
        return self.code


@contextmanager
def listening() -> Iterator[Signals]:
    """Receive the signals that would otherwise end this process; only its main thread can."""
    signals = Signals()
    numbers = [signal.SIGINT, signal.SIGTERM]
    # nohup has it ignored: the training is meant to outlive its terminal.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    before = {number: signal.signal(number, signals.receive) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
