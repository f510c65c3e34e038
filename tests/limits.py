"""Bounds on what a refusal may cost: two seconds of a processor and a quarter of a gigabyte."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

resource = pytest.importorskip("resource")  # not on Windows

SECONDS, MEMORY = 2.0, 256 << 20


class TooSlow(BaseException):
    """The block took too long; derived so that nothing catches it as an ordinary error."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise TooSlow


@contextmanager
def bounded(seconds: float = SECONDS, memory: int = MEMORY) -> Iterator[None]:
    """Fail if the block hangs; within it, memory beyond the bound cannot be allocated."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    handler = signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, 5 * seconds)  # waiting counts too
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, before[1]))
    began = time.process_time()
    try:
        yield
        assert time.process_time() - began < seconds
    except TooSlow:
        pytest.fail("the block hangs")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


def campaign_alone(name: str, seed: int, cases: int) -> dict[str, Any]:
    """Run a campaign in its own process, which measures its own memory; return the report."""
    command = [sys.executable, "-m", "stress", name, str(seed), str(cases)]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)
