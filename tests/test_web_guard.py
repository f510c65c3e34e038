"""Nobody but the owner of the terminal is answered, however the request is made up."""

import asyncio
import contextlib
import errno
import json
import os
import socket
import threading
import time

import pytest
import torch
import uvicorn
from starlette.routing import Route

from tests.serving import GOLDEN, PARAMETERS, Server
from zigpt.cli.main import main
from zigpt.cli.web import spell_training
from zigpt.web import guard, protocol
from zigpt.web.app import create_app
from zigpt.web.app_state import AppState

pytest_plugins = ["tests.browser"]


def routes():
    """Every route there is: a new one cannot be forgotten here."""
    state = AppState(GOLDEN, torch.device("cpu"), spell_training)
    app = create_app(state, False, "t")._app
    found = [
        (method, route.path)
        for route in app.routes
        if isinstance(route, Route)
        for method in sorted(route.methods - {"HEAD"})
    ]
    assert len(found) >= 5
    return found


API_ROUTES = [(method, path) for method, path in routes() if path.startswith(guard.API)]
EVERYWHERE = [*routes(), ("GET", "/"), ("GET", "/main.js"), ("GET", "/nowhere"), ("PUT", "/")]


@pytest.mark.parametrize(("method", "path"), API_ROUTES)
@pytest.mark.parametrize(
    "offered",
    [
        {"Authorization": None},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer " + "x" * 32},
        {"Authorization": "Basic {token}"},
        {"Authorization": "{token}"},
        {"Authorization": "Bearer {token}x"},
        {"Authorization": None, "Cookie": "zigpt={token}"},
        {"Authorization": None, "Cookie": "zigpt-00000000={token}"},
        {"Authorization": None, "Cookie": "\x01=;;;=,"},
    ],
)
def test_without_the_token_nothing_is_answered(server, method, path, offered):
    headers = {name: value and value.format(token=server.token) for name, value in offered.items()}
    status, _, body = server.ask(method, path, PARAMETERS, **headers)
    assert status == 401
    assert json.loads(body) == {
        "error": "open the address that the terminal shows: it holds a token"
    }


def test_the_token_is_traded_for_a_cookie_that_no_script_can_read(server):
    status, headers, _ = server.ask("POST", "/enter", {"token": server.token}, Authorization=None)
    assert status == 200
    _, *about = headers["set-cookie"].lower().split("; ")
    assert {"httponly", "samesite=strict"} <= set(about)
    value = headers["set-cookie"].split(";")[0]
    assert server.ask("GET", "/api/health", Authorization=None, Cookie=value)[0] == 200
    for wrong in ("", "x", server.token + "x", "字"):
        assert server.ask("POST", "/enter", {"token": wrong}, Authorization=None)[0] == 401


HOSTS = [
    "evil.example", "localhost.evil.example:{port}", "127.0.0.1.nip.io:{port}", "", ":{port}",
    "box.local:{port}", "192.168.0.1:{port}", "127.0.0.1:{port}.evil.example", "0.0.0.0:{port}",
    "[::]:{port}", "[::2]:{port}", "2130706433:{port}", "127.1:{port}", "user@127.0.0.1:{port}",
    " 127.0.0.1:{port}x", "127.0.0.1:0{port}", "localhost:{port}:1", "::1:{port}", "[localhost",
    None, ["127.0.0.1:{port}", "evil.example"], ["127.0.0.1:{port}", "127.0.0.1:{port}"],
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), EVERYWHERE)
def test_under_another_name_nothing_is_answered(server, method, path):
    for host in HOSTS:
        each = host if isinstance(host, list) else [host]
        wrong = [name and name.format(port=server.port) for name in each]
        status, headers, body = server.ask(method, path, PARAMETERS, Host=wrong)
        assert status in (400, 421), host
        assert b"<html" not in body
        assert "access-control-allow-origin" not in headers
    own = ("127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}")
    for ours in (*own, "localhost.:{port}", "localhost:9000", "127.0.0.1:1", "[::1]", "localhost"):
        named = ours.format(port=server.port)
        status, *_ = server.ask(method, path, PARAMETERS, Host=named, Origin=f"http://{named}")
        assert status not in (400, 421), ours


ORIGINS = [
    "http://evil.example", "null", "http://localhost:9999", "https://{host}", "http://{host}.evil",
    "http://evil.{host}", "{host}", "http://{host}/", "http://127.0.0.1", "file://", "",
    "http://{host}@evil.example", "http://localhost:{port}", "http://user@{host}", "//{host}",
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), EVERYWHERE)
def test_another_page_gets_no_answer(server, method, path):
    for origin in ORIGINS:
        wrong = origin.format(host=server.host, port=server.port)
        assert server.ask(method, path, PARAMETERS, Origin=wrong)[0] == 403, origin
    for site in ("cross-site", "same-site"):
        assert server.ask(method, path, PARAMETERS, Sec_Fetch_Site=site)[0] == 403
    if method != "GET":
        assert server.ask(method, path, PARAMETERS, Origin=None)[0] == 403


