"""HTTP with a deadline for each request to arrive, which uvicorn does not set.

It reads `H11Protocol.cycle`, which uvicorn does not document: hence the upper bound on its version
in pyproject.toml, and the test that names this attribute.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

DEADLINE = 10.0  # seconds from the first byte of a request, or the connection, to its last


class PunctualProtocol(H11Protocol):
    """Closes a connection whose request has not arrived, headers and body, by the `DEADLINE`."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the clock: a connection without a request is closed too."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Stop the clock when a request is complete, start it when the next one begins."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.more_body:
            self._stop()
        elif self._timer is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._timer = self.loop.call_later(DEADLINE, self._close)

    def _stop(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.abort()
