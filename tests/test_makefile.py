"""The Makefile: it lists what it can do, and never continues with half an environment."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

MAKEFILE = Path(__file__).parent.parent / "Makefile"
pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("make") is None, reason="there is no make"
)

# Like a Python without ensurepip: `-m venv` leaves an interpreter behind, and fails.
FAILING_VENV = """#!/bin/sh
echo "$@" >> attempts
mkdir -p .venv/bin
printf '#!/bin/sh\\ntouch went-on\\n' > .venv/bin/python
chmod +x .venv/bin/python
exit 1
"""


def make(folder, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "--file", MAKEFILE, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


# Notes what it is asked to do; only torch_index.py really runs. To install torch fails on demand.
NOTING_VENV = """#!/bin/sh
mkdir -p .venv/bin
cat > .venv/bin/python <<'END'
#!/bin/sh
[ "$1" = torch_index.py ] && exec {python} {root}/torch_index.py
echo "$@" >> attempts
case "$*" in *index-url*) exit $FAILS;; esac
END
chmod +x .venv/bin/python
"""
PIP = "-m pip --quiet --disable-pip-version-check install --no-compile"


class Index(BaseHTTPRequestHandler):
    """A package index with one wheel of PyTorch, of a fixed size."""

    size, tag = 190_400_000, f"cp{sys.version_info.major}{sys.version_info.minor}"
    platform = sysconfig.get_platform().replace("-", "_")
    wheel = f"torch-2.13.0%2Bcpu-{tag}-{tag}-{platform}.whl"

    def do_GET(self):
        page = f'<a href="{self.wheel}#sha256=0">torch</a>'.encode()
        self.answer(len(page) if self.path == "/torch/" else 0)
        self.wfile.write(page)

    def do_HEAD(self):
        self.answer(self.size)

    def answer(self, length):
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_):
        pass


class Trickle(Index):
    """One byte from time to time: no single wait is long, and the page never ends."""

    def do_GET(self):
        self.answer(10_000)
        for _ in range(100):
            self.wfile.write(b" ")
            time.sleep(0.3)


class OtherPython(Index):
    wheel = "torch-2.13.0%2Bcpu-cp39-cp39-linux_x86_64.whl"


@contextmanager
def served(handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads, server.block_on_close = True, False
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def torch_index(index):
    environment = {**os.environ, "ZIGPT_TORCH_INDEX": index, "no_proxy": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, MAKEFILE.with_name("torch_index.py")],
        env=environment, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout.strip(), done.stderr


def test_an_index_with_a_wheel_for_this_python_is_taken_and_its_size_is_told():
    with served(Index) as url:
        index, told = torch_index(url)
    assert index == url
    assert f"torch-2.13.0+cpu-{Index.tag}" in told
    assert "(190 MB)" in told


@pytest.mark.parametrize("handler", [Trickle, OtherPython])
def test_an_index_that_is_slow_or_lacks_the_wheel_is_done_without(handler):
    with served(handler) as url:
        index, told = torch_index(url)
    assert index == ""
    assert "several GB" in told


def test_an_index_that_cannot_be_reached_is_done_without_and_an_empty_one_asks_nobody():
    with served(Index) as url:
        pass
    index, told = torch_index(url)
    assert (index, "usual index" in told) == ("", True)
    assert torch_index("") == ("", "")


@pytest.mark.parametrize("fails", [0, 1])
def test_make_takes_torch_from_that_index_and_all_else_from_the_usual_one(tmp_path, fails):
    for name in ("pyproject.toml", "requirements.lock"):
        (tmp_path / name).touch()
    python = tmp_path / "noting-python"
    script = NOTING_VENV.format(python=sys.executable, root=MAKEFILE.parent)
    python.write_text(script.replace("$FAILS", str(fails)), encoding="utf-8")
    python.chmod(0o755)
    with served(Index) as url:
        words = (f"PYTHON={python}", f"ZIGPT_TORCH_INDEX={url}", "ZIGPT_LANG=zh", ".venv/run")
        shown = make(tmp_path, *words)
    assert ["安装到" in shown.stdout, "CPU 版 PyTorch" in shown.stderr] == [True, True]
    assert ("改用默认的源" in shown.stdout) == bool(fails)
    attempts = (tmp_path / "attempts").read_text(encoding="utf-8").splitlines()
    assert attempts == [
        f"{PIP} pip",
        f"{PIP} --no-deps --index-url {url} torch",
        f"{PIP} --editable .[web,texts]",
    ]


def test_make_alone_lists_every_target_in_one_line(tmp_path):
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE.read_text(encoding="utf-8"), re.MULTILINE)
    listed = make(tmp_path).stdout.splitlines()
    assert [line.split()[1] for line in listed] == phony[1].split()
    assert all(len(line.split()) > 3 for line in listed)


def test_an_environment_whose_making_failed_is_made_anew_and_never_used(tmp_path):
    for name in ("pyproject.toml", "requirements.lock"):
        (tmp_path / name).touch()
    python = tmp_path / "failing-python"
    python.write_text(FAILING_VENV, encoding="utf-8")
    python.chmod(0o755)
    for target in ("train", "test", "check", "bench"):
        assert make(tmp_path, f"PYTHON={python}", target).returncode != 0
    attempts = (tmp_path / "attempts").read_text(encoding="utf-8").splitlines()
    assert attempts == ["-m venv --clear .venv"] * 4
    assert not (tmp_path / "went-on").exists()
