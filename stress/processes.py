"""`zigpt train` as a person starts it, killed every 3 to 12 seconds until it finishes."""

import os
import subprocess
import sys
import time
from pathlib import Path

from stress.crashes import SIGKILLED, outcome
from stress.report import Report, each_case
from tests.texts import story

_SETTINGS = ["--preset", "tiny", "--max-steps", "2000"]  # a minute on two slow cores


def campaign(
    folder: Path, seed: int, cases: int | None = None, seconds: float | None = None
) -> Report:
    """Kill until the budget is spent; a case is one run with all of its kills."""
    text = folder / "book.txt"
    text.write_text(story(50_000), encoding="utf-8")
    began = time.monotonic()
    assert _train(text, folder / "undisturbed") == 0
    report = Report()
    report.count("seconds undisturbed", round(time.monotonic() - began))
    expected = outcome(folder / "undisturbed")
    for name, choose in each_case(report, seed, cases, seconds):
        run, began = folder / name.replace("/", "-"), time.monotonic()
        with report.failing(name):
            while (code := _train(text, run, choose.uniform(3, 12))) == SIGKILLED:
                report.count("killed")
            assert code == 0, f"ended with {code}"
            assert outcome(run) == expected
        report.count("seconds killed again and again", round(time.monotonic() - began))
    return report


def _train(text: Path, run: Path, kill_after: float | None = None) -> int:
    """Start, or resume, in a process of its own; return its exit code, negative for a signal."""
    resume = ["--resume"] if run.exists() else []
    command = [sys.executable, "-m", "zigpt", "train", text, *_SETTINGS, *resume, "--run", run]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ) as process:
        try:
            return process.wait(kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
