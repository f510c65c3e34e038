"""A real server for the tests of the page, and what they share about it."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from zigpt.web import guard

STATIC = Path(__file__).parents[1] / "src" / "zigpt" / "web" / "static"
GOLDEN = Path(__file__).parent / "golden" / "format-1"
PARAMETERS = {"prompt": "a", "length": 3, "temperature": 1, "top_k": 0, "top_p": 1, "seed": 1}
BROWSER = os.environ.get("ZIGPT_BROWSER") or shutil.which("chromium") or shutil.which("chrome")
SOON = 60_000  # milliseconds: these machines are noisy
in_a_browser = pytest.mark.skipif(BROWSER is None, reason="there is no chromium on this machine")

# A browser asks the world for updates, names and certificates at once: here it may not.
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip


def strings(language):
    return json.loads((STATIC / f"strings.{language}.json").read_text())


def number(text):
    """What the page writes with a real minus, and perhaps as a share."""
    return float(text.replace("−", "-").replace("∞", "inf").rstrip("%"))


def have_written(page, prompt, length):
    """Start the page writing so many characters."""
    page.click("#tab-write")
    page.fill("#prompt", prompt)
    page.fill("[name=length]", str(length))
    page.click("button.main")


class Server:
    """A real `zigpt web`, in a process of its own; killed in the end if it still runs."""

    def __init__(self, *shown, port=0, browser=False, **process):
        command = [sys.executable, "-m", "zigpt", "web", *map(str, shown)]
        self.process = subprocess.Popen(
            [*command, *([] if browser else ["--no-browser"]), "--port", str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **process,
        )
        self.printed = [self.process.stdout.readline() for _ in range(3)]
        self.address = self.printed[1].strip()
        match = re.fullmatch(r"http://(\S+:(\d+))/#([\w-]{32})", self.address)
        self.host, self.port, self.token = match[1], int(match[2]), match[3]

    def ask(self, method, path, body=None, **headers):
        """Send a request as `_ask`, again where it was refused and reset before its body was sent.

        http.client sends headers and body apart; a server that refuses the headers may close first.
        """
        for _ in range(4):
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                return self._ask(method, path, body, **headers)
        return self._ask(method, path, body, **headers)

    def _ask(self, method, path, body=None, **headers):
        """Send what an honest page would, but for `headers`; None leaves one out."""
        usual = {
            "Host": self.host,
            "Authorization": f"Bearer {self.token}",
            "Origin": f"http://{self.host}" if method == "POST" else None,
            "Content-Type": "application/json" if method == "POST" else None,
        }
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in {**usual, **named}.items():
                for each in value if isinstance(value, list) else [value]:
                    if each is not None:
                        connection.putheader(name, each)
            data = json.dumps(body).encode() if isinstance(body, dict) else body or b""
            if method != "POST":
                data = b""  # what is sent unannounced may have the answer cut off
            if method == "POST" and "Content-Length" not in named:
                connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data)
            answer = connection.getresponse()
            if path == guard.API + "watch" and answer.status == 200:
                return answer.status, answer.headers, b""  # it never ends
            return answer.status, answer.headers, answer.read()

    def refuses(self, path, body):
        """Whether a question is answered by one sentence that says what is wrong with it."""
        status, _, answer = self.ask("POST", path, body)
        return status in (400, 404, 422) and list(json.loads(answer)) == ["error"]

    def raw(self, data, wait=30.0):
        """Send bytes as they are; what comes back until the other side closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait) as connection:
            connection.sendall(data)
            back = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(65536):
                    back += piece
            return back

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def close(self):
        """Interrupt it as Ctrl-C does; returns what it printed."""
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=30)
