"""Start the server, say where it is, and run until Ctrl-C."""

import secrets
import socket
from collections.abc import Callable
from pathlib import Path

import torch
import uvicorn

from zigpt.errors import UsageError
from zigpt.web.app import Site, create_app
from zigpt.web.guard import MOST_HEADERS
from zigpt.web.protocol import PunctualProtocol
from zigpt.web.shelf import Shelf

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(
    path: Path,
    device: torch.device,
    host: str,
    port: int,
    allow_remote: bool,
    say: Callable[[str], None],
) -> None:
    """Serve the run or model at `path` until interrupted; `say` hears the address.

    Raises:
        UsageError: the host is not this machine's own and was not allowed, or the port is taken.
    """
    if host not in _LOOPBACK and not allow_remote:
        raise UsageError(
            f"--host {host or repr(host)} would let other machines in",
            "whoever gets hold of the token can then read the model and its text",
            "leave --host out, or add --allow-remote",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()  # from here on whoever reads the address can connect
    except OSError as error:
        listening.close()
        raise UsageError(
            f"cannot listen on {host}:{port}",
            error.strerror or str(error),
            f"try --port {port + 1 if 0 < port < 65535 else 8765}",
        ) from error
    port = listening.getsockname()[1]
    token = secrets.token_urlsafe(24)
    named = f"[{host}]" if ":" in host else host
    hosts = {f"{name}:{port}" for name in (*_LOOPBACK[:2], "[::1]", named)}
    site = Site(path, Shelf(path, device))
    config = uvicorn.Config(
        create_app(site, hosts, token),
        http=PunctualProtocol,
        ws="none",
        lifespan="off",
        log_level="error",
        server_header=False,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=MOST_HEADERS,
    )
    with listening:
        say(f"http://{named}:{port}/#{token}")
        uvicorn.Server(config).run(sockets=[listening])
    site.desk.close()
