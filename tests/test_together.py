"""Several processes that train one model: the same run, whatever their number and whoever dies."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stress.crashes import outcome
from tests.runs import SMALL, saved_steps, wait_for, zigpt
from tests.texts import story
from zigpt.training.team import Team, _branch, _tree

TOGETHER = [*SMALL, "--batch-size", "8", "--dropout", "0.1"]
KINDS = {
    "classic, AdamW": ["--optimizer", "adamw"],
    "modern, Muon": ["--architecture", "modern", "--optimizer", "muon"],
}


def start(run, steps, processes=1, more=()):
    """Start or resume a run in a process, or in several."""
    resume = ["--resume"] if run.exists() else []
    words = ["train", run.parent / "book.txt", *TOGETHER, "--parts", 4, *more]
    return zigpt(*words, "--max-steps", steps, "--processes", processes, *resume, "--run", run)


def train(*arguments, **options):
    """Let it run to its end: the exit code, and what was printed."""
    with start(*arguments, **options) as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "book.txt").write_text(story(3000))
    return tmp_path


@pytest.mark.parametrize("size", range(1, 10))
@pytest.mark.parametrize("parts", [1, 2, 4, 8, 16])
def test_a_sum_has_the_same_bits_however_many_processes_share_it(size, parts):
    numbers = torch.rand(parts, 1000) * torch.logspace(-3, 3, parts)[:, None]

    def part(number):
        return [numbers[number].clone()]

    computed, sums = [], []
    for rank in range(size):
        first, count = Team(rank, size)._own(parts)
        computed += range(first, first + count)
        sums += _branch(part, first, count)
    assert sorted(set(computed)) == list(range(parts))
    assert len(computed) == max(parts, size)  # some compute what another does
    (alone,) = Team().add_up(part, parts)
    assert torch.equal(_tree(sums, parts), alone)
    assert torch.allclose(alone, numbers.sum(0))


@pytest.mark.parametrize("kind", KINDS)
def test_one_two_and_four_processes_make_the_same_run(folder, kind):
    ends = []
    for processes in (1, 2, 4):
        run = folder / f"by-{processes}"
        code, out, err = train(run, 30, processes, KINDS[kind])
        assert (code, err) == (0, "")
        assert out.count("exact over the whole split") == 1
        ends.append(outcome(run))
    assert ends[0] == ends[1] == ends[2]


def test_a_run_goes_on_with_another_number_of_processes(folder):
    assert train(folder / "undisturbed", 200)[0] == 0
    run = folder / "run"
    for processes in (1, 4, 2):
        with start(run, 200, processes) as process:
            if processes != 2:
                wait_for_steps(run, steps_of(run) + 20)
                process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0 if processes == 2 else 130, "")
    assert outcome(run) == outcome(folder / "undisturbed")


@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_is_killed_is_replaced_and_nothing_is_lost(folder, victim):
    assert train(folder / "undisturbed", 200)[0] == 0
    run = folder / "run"
    with start(run, 200, processes=2) as process:
        for _ in range(2):
            wait_for_steps(run, steps_of(run) + 20)
            os.kill(pid_of_rank(process.pid, victim), signal.SIGKILL)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert outcome(run) == outcome(folder / "undisturbed")


def test_plain_torchrun_starts_it_as_well(folder):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    torchrun += ["--nproc-per-node", "2", "-m", "--"]  # without --, it takes --run for its own
    words = ["zigpt", "train", "book.txt", *TOGETHER, "--max-steps", "10", "--run", "run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*torchrun, *words], cwd=folder, env=environment, check=True, timeout=60)
    assert saved_steps(folder / "run")[-1] == 10


def test_what_process_0_is_refused_is_said_once(folder):
    with start(folder / "run", 10, processes=2, more=["--n-embd", "15"]) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert len(err.splitlines()) == 3
    assert not (folder / "run").exists()


def test_a_process_that_is_killed_again_and_again_ends_the_training(folder):
    run = folder / "run"
    with start(run, 100_000, processes=2) as process:
        for _ in range(4):
            wait_for_steps(run, steps_of(run) + 10)
            os.kill(pid_of_rank(process.pid, 1), signal.SIGKILL)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "all were started 4 times" in err
    assert saved_steps(run)


def steps_of(run):
    """The step of the last evaluation."""
    with contextlib.suppress(OSError, IndexError):
        return json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    return 0


def wait_for_steps(run, step):
    wait_for(lambda: steps_of(run) >= step)


def pid_of_rank(launcher, rank):
    """The process of a rank among the children of `launcher`."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == launcher and f"\0RANK={rank}\0" in (folder / "environ").read_text():
                return int(folder.name)
    pytest.fail(f"no process has rank {rank}")
