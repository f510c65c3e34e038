"""How the page is reached: from elsewhere, through ports and proxies, and by a browser of ours."""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.serving import GOLDEN, PARAMETERS, SOON, Server, in_a_browser
from zigpt.web.guard import is_loopback

pytest_plugins = ["tests.browser"]


@pytest.fixture(scope="module")
def remote():
    with Server(GOLDEN, "--host", "0.0.0.0", "--allow-remote") as server:
        yield server


def enter(server, **headers):
    """Trade the token for a cookie as the page does: its name and value."""
    status, answer, _ = server.ask(
        "POST", "/enter", {"token": server.token}, Authorization=None, **headers
    )
    assert status == 200
    return answer["set-cookie"].split(";")[0]


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        ("127.0.0.1", True), ("127.0.0.2", True), ("::1", True), ("localhost", True),
        ("LocalHost.", True), ("localhost..", False), ("", False), ("0.0.0.0", False),
        ("::", False), ("127.1", False), ("192.168.0.1", False), ("evil.localhost", False),
    ],
)  # fmt: skip
def test_a_loopback_name_is_one_that_no_dns_can_point_elsewhere(name, is_ours):
    assert is_loopback(name) == is_ours


def test_a_forwarded_port_opens_the_page(server):
    cookies = set()
    for host in ("localhost:9000", "127.0.0.1:9001", "localhost"):
        own = {"Host": host, "Origin": f"http://{host}"}
        assert server.ask("GET", "/", Host=host)[0] == 200
        cookie = enter(server, **own)
        cookies.add(cookie.partition("=")[0])
        written = server.ask(
            "POST", "/api/write", PARAMETERS, Authorization=None, Cookie=cookie, **own
        )
        assert written[0] == 200
    # The browser keeps one jar for all ports: what two of them forward must not share a name.
    assert len(cookies) == 3


def test_behind_a_proxy_the_browser_says_that_the_page_is_its_own(server):
    """A proxy that rewrites Host, as nginx does, leaves an Origin that is not Host."""
    seen = {"Origin": "https://box-8765.example", "Sec_Fetch_Site": "same-origin"}
    cookie = enter(server, **seen)
    asked = {"Authorization": None, "Cookie": cookie, **seen}
    assert server.ask("POST", "/api/write", PARAMETERS, **asked)[0] == 200
    assert server.ask("POST", "/api/write", PARAMETERS, **{**asked, "Cookie": None})[0] == 401


def test_the_address_can_be_clicked_on_another_page(server):
    """In a terminal that is itself in the browser, for example."""
    clicked = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    for site in ("cross-site", "same-site"):
        assert server.ask("GET", "/", Sec_Fetch_Site=site, **clicked)[0] == 200
        for method, path, how in (
            ("GET", "/api/run", clicked),
            ("POST", "/enter", clicked),
            ("POST", "/api/write", clicked),
            ("GET", "/", {**clicked, "Sec_Fetch_Dest": "iframe"}),
            ("GET", "/", {**clicked, "Sec_Fetch_Mode": "no-cors"}),
            ("GET", "/", {**clicked, "Origin": "http://evil.example", "Sec_Fetch_Dest": "script"}),
        ):
            assert server.ask(method, path, PARAMETERS, Sec_Fetch_Site=site, **how)[0] == 403


def test_allowed_machines_reach_the_page_under_every_name(remote):
    for host in (
        "192.168.1.5:{port}", "box.local:{port}", "BOX:{port}", "localhost:9000", "[fd00::2]:1",
        "box.example", "hub.example.", "127.0.0.1:{port}",
    ):  # fmt: skip
        named = host.format(port=remote.port)
        assert remote.ask("GET", "/", Host=named)[0] == 200, named
        for origin in (f"http://{named}", f"https://{named}", "http://what.a.proxy.keeps"):
            own = {"Host": named, "Origin": origin}
            cookie = enter(remote, **own)
            asked = {"Authorization": None, "Cookie": cookie, **own}
            assert remote.ask("POST", "/api/write", PARAMETERS, **asked)[0] == 200, origin


def test_allowed_machines_still_need_the_token_and_the_page(remote):
    name = {"Host": "rebound.example"}
    origin = {"Origin": "http://rebound.example"}
    assert remote.ask("GET", "/api/run", Authorization=None, **name)[0] == 401
    assert remote.ask("POST", "/api/write", PARAMETERS, Authorization=None, **name)[0] == 401
    for site in ("cross-site", "same-site"):
        refused = remote.ask("POST", "/api/write", PARAMETERS, Sec_Fetch_Site=site, **name)
        assert refused[0] == 403
    # Browsers that say less: what a page can send unasked is refused, and it may not ask for more.
    for kind in ("text/plain", "application/x-www-form-urlencoded", None):
        sent = remote.ask("POST", "/api/write", PARAMETERS, Content_Type=kind, **name, **origin)
        assert sent[0] == 415
    status, headers, _ = remote.ask("OPTIONS", "/api/write", **name, **origin)
    assert status == 415
    assert not [each for each in headers if each.lower().startswith("access-control")]
    assert remote.ask("POST", "/api/write", PARAMETERS, Origin=None)[0] == 403