def test_what_a_form_of_another_page_could_send_is_refused(server):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None):
        for path in ("/api/write", "/enter"):
            assert server.ask("POST", path, PARAMETERS, Content_Type=kind)[0] == 415
    assert server.ask("GET", "/api/write")[0] in (404, 405)


def test_every_answer_forbids_frames_other_sources_and_caches(server):
    for method, path in EVERYWHERE:
        _, headers, _ = server.ask(method, path, PARAMETERS)
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self'")
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["x-accel-buffering"] == "no"
        assert "server" not in headers


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 would let other machines in"),
        (["--host", "::"], "would let other machines in"),
        (["--host", ""], "--host '' would let other machines in"),
        (["--host", "192.168.0.1"], "would let other machines in"),
        (["--host", "evil.example"], "would let other machines in"),
    ],
)
def test_other_machines_are_let_in_only_if_allowed(capsys, options, sentence):
    assert main(["web", str(GOLDEN), "--no-browser", "--port", "0", *options]) == 2
    what, why, fix = capsys.readouterr().err.splitlines()
    assert sentence in what
    assert "token" in why
    assert "--allow-remote" in fix


def test_a_port_that_is_taken_is_reported_with_the_next_one(server, capsys):
    assert main(["web", str(GOLDEN), "--no-browser", "--port", str(server.port)]) == 2
    what, why, fix = capsys.readouterr().err.splitlines()
    assert what == f"error: cannot listen on 127.0.0.1:{server.port}"
    assert why == f"why: {os.strerror(errno.EADDRINUSE)}"
    assert fix == f"fix: try --port {server.port + 1}"


@pytest.mark.parametrize("host", ["198.51.100.1", "nowhere.invalid", "a..b"])
def test_an_address_that_this_machine_does_not_have_is_no_matter_of_the_port(capsys, host):
    assert main(["web", str(GOLDEN), "--no-browser", "--allow-remote", "--host", host]) == 2
    what, _, fix = capsys.readouterr().err.splitlines()
    assert what == f"error: cannot listen on {host}:8765"
    assert fix == "fix: give --host one of this machine's addresses, or 0.0.0.0 for all of them"


class TestSizes:
    def test_a_body_that_is_too_large_is_not_read(self, server):
        much = b" " * (guard.MOST_BODY + 1)
        assert server.ask("POST", "/api/write", much)[0] == 413
        head = (
            f"POST /api/write HTTP/1.1\r\nHost: {server.host}\r\nOrigin: http://{server.host}\r\n"
            f"Authorization: Bearer {server.token}\r\nContent-Type: application/json\r\n"
        )
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        lie = head.encode() + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        assert b" 413 " in server.raw(lie + chunk * 17 + b"0\r\n\r\n").split(b"\r\n")[0]
        for length in ("-1", "x", "1" * 30):
            odd = head.encode() + f"Content-Length: {length}\r\n\r\n".encode()
            assert b" 400 " in server.raw(odd).split(b"\r\n")[0]

    def test_headers_without_end_are_refused(self, server):
        start = f"GET /api/health HTTP/1.1\r\nHost: {server.host}\r\n".encode()
        for odd in (b"X: " + b"y" * 100_000, b"X: y\r\n" * 20_000):
            status = server.raw(start + odd + b"\r\nConnection: close\r\n\r\n").split()[1]
            assert status in (b"400", b"431")

    def test_bombs_and_odd_values_are_refused_in_words(self, server):
        odd = [b"", b"[" * 100_000, b"{", b"\xff", b'{"prompt": 1e999}', b"[]", b"null", b'"x"']
        odd += [json.dumps({**PARAMETERS, name: value}).encode() for name, value in (
            ("prompt", 7), ("prompt", "字"), ("prompt", "\ud83d"), ("length", -1), ("length", True),
            ("length", 10**9), ("length", 1.5), ("temperature", -1), ("temperature", "hot"),
            ("top_k", -1), ("top_p", 0), ("top_p", 2), ("min_p", 2),
            ("repetition_penalty", 0), ("seed", -1), ("seed", 2**70),
            ("seed", None),
        )]  # fmt: skip
        odd += [
            b'{"prompt": "a", "length": 3, "temperature": NaN, "top_k": 0, "top_p": 1, "seed": 1}'
        ]
        for body in odd:
            status, _, answer = server.ask("POST", "/api/write", body)
            assert status in (400, 422), body[:80]
            assert list(json.loads(answer)) == ["error"]
            assert b"Traceback" not in answer


def test_no_path_leads_out_of_the_pages_own_files(server):
    for path in (
        "/../app.py", "/%2e%2e/app.py", "/..%2fapp.py", "/panels/../../app.py", "/%00",
        "/..%5capp.py", "//etc/passwd", "/static/../../guard.py", "/.git/config",
        "/panels/%2e%2e%2f%2e%2e%2fapp.py",
    ):  # fmt: skip
        status, _, body = server.ask("GET", path)
        assert status in (400, 404), path
        assert b"import" not in body


