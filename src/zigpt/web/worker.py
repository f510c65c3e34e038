"""One thread that does the arithmetic, with a short queue in front of it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TypeVar

from zigpt.web.guard import Refused

MOST_WAITING = 32
Result = TypeVar("Result")


class Worker:
    """Runs one job after another, first come, first served, off the event loop.

    A text is written one character per job, so that nobody waits for another's text to end.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "worker")
        self._waiting = 0

    async def run(self, job: Callable[[], Result], continues: bool = False) -> Result:
        """Wait for the result of `job`; one that `continues` an earlier job is never refused.

        Raises:
            Refused: too many jobs are waiting.
        """
        if self._waiting >= MOST_WAITING and not continues:
            raise Refused(429, "too many requests at once", {"Retry-After": "1"})
        self._waiting += 1
        # In a copy of the context, which knows in which language to refuse.
        in_context = partial(copy_context().run, job)
        future = asyncio.get_running_loop().run_in_executor(self._thread, in_context)
        # Counted until it is done, even if nobody waits for it any longer.
        future.add_done_callback(self._count_down)
        return await future

    def close(self) -> None:
        """Let the thread end after its present job."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _count_down(self, _: object) -> None:
        self._waiting -= 1
