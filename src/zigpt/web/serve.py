"""Start the server, report its addresses, and run until Ctrl-C."""

import asyncio
import contextlib
import errno
import logging
import os
import re
import secrets
import socket
from collections.abc import Callable

import platformdirs
import uvicorn

from zigpt.errors import UsageError, reason
from zigpt.language import tr
from zigpt.web.app import create_app
from zigpt.web.app_state import AppState
from zigpt.web.guard import MOST_HEADERS, is_loopback
from zigpt.web.protocol import PunctualProtocol

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
# Addresses for examples, which nobody has: the way to them is the way to everyone else.
_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


def serve(
    state: AppState,
    host: str,
    port: int,
    allow_remote: bool,
    report: Callable[[list[str]], None],
) -> None:
    """Serve until interrupted; `report` is called with the addresses, once requests are answered.

    Raises:
        UsageError: the host is not this machine's own and was not allowed, or the port is taken.
    """
    host = host.strip("[]")
    if not (allow_remote or is_loopback(host)):
        raise UsageError(
            tr("`host` {host} would let other machines in", host=host or repr(host)),
            tr("anyone who has the token could then read the model and its text"),
            tr("leave out `host`, or add `allow_remote`"),
        )
    token = read_token()
    config = uvicorn.Config(
        create_app(state, allow_remote, token),
        http=PunctualProtocol,
        ws="none",
        lifespan="off",
        log_level="error",
        server_header=False,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=MOST_HEADERS,
    )
    for name in ("asyncio", "uvicorn.error"):
        logging.getLogger(name).addFilter(_is_worth_printing)
    # Ctrl-C is how it is meant to end; uvicorn raises it once more when all is closed.
    with _listen(host, port) as listening, contextlib.suppress(KeyboardInterrupt):
        addresses = [f"http://{place}/#{token}" for place in _places(host, listening)]
        _Server(config, lambda: report(addresses)).run(sockets=[listening])
    state.worker.close()
    state.copy_worker.close()


class _Server(uvicorn.Server):
    """Calls `started` once it answers requests: what opens the page then need not wait."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._when_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._when_started()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return _bind(host, port)
    except (OSError, UnicodeError) as error:
        fix = tr("give `host` one of this machine's addresses, or 0.0.0.0 for all of them")
        if isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES):
            free = port + 1 if 1024 <= port < 65535 else 8765  # those below 1024 are the system's
            fix = tr("try `port` {port}", port=free)
        raise UsageError(
            tr("cannot listen on {host}:{port}", host=_spelled(host), port=port),
            reason(error) if isinstance(error, OSError) else str(error),
            fix,
        ) from error


def _bind(host: str, port: int) -> socket.socket:
    # A name may have addresses of both families: the smaller family is IPv4, which more can reach.
    family, *_, address = min(
        socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    )
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name != "nt":  # there it would share the port with the server that has it
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address[0] == "::":
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # IPv4 as well
        listening.bind(address)
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


def _places(host: str, listening: socket.socket) -> list[str]:
    """Host and port as a browser takes them: "every address" is none that could be opened."""
    bound, port, *_ = listening.getsockname()
    hosts = [host]
    if bound in ("0.0.0.0", "::"):
        families = [socket.AF_INET, socket.AF_INET6] if bound == "::" else [socket.AF_INET]
        hosts = ["127.0.0.1", *filter(None, map(_own_address, families))]
    return [f"{_spelled(each)}:{port}" for each in hosts]


def _own_address(family: socket.AddressFamily) -> str | None:
    """Ask the system from which address this machine would reach others; nothing is sent."""
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((_ELSEWHERE[family], 9))
        return str(probe.getsockname()[0])
    return None


def _spelled(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_worth_printing(record: logging.LogRecord) -> bool:
    """Neither a lack of descriptors, which passes, nor what Ctrl-C interrupts."""
    is_ended = record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError)
    message = record.getMessage()
    return not (is_ended or "out of system resource" in message or "running task(s)" in message)


def read_token() -> str:
    """Read this user's token, or make one: an open page outlives its server.

    If it cannot be stored where only its owner can read it, it is valid for one server only.
    """
    path, token = platformdirs.user_cache_path("zigpt") / "web-token", secrets.token_urlsafe(24)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o600), "r+") as file:
            is_private = os.name == "nt" or not os.fstat(file.fileno()).st_mode & 0o077
            stored = file.read(100)
            if is_private and re.fullmatch(r"[\w-]{32}", stored, re.ASCII):
                return stored
            if is_private:
                file.seek(0)
                file.truncate()
                file.write(token)
    except OSError:
        pass  # there is no place to store it
    return token
