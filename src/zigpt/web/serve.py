"""Start the server, report its address, and run until Ctrl-C."""

import asyncio
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
from zigpt.web.guard import MOST_HEADERS
from zigpt.web.protocol import PunctualProtocol

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(
    state: AppState,
    host: str,
    port: int,
    allow_remote: bool,
    report: Callable[[str], None],
) -> None:
    """Serve until interrupted; `report` is called with the address, once it can be opened.

    Raises:
        UsageError: the host is not this machine's own and was not allowed, or the port is taken.
    """
    if host not in _LOOPBACK and not allow_remote:
        raise UsageError(
            tr("`host` {host} would let other machines in", host=host or repr(host)),
            tr("anyone who has the token could then read the model and its text"),
            tr("leave out `host`, or add `allow_remote`"),
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()  # from here on the address can be opened
    except OSError as error:
        listening.close()
        raise UsageError(
            tr("cannot listen on {host}:{port}", host=host, port=port),
            reason(error),
            tr("try `port` {port}", port=port + 1 if 0 < port < 65535 else 8765),
        ) from error
    port = listening.getsockname()[1]
    token = read_token()
    named = f"[{host}]" if ":" in host else host
    hosts = {f"{name}:{port}" for name in (*_LOOPBACK[:2], "[::1]", named)}
    config = uvicorn.Config(
        create_app(state, hosts, token),
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
    with listening:
        report(f"http://{named}:{port}/#{token}")
        uvicorn.Server(config).run(sockets=[listening])
    state.worker.close()
    state.copy_worker.close()


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
