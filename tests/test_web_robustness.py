"""D1, D5, D9, D12: what the page's server keeps to itself, and what it holds on to."""

import json
import os
import shutil
import socket
import stat

import pytest

from tests.serving import GOLDEN, PARAMETERS, Server
from zigpt.web.serve import read_token


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Where the token is kept, in a folder of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "zigpt" / "web-token"


@pytest.mark.skipif(os.name == "nt", reason="there are no such permissions")
class TestTheToken:
    """D1"""

    def test_it_is_kept_where_only_its_owner_reads_it(self, kept):
        before = os.umask(0)
        try:
            token = read_token()
        finally:
            os.umask(before)
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert kept.read_text() == token == read_token()

    @pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
    def test_one_that_others_may_read_or_write_is_not_trusted(self, kept, mode):
        first = read_token()
        kept.chmod(mode)
        assert read_token() != first
        assert kept.read_text() == first  # and no new one is put there

    def test_anything_but_a_token_is_replaced(self, kept):
        read_token()
        for odd in ("", "short", "x" * 33, "字" * 32, "../" * 11):
            kept.write_text(odd)
            assert read_token() == kept.read_text() != odd

    def test_a_link_is_not_followed(self, kept, tmp_path):
        other = tmp_path / "other"
        other.write_text("x" * 32)
        other.chmod(0o600)
        kept.parent.mkdir(parents=True)
        kept.symlink_to(other)
        assert read_token() != "x" * 32
        assert other.read_text() == "x" * 32

    def test_where_it_cannot_be_stored_it_is_valid_for_one_server(self, kept):
        kept.parent.parent.mkdir(parents=True)
        kept.parent.write_text("no folder")
        assert read_token() != read_token()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = tmp_path_factory.mktemp("live") / "run"
    shutil.copytree(GOLDEN, run)
    return run


@pytest.fixture(scope="module")
def server(run):
    server = Server(run)
    yield server
    out, err = server.close()
    assert server.token not in out + err


def test_parts_of_a_file_are_parts_of_the_pages_own(server):
    """D9"""
    whole = server.ask("GET", "/main.js")[2]
    for wanted in (
        "bytes=0-,0-,0-", "bytes=0-0", "bytes=-1", "bytes=5-2", "bytes=99999999-", "bytes=a-b",
        "lines=1-2", "bytes=" + ",".join(f"{n}-{n}" for n in range(500)), "bytes=-99999999999",
    ):  # fmt: skip
        status, _, body = server.ask("GET", "/main.js", Range=wanted)
        assert status in (200, 206, 400, 416), wanted
        assert len(body) <= 100 * len(whole), wanted
    for path in ("/..%2f..%2fapp.py", "/%2e%2e%2f%2e%2e%2fapp.py", "/panels%2f..%2f..%2fapp.py",
                 "/%2fetc%2fpasswd", "/..%c0%af..%c0%afapp.py", "/\\..\\app.py"):  # fmt: skip
        status, _, body = server.ask("GET", path, Range="bytes=0-10")
        assert status in (400, 404), path
        assert b'"""' not in body


def test_two_requests_in_one_are_answered_as_two_or_not_at_all(server):
    """D9"""
    head = f"Host: {server.host}\r\nAuthorization: Bearer {server.token}\r\n"
    one = f"GET /api/health HTTP/1.1\r\n{head}".encode()
    two = server.raw(one + b"\r\n" + one + b"Connection: close\r\n\r\n")
    assert two.count(b"HTTP/1.1 200") == 2
    hidden = b"GET /api/run HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    for lie in (
        b"Content-Length: 0\r\nContent-Length: 9\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Content-Length: +3\r\n",
    ):
        back = server.raw(one + lie + b"Connection: close\r\n\r\n" + hidden)
        assert b"HTTP/1.1 2" not in back, lie
        assert b'"model"' not in back


def test_a_model_that_is_damaged_or_removed_is_still_served(server, run):
    """D12"""
    wanted = {**PARAMETERS, "length": 5}
    file, written = run / "model.safetensors", server.ask("POST", "/api/write", wanted)[2]
    whole = file.read_bytes()
    for odd in (b"", whole[:-1], whole[: len(whole) // 2] + b"\0" * 99, b"\x80\x04.", None):
        if odd is None:
            file.unlink()
        else:
            file.write_bytes(odd)
        status, _, answer = server.ask("POST", "/api/write", wanted)
        assert (status, answer) == (200, written)
        model = json.loads(server.ask("GET", "/api/run")[2])["model"]
        assert model["trouble"]
    file.write_bytes(whole)
    assert json.loads(server.ask("GET", "/api/run")[2])["model"]["trouble"] is None


def test_ctrl_c_ends_it_silently_while_somebody_watches():
    with Server(GOLDEN) as server, socket.create_connection(("127.0.0.1", server.port)) as watch:
        head = f"Host: {server.host}\r\nAuthorization: Bearer {server.token}\r\n"
        watch.sendall(f"GET /api/watch HTTP/1.1\r\n{head}\r\n".encode())
        assert b"200 OK" in watch.recv(1000)
        assert server.close() == ("", "")
        assert server.process.returncode == 0