def test_a_refusal_is_in_the_language_that_the_page_asks_for(server):
    question = {"at": None, "text": ""}
    for language, sentence in (
        ("en", "the model reads 1 to 8 characters, not 0"),
        ("zh", "模型一次读 1 到 8 个字符，不能读 0 个"),
        (None, "the model reads 1 to 8 characters, not 0"),
    ):
        path = "/api/window/predictions"
        status, _, answer = server.ask("POST", path, question, Accept_Language=language)
        assert (status, json.loads(answer)["error"]) == (422, sentence)


def test_what_the_worker_refuses_is_in_that_language_too(server):
    body = {**PARAMETERS, "at": None, "prompt": "龘"}
    status, _, answer = server.ask("POST", "/api/write", body, Accept_Language="zh-CN")
    assert status == 422
    assert json.loads(answer)["error"].startswith("不在这个模型的")


def test_a_dawdling_client_is_disconnected(server):
    head = f"POST /api/write HTTP/1.1\r\nHost: {server.host}\r\n"
    beginnings = [b"", b"G", head.encode(), f"{head}Content-Length: 100\r\n\r\n{{".encode()]
    ended = {}

    def dawdle(beginning):
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(beginning)
            connection.settimeout(0.5)
            while time.monotonic() - began < 25:
                with contextlib.suppress(TimeoutError, ConnectionError):
                    if not connection.recv(1000):
                        break
                    continue
                try:
                    if beginning:
                        connection.sendall(b"x")
                except OSError:
                    break
        ended[beginning] = time.monotonic() - began

    threads = [threading.Thread(target=dawdle, args=(each,)) for each in beginnings]
    for thread in threads:
        thread.start()
    for _ in range(20):
        assert server.ask("GET", "/api/health")[0] == 200
    for thread in threads:
        thread.join()
    assert protocol.DEADLINE <= 10
    assert max(ended.values()) < protocol.DEADLINE + 3


def test_uvicorn_still_shows_when_a_request_is_complete():
    broken = (
        "uvicorn has changed H11Protocol.cycle, or its more_body: PunctualProtocol cannot see when "
        "a request is complete; mend it before you raise the bound in pyproject.toml"
    )

    class Transport(asyncio.Transport):
        def is_closing(self):
            return False

        def close(self):
            pass

    async def nothing(scope, receive, send):
        pass

    async def feed():
        config = uvicorn.Config(nothing, lifespan="off")
        config.load()
        connection = protocol.PunctualProtocol(config, uvicorn.Server(config).server_state, {})
        connection.connection_made(Transport())
        try:
            connection.data_received(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
            waits = connection._timer is not None and connection.cycle.more_body
            connection.data_received(b"}")
            assert (waits, connection.cycle.more_body) == (True, False), broken
        except AttributeError as error:
            raise AssertionError(broken) from error
        assert connection._timer is None
        connection.connection_lost(None)
        await asyncio.sleep(0)

    asyncio.run(feed())


def test_the_page_writes_what_sample_writes(server, capsys):
    wanted = {**PARAMETERS, "prompt": "the ", "length": 60, "temperature": 0.8, "seed": 5}
    status, _, body = server.ask("POST", "/api/write", wanted)
    letters = [json.loads(line) for line in body.splitlines()]
    assert status == 200
    assert all(0 < letter["probability"] <= 1 for letter in letters)
    options = ["--prompt", "the ", "--chars", "60", "--temperature", "0.8", "--seed", "5"]
    assert main(["sample", str(GOLDEN), *options]) == 0
    written = "the " + "".join(letter["character"] for letter in letters) + "\n"
    assert written == capsys.readouterr().out


def test_writing_stops_when_nobody_reads_and_the_next_is_served(server):
    endless = json.dumps({**PARAMETERS, "length": 10_000}).encode()
    request = (
        f"POST /api/write HTTP/1.1\r\nHost: {server.host}\r\nOrigin: http://{server.host}\r\n"
        f"Authorization: Bearer {server.token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(endless)}\r\n\r\n"
    ).encode() + endless
    for number in range(100):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(request)
            if number % 2:
                connection.recv(100)  # half of them go before the first byte
    began = time.monotonic()
    status, *_ = server.ask("POST", "/api/write", PARAMETERS)
    while status == 429 and time.monotonic() - began < 20:
        status, *_ = server.ask("POST", "/api/write", PARAMETERS)
    assert status == 200


def test_the_token_is_printed_once_and_ctrl_c_ends_it_quietly():
    server = Server(GOLDEN)
    server.ask("GET", f"/api/health?token={server.token}")
    server.ask("GET", "/nowhere")
    out, err = server.close()
    assert (out, err) == ("", "")
    assert server.process.returncode == 0
    assert sum(server.token in line for line in server.printed) == 1
