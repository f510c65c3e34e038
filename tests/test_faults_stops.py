"""Stopped by signals at any instant, jumping clocks, non-finite losses: the result is the same."""

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields

import numpy as np
import pytest
import torch

from stress.crashes import Life, outcome
from stress.faulty_disk import FaultyDisk
from tests.runs import SMALL, in_a_child, saving_at_every_step
from tests.texts import story
from zigpt import storage
from zigpt.cli import follow
from zigpt.cli.main import guarded, main
from zigpt.cli.spelling import option
from zigpt.runs import session
from zigpt.runs.checkpoint import FREE_TO_CHANGE, list_checkpoints, read_checkpoint
from zigpt.runs.events import Opened, Stepped, Trained
from zigpt.runs.folder import RunFolder
from zigpt.runs.record import RunRecord
from zigpt.runs.session import train_opened
from zigpt.runs.signals import Interrupted, listening
from zigpt.runs.training_text import fingerprint
from zigpt.training import loop as training
from zigpt.training.loop import TrainState

SETTINGS = [*SMALL, "--max-steps", "6", "--eval-interval", "3", "--dropout", "0.2"]
NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(scope="module", autouse=True)
def hurried():
    with saving_at_every_step():
        yield


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    path = tmp_path_factory.mktemp("stops") / "book.txt"
    path.write_text(story(3000), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def hears_hangups():
    """Also where the tests themselves run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="module")
def whole(book, tmp_path_factory):
    """The outcome of an undisturbed training."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert main(["train", str(book), *SETTINGS, "--run", str(run)]) == 0
    return outcome(run)


def lived(book, run, *disk):
    """Start or resume, as a person would type it. Returns the exit code."""
    exists = (run / "run.json").exists()
    what = ["--resume"] if exists else [str(book), *SETTINGS]
    for each in disk:
        storage.disk = each
    return main(["train", *what, "--run", str(run)])


class SignallingDisk(FaultyDisk):
    """Sends this process a signal, once or twice, as the n-th operation ends."""

    def __init__(self, at, number, times):
        super().__init__()
        self.at, self.number, self.times = at, number, times

    def _do(self, whole, half=lambda: None):
        super()._do(whole, half)
        for _ in range(self.times if self.count - 1 == self.at else 0):
            os.kill(os.getpid(), self.number)


class TestSignals:
    """A7, A8"""

    def test_repeated_stops_at_random_instants_change_nothing(self, book, whole, tmp_path):
        random, stops, stderr = np.random.default_rng(5), 0, tmp_path / "stderr"
        for number in itertools.cycle(NUMBERS):
            run, code = tmp_path / f"run{stops}", -1
            while code and stops < 24:
                stops += 1
                code, seconds = in_a_child(
                    lambda run=run: lived(book, run), stderr, number, random.uniform(0, 0.25)
                )
                assert code in (0, 128 + number, -number), stderr.read_text()
                assert seconds < 5
            assert not code or in_a_child(lambda run=run: lived(book, run), stderr)[0] == 0
            assert outcome(run) == whole
            assert stderr.read_text() == ""
            if stops >= 24:
                return

    def test_the_exit_code_is_that_of_the_signal_wherever_it_is_obeyed(self):
        """Also where the program is about to end, after the command."""

        def fail():
            raise Interrupted(143)

        assert guarded(fail) == 143

    def test_a_stop_during_a_save_changes_nothing(self, book, whole, tmp_path):
        """One signal, and two in a row."""
        stderr = tmp_path / "stderr"
        for at, number in zip(range(1, 999, 15), itertools.cycle(NUMBERS), strict=False):
            run = tmp_path / f"run{at}"
            disk = SignallingDisk(at, number, times=1 + at % 2)
            code, _ = in_a_child(lambda r=run, d=disk: lived(book, r, d), stderr)
            if code == 0:  # it ended before that operation, or almost
                break
            assert code == 128 + number, (at, stderr.read_text())
            assert in_a_child(lambda r=run: lived(book, r), stderr)[0] == 0
            assert outcome(run) == whole, at
        assert at > 60
        assert outcome(run) == whole
        assert stderr.read_text() == ""

    @pytest.mark.parametrize(
        ("module", "number"),
        [
            *itertools.product(["click", "torch"], [2, 15]),
            ("zigpt.runs.session", 1),
            ("safetensors", 2),
        ],
    )
    def test_while_the_program_is_still_loading_it_ends_quietly(
        self, book, tmp_path, module, number
    ):
        program = (
            "import os, signal, sys\n"
            # Ignored, and for good, where the tests themselves run in the background.
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "class Finder:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            f"        if name == {module!r}: os.kill(os.getpid(), {number})\n"
            "sys.meta_path.insert(0, Finder())\n"
            "from zigpt.__main__ import run\n"
            "run()\n"
        )
        command = [sys.executable, "-c", program, "train", book, "--run", tmp_path / "run"]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        # A shell reports both as the same number.
        assert done.returncode == (-number if module == "click" else 128 + number)
        assert (done.stdout, done.stderr) == (b"", b"")
        assert not (tmp_path / "run").exists()

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_one_that_arrives_while_python_cleans_up_is_not_lost(self):
        class Dying:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGTERM)
                sum(range(9))  # here it is raised, and dropped

        with listening() as signals:
            Dying()
            signals.graceful = True
            assert signals.obey_at_once() == 143
            with pytest.raises(Interrupted):
                os.kill(os.getpid(), signal.SIGTERM)

    @pytest.mark.parametrize(
        ("sent", "code", "saved"),
        [
            ("SIGHUP SIGHUP SIGTERM", 129, [0, 4]),  # as a terminal that closes may do
            ("SIGTERM SIGTERM", 143, [0, 4]),
            ("SIGINT SIGTERM", 130, [0, 4]),
            ("SIGINT SIGINT", 130, [0]),
            ("SIGTERM SIGINT", 130, [0]),
        ],
    )
    def test_only_a_second_ctrl_c_ends_without_saving(
        self, book, whole, tmp_path, monkeypatch, sent, code, saved
    ):
        def signalling(progress, *rest):
            if progress.step == 4:
                for name in sent.split():
                    os.kill(os.getpid(), getattr(signal, name))
            return ""

        run = tmp_path / "run"
        with monkeypatch.context() as patched:
            patched.setattr(session, "save_interval", lambda seconds: 3600.0)
            patched.setattr(follow, "_status", signalling)
            assert main(["train", str(book), *SETTINGS, "--run", str(run)]) == code
        names = [path.name for path in list_checkpoints(run / "checkpoints")]
        assert names == [f"step-{step:08d}" for step in saved]
        assert lived(book, run) == 0
        assert outcome(run) == whole

    def test_under_nohup_a_training_outlives_its_terminal(self, book, whole, tmp_path):
        def nohup():
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            return lived(book, tmp_path / "run", SignallingDisk(20, signal.SIGHUP, 1))

        assert in_a_child(nohup, tmp_path / "stderr")[0] == 0
        assert outcome(tmp_path / "run") == whole


