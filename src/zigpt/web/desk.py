"""One thread that does the arithmetic, and a queue before it that is never long."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from zigpt.web.guard import Refused

MOST_WAITING = 32
Answer = TypeVar("Answer")


class Desk:
    """Does one thing after another, first come first served, off the event loop.

    A text that is written is asked for character by character: nobody waits for another's to end.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "desk")
        self._waiting = 0

    async def do(self, work: Callable[[], Answer], is_begun: bool = False) -> Answer:
        """Wait for the result of `work`, which may go on with something that was begun here.

        Raises:
            Refused: too many are waiting to begin.
        """
        if self._waiting >= MOST_WAITING and not is_begun:
            raise Refused(429, "too many questions at once", {"Retry-After": "1"})
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        # Counted until it is done, also where nobody waits for it any longer.
        future.add_done_callback(self._one_less)
        return await future

    def close(self) -> None:
        """Let the thread end after what it is doing."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _one_less(self, _: object) -> None:
        self._waiting -= 1
