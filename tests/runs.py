"""Training runs small enough for a test, in this process or in one of their own."""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from stress.faulty_disk import FaultyDisk
from stress.settings import shortened
from zigpt import storage
from zigpt.cli.main import main
from zigpt.runs import session
from zigpt.runs.checkpoint import list_checkpoints
from zigpt.runs.lock import LOCK_FILE

SMALL = ["--preset", "tiny", "--architecture", "classic", "--n-layer", "1", "--n-embd", "16",
         "--block-size", "16", "--batch-size", "4", "--eval-interval", "10",
         "--eval-chars", "160"]  # fmt: skip


FOR_THE_CPU = pytest.mark.skipif(
    torch.version.cuda is not None, reason="PyTorch's build for a GPU takes 3 GB of addresses"
)


def zigpt(*arguments, **options):
    """Start a real process; use it as a context manager."""
    command = [sys.executable, "-m", "zigpt", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        env=environment, **options,
    )  # fmt: skip


def train(*arguments):
    """Start a training run whose standard error nobody reads."""
    command = [sys.executable, "-m", "zigpt", "train", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for(holds):
    """Ask again and again until it holds, for a minute."""
    for _ in range(1200):
        if holds():
            return
        time.sleep(0.05)
    pytest.fail("it never came")


def wait_for_line(process, part):
    """Read what a process prints up to a line that contains `part`."""
    for line in process.stdout:
        if part in line:
            return
    pytest.fail(f"never printed {part!r}: {process.stderr.read()}")


def pid_of(run):
    """The process that trains in a folder, or None."""
    with contextlib.suppress(OSError):
        found = re.match(r"pid (\d+) ", (run / LOCK_FILE).read_text())
        return found and int(found[1])
    return None


def saved_steps(run):
    """The steps of a run's checkpoints."""
    return [int(path.name[5:]) for path in list_checkpoints(run / "checkpoints")]


def refusal(*arguments):
    """Run a command that must be refused: its exit code and the three lines."""
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        code = main([str(argument) for argument in arguments])
    what, why, fix = error.getvalue().splitlines()
    assert [what[:7], why[:5], fix[:5]] == ["error: ", "why: ", "fix: "]
    return code, what[7:], why[5:], fix[5:]


def in_a_child(action, stderr, number=0, after=0.0):
    """Fork and act; send a signal after `after` seconds. Returns how it ended and how long it took.

    Output goes nowhere; errors are added to the file `stderr`.
    """
    child = os.fork()
    if not child:
        code = 1
        with contextlib.suppress(BaseException):
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # as when the program starts
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
            sys.stderr = stderr.open("a")
            code = action()
            sys.stderr.flush()
        os._exit(code)
    if number:
        time.sleep(after)
        os.kill(child, number)
    began = time.monotonic()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), time.monotonic() - began


@contextlib.contextmanager
def saving_at_every_step():
    """Save at every step, and leave out what only takes time."""
    with pytest.MonkeyPatch.context() as patch, shortened():
        patch.setattr(session, "save_interval", lambda seconds: 0.0)
        patch.setattr(storage, "disk", FaultyDisk())
        yield