def test_a_clock_that_jumps_by_ten_years_changes_nothing(book, whole, tmp_path, monkeypatch):
    """A18"""
    monkeypatch.setattr(session, "save_interval", lambda seconds: 3600.0)
    saved, save, run = [], RunFolder.save, tmp_path / "run"

    def note(folder, state):
        saved.append(state.step)
        save(folder, state)

    monkeypatch.setattr(RunFolder, "save", note)
    jumps, now = itertools.cycle([10, -10]), time.time()
    monkeypatch.setattr(time, "time", lambda: now + next(jumps) * 365 * 86_400)
    stops = [4]
    monkeypatch.setattr(follow, "_status", lambda progress, *rest: _stop_at(progress, stops))
    assert main(["train", str(book), *SETTINGS, "--run", str(run)]) == 143
    assert saved == [0, 4]
    checkpoints = list_checkpoints(run / "checkpoints")
    os.utime(checkpoints[0], (now + 10**9, now + 10**9))  # the older one seems newer
    os.utime(checkpoints[1], (1, 1))
    assert lived(book, run) == 0
    assert saved == [0, 4, 6]
    assert outcome(run) == whole
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)
    assert 0 <= seconds[-1] < 600


def _stop_at(progress, stops):
    if progress.step in stops:
        stops.remove(progress.step)
        os.kill(os.getpid(), signal.SIGTERM)
    return ""


def train_to(run, life, state, step):
    """Train up to a step and request a stop; without a step, to the end."""
    stops = []
    for event in train_opened(Opened(run, life.corpus, state), lambda: bool(stops)):
        if isinstance(event, Stepped) and event.progress.step == step:
            stops.append(step)
        if isinstance(event, Trained):
            return