def test_what_is_printed_can_be_opened(remote):
    addresses = [line.strip() for line in remote.printed if "http" in line]
    assert addresses[0].startswith(f"http://127.0.0.1:{remote.port}/#")
    assert len(addresses) == 2 or not _has_network()
    for address in addresses:
        assert "0.0.0.0" not in address
        with urllib.request.urlopen(address, timeout=30) as page:
            assert page.status == 200


def _has_network():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return probe.connect_ex(("198.51.100.1", 9)) == 0


def test_an_address_is_taken_as_browsers_write_it():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no ::1")
    with Server(GOLDEN, "--host", "[::1]") as server:
        assert server.address.startswith("http://[::1]:")
        with urllib.request.urlopen(server.address, timeout=30) as page:
            assert page.status == 200


class Proxy(BaseHTTPRequestHandler):
    """Serves another server in a folder of its own, as JupyterHub does."""

    protocol_version = "HTTP/1.0"
    folder = "/user/x/proxy/1"
    port = 0

    def do_GET(self):
        path = self.path.removeprefix(self.folder)
        if path == self.path:
            return self.send_error(404)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {**self.headers, "Host": f"127.0.0.1:{self.port}", "Connection": "close"}
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request(self.command, path, body, headers)
            answer = connection.getresponse()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() != "transfer-encoding":
                    self.send_header(name, value)
            self.end_headers()
            while piece := answer.read1():
                self.wfile.write(piece)

    do_POST = do_GET

    def log_message(self, *_):
        pass


@in_a_browser
def test_a_proxy_may_serve_the_page_in_a_folder(browser, server):
    handler = type("Handler", (Proxy,), {"port": server.port})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        proxy.daemon_threads = True
        Thread(target=proxy.serve_forever, daemon=True).start()
        page, requested = browser.new_page(locale="en-US"), []
        page.on("request", lambda request: requested.append(request.url))
        folder = f"http://localhost:{proxy.server_port}{Proxy.folder}/"
        page.goto(f"{folder}#{server.token}")
        page.wait_for_selector("#panel", timeout=SOON)
        assert "parameters" in page.inner_text("#about")
        for tab, path in (("predictions", "window/predictions"), ("attention", "window/heads")):
            with page.expect_response(f"**/api/{path}", timeout=SOON) as answer:
                page.click(f"#tab-{tab}")
            assert answer.value.status == 200
        assert folder + "api/watch" in requested
        assert [url for url in requested if not url.startswith(folder)] == []
        page.close()
        proxy.shutdown()


def program(path, *lines):
    """Write a program that notes that it was called, then does `lines`, and stays."""
    first = f"note = open({f'{path}.called'!r}, 'a', buffering=1)"
    last = "print('noise', flush=True); time.sleep(60)"
    imports = "import os, sys, time, urllib.request"
    path.write_text("\n".join([f"#!{sys.executable}", imports, first, *lines, last]))
    path.chmod(0o755)
    return path


def surroundings(**changed):
    """The environment of a terminal without a display."""
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**kept, "TERM": "xterm", **changed}


def called(path, wait):
    """What a program has noted by the time it has noted a whole line."""
    note, end = Path(f"{path}.called"), time.monotonic() + wait
    while time.monotonic() < end:
        if note.exists() and "\n" in note.read_text():
            return note.read_text()
        time.sleep(0.1)
    return note.read_text() if note.exists() else None


def test_a_console_browser_does_not_take_the_terminal(tmp_path):
    names = ("www-browser", "links", "elinks", "lynx", "w3m")
    programs = [program(tmp_path / name) for name in names]
    environment = surroundings(PATH=f"{tmp_path}:/usr/bin:/bin", BROWSER="/nowhere/browser")
    with Server(GOLDEN, browser=True, env=environment, start_new_session=True) as server:
        try:
            assert server.ask("GET", "/api/health")[0] == 200
            assert not [each for each in programs if called(each, 0.6) is not None]
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.process.pid, signal.SIGKILL)


def test_a_browser_opens_what_answers_and_may_stay_open(tmp_path):
    """In the folder of a text there may be a file of any name."""
    (tmp_path / "webbrowser.py").write_text("raise SystemExit('not the one of Python')")
    browser = program(
        tmp_path / "browser",
        "page = urllib.request.urlopen(sys.argv[1], timeout=30)",
        "note.write(f'{page.status} {sys.stdin.read()!r} {os.getpid()}\\n')",
    )
    environment = surroundings(BROWSER=str(browser))
    server = Server(GOLDEN, browser=True, env=environment, cwd=tmp_path, stdin=subprocess.PIPE)
    with server:
        noted = called(browser, wait=60)
        status, typed, process = re.fullmatch(r"(\d+) (\S+) (\d+)\n", noted).groups()
        try:
            assert (status, typed) == ("200", "''")  # what is typed here is not read there
            assert server.ask("GET", "/api/health")[0] == 200
            assert server.close() == ("", "")  # nothing of the browser's, which is still open
            os.kill(int(process), 0)
        finally:
            os.kill(int(process), signal.SIGKILL)