@pytest.mark.parametrize(
    ("precision", "micro_batch"), [("float32", 5), ("float32", 2), ("bfloat16", 2)]
)
def test_any_number_of_stops_anywhere_ends_bit_equal(tmp_path, monkeypatch, precision, micro_batch):
    """B1, with dropout, both optimizers, and a batch accumulated in parts."""
    monkeypatch.setattr(training, "micro_batch_size", lambda *sizes: micro_batch)
    life = Life.small(tmp_path, max_steps=20, batch_size=5, precision=precision)
    random, ends = np.random.default_rng([micro_batch, len(precision)]), []
    for count in (0, 1, 3, 10):
        path = tmp_path / f"run{count}"
        steps = sorted(random.choice(np.arange(1, 20), count, replace=False).tolist())
        for step in [*steps, None]:
            state = TrainState.initialise(life.model, life.config, torch.device("cpu"))
            if path.exists():
                run = RunFolder.open(path)
                run.restore(state, pytest.fail)
            else:
                text = fingerprint(life.source)
                record = RunRecord(life.model, life.config, text, life.ladder, "a ", "tiny", "cpu")
                run = RunFolder.create(path, record)
                run.close()
            train_to(run, life, state, step)
            run.save(state)
            assert state.step == (step or 20)
        ends.append(outcome(path))
    assert ends[1:] == ends[:1] * 3


class TestNonFiniteNumbers:
    """B3"""

    @pytest.mark.parametrize("bad", ["loss", "gradient"])
    @pytest.mark.parametrize("at", [1, 4])
    def test_the_last_good_step_is_saved_and_can_be_resumed(
        self, book, whole, tmp_path, monkeypatch, capsys, bad, at
    ):
        monkeypatch.setattr(session, "save_interval", lambda seconds: 3600.0)
        run, calls, true_loss = tmp_path / "run", itertools.count(1), training.next_character_loss

        def poisoned(logits, targets):
            loss = true_loss(logits, targets)
            if torch.is_grad_enabled() and next(calls) == at:
                if bad == "loss":
                    return loss * math.nan
                loss.register_hook(lambda gradient: gradient * math.inf)
            return loss

        monkeypatch.setattr(training, "next_character_loss", poisoned)
        code = lived(book, run)
        what, why, fix = capsys.readouterr().err.splitlines()
        assert code == 6
        assert what.startswith(f"error: diverged in step {at}: loss ")
        assert "nan" in what
        assert why.endswith(f"weights are still those of the step before; step {at - 1} is saved "
                            f"in {run}")  # fmt: skip
        assert "--learning-rate" in fix
        newest = list_checkpoints(run / "checkpoints")[-1]
        assert newest.name == f"step-{at - 1:08d}"
        read_checkpoint(newest)
        assert lived(book, run) == 0  # without the poison, as if it had never happened
        assert outcome(run) == whole


def _other(name, value):
    match value:
        case str():
            pairs = ("random", "shuffled"), ("classic", "modern"), ("adamw", "muon")
            others = {name: other for pair in pairs for name, other in (pair, pair[::-1])}
            return others.get(value, "float32")
        case float():
            return value / 2 or 0.5
        case _:
            return 2 * value or 5


class TestOtherSettings:
    """A15"""

    @pytest.fixture
    def run(self, book, tmp_path, monkeypatch):
        monkeypatch.setattr(session, "save_interval", lambda seconds: 3600.0)
        assert lived(book, tmp_path / "run") == 0
        return tmp_path / "run"

    def test_every_setting_but_length_and_learning_rate_is_refused_by_name(self, run, capsys):
        before = (run / "run.json").read_bytes()
        configs = RunFolder.open(run).record.configs
        now = {f.name: getattr(config, f.name) for config in configs for f in fields(config)}
        del now["vocab_size"]  # not a setting: the text has it
        changed = {name: _other(name, value) for name, value in now.items()}
        for name in now.keys() - set(FREE_TO_CHANGE):
            word = option(name)
            code = main(["train", "--resume", "--run", str(run), word, str(changed[name])])
            what, why, fix = capsys.readouterr().err.splitlines()
            assert (code, what) == (2, "error: impossible settings: 1 problem"), name
            assert why == f"why: {name} is {now[name]} in {run}, not {changed[name]}"
            assert fix == f"fix: drop {word}"
        everything = [f"{option(n)}={value}" for n, value in changed.items()]
        assert main(["train", "--resume", "--run", str(run), *everything]) == 2
        assert f"{len(now) - len(FREE_TO_CHANGE)} problems" in capsys.readouterr().err
        assert (run / "run.json").read_bytes() == before

    @pytest.mark.parametrize("steps", [6, 2])
    def test_fewer_steps_than_were_made_end_at_once(self, run, whole, capsys, steps):
        assert main(["train", "--resume", "--run", str(run), "--max-steps", str(steps)]) == 0
        out = capsys.readouterr().out
        assert "resuming at step 6" in out
        assert "exact over the whole split" in out
        assert outcome(run) == whole
