"""Real training runs from the command line: stopped, locked out, on a full disk, damaged."""

import math
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
import torch

from stress.crashes import Life, check_next_start, in_a_process, undisturbed
from stress.settings import shortened
from tests.runs import SMALL, wait_for_line, zigpt
from tests.texts import story
from zigpt import storage
from zigpt.cli.main import main
from zigpt.errors import ModelFileError, RunBusyError
from zigpt.runs.checkpoint import list_checkpoints, restore_newest
from zigpt.runs.folder import RunFolder
from zigpt.runs.lock import LOCK_FILE, locked, require_unlocked, waits_at
from zigpt.storage import clear_leftovers
from zigpt.training import loop as training
from zigpt.training.loop import TrainState

CPU = torch.device("cpu")


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text(story(6000), encoding="utf-8")
    return path


def endless(book, run):
    return zigpt("train", book, *SMALL, "--max-steps", 100_000, "--run", run)


class TestOneTrainingInAFolder:
    def test_the_second_is_refused_naming_the_first_before_torch_is_loaded(self, book, tmp_path):
        run = tmp_path / "run"
        program = (
            "import sys; from zigpt.cli.main import main; "
            f"code = main(['train', {str(book)!r}, '--run', {str(run)!r}, *sys.argv[1:]]); "
            "print(code, 'torch' in sys.modules)"
        )
        with endless(book, run) as first:
            wait_for_line(first, "step      1  ")
            for more in ([], ["--resume"]):
                second = subprocess.run(
                    [sys.executable, "-c", program, *more], capture_output=True, text=True
                )
                assert second.stdout.split() == ["4", "False"]
                what, why, fix = second.stderr.splitlines()
                holder = f"in use by pid {first.pid} on {socket.gethostname()} since 2"
                assert what.startswith(f"error: {run} is {holder}")
                assert "overwrite each other" in why
                assert "--run" in fix
            first.kill()
            first.wait()
        with zigpt("train", "--resume", "--run", run) as next_one:  # at once: no cleaning up first
            wait_for_line(next_one, "resuming at step")
            next_one.kill()

    def test_a_child_process_does_not_keep_the_lock_of_its_parent(self, tmp_path):
        with locked(tmp_path):
            child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        try:
            assert child.poll() is None
            require_unlocked(tmp_path)  # raises nothing
        finally:
            child.communicate(b"\n")

    def test_checking_the_lock_keeps_nobody_out(self, tmp_path):
        fcntl = pytest.importorskip("fcntl")
        check = os.open(tmp_path / LOCK_FILE, os.O_RDWR | os.O_CREAT)
        fcntl.flock(check, fcntl.LOCK_SH)  # as a check does, for an instant
        require_unlocked(tmp_path)
        ends = threading.Timer(0.01, os.close, [check])
        ends.start()
        with locked(tmp_path), pytest.raises(RunBusyError):
            require_unlocked(tmp_path)
        ends.join()

    def test_the_holder_records_where_it_waits(self, tmp_path):
        with locked(tmp_path) as lock:
            for step in (0, 12, 3):
                assert waits_at(tmp_path) is None
                lock.report_waiting(step)
                assert waits_at(tmp_path) == step
                with pytest.raises(
                    RunBusyError, match=rf"pid {os.getpid()} .*, waiting at step {step}"
                ):
                    require_unlocked(tmp_path)
                lock.report_waiting(None)
        assert waits_at(tmp_path) is None

    def test_the_lock_is_held_released_and_leaves_nothing(self, tmp_path):
        with locked(tmp_path):
            with pytest.raises(RunBusyError, match=f"in use by pid {os.getpid()} on"):
                require_unlocked(tmp_path)
            with pytest.raises(RunBusyError), locked(tmp_path):
                pass
        require_unlocked(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_the_next_free_name_is_used_if_another_training_took_the_first(
        self, book, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "runs" / "book-tiny").mkdir(parents=True)
        paths = iter([tmp_path / "runs" / "book-tiny", tmp_path / "runs" / "b2"])
        monkeypatch.setattr("zigpt.runs.setup.free_path", lambda name: next(paths))
        with locked(tmp_path / "runs" / "book-tiny"):
            assert main(["train", str(book), *SMALL, "--max-steps", "2"]) == 0
        assert (tmp_path / "runs" / "b2" / "model.safetensors").exists()


class TestSignals:
    @pytest.mark.parametrize(("number", "code"), [(1, 129), (2, 130), (15, 143)])
    def test_before_there_is_anything_to_save_it_ends_at_once(self, book, tmp_path, number, code):
        with zigpt("train", book, *SMALL, "--run", tmp_path / "run") as process:
            wait_for_line(process, "split")
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (code, "")

    def test_the_first_saves_and_the_second_ends_at_once(self, book, tmp_path):
        run = tmp_path / "run"
        with endless(book, run) as process:
            wait_for_line(process, "step      3  ")
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert err == ""
        with zigpt("train", "--resume", "--run", run, "--max-steps", 40) as process:
            _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err

    def test_another_thread_than_the_main_one_trains_without_them(self, book, tmp_path):
        words, codes = ["train", str(book), *SMALL, "--max-steps", "2"], []
        words += ["--run", str(tmp_path / "run")]
        thread = threading.Thread(target=lambda: codes.append(main(words)))
        thread.start()
        thread.join()
        assert codes == [0]

    def test_a_training_stopped_repeatedly_equals_an_uninterrupted_one(self, book, tmp_path):
        settings = [*SMALL, "--max-steps", "80", "--dropout", "0.2"]
        assert main(["train", str(book), *settings, "--run", str(tmp_path / "whole")]) == 0
        run, more = tmp_path / "parts", [book, *settings]
        for number in (signal.SIGHUP, signal.SIGTERM):
            with zigpt("train", *more, "--run", run) as process:
                wait_for_line(process, "  validation ")
                process.send_signal(number)
                out, err = process.communicate(timeout=60)
            assert process.returncode == 128 + number, err
            assert "stopped and saved at step" in out
            assert (run / "loss.png").exists()
            more = ["--resume"]
        assert main(["train", "--resume", "--run", str(run)]) == 0
        for name in ("model.safetensors", "samples.txt"):
            assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["--final-learning-rate", "0.001", "--eval-chars", "77", "--patience", "2"],
        ["--final-learning-rate", "90", "--max-steps", "39", "--warmup-steps", "2"],
        ["--architecture", "modern", "--dropout", "0.125", "--optimizer", "adamw", "--n-head", "1",
         "--weight-decay", "0.3", "--beta2", "0.9", "--seed", "7", "--batch-size", "3"],
    ],
    ids=range(4),
)  # fmt: skip
def test_the_command_after_diverging_is_the_same_training_with_a_lower_rate(
    book, tmp_path, monkeypatch, capsys, settings
):
    book = book.rename(book.with_name("it's a book.txt"))
    run = tmp_path / "the run; 1"
    settings = [*SMALL, "--max-steps", "40", "--learning-rate", "99", *settings]
    monkeypatch.chdir(tmp_path)
    with shortened(), monkeypatch.context() as broken:
        true_loss = training.next_character_loss
        broken.setattr(training, "next_character_loss", lambda *given: true_loss(*given) * math.nan)
        assert main(["train", book.name, *settings, "--run", str(run)]) == 6
    spelled = shlex.split(capsys.readouterr().err.splitlines()[2])
    words = spelled[spelled.index("train") :]
    monkeypatch.chdir("/")  # it can be typed anywhere
    assert main(words) in (0, 6)
    model, config = RunFolder.open(run).record.configs
    again, slower = RunFolder.open(tmp_path / "the run; 1-2").record.configs
    assert again == model
    assert slower.learning_rate == 33
    final = config.final_learning_rate
    if "--final-learning-rate" in settings:
        assert slower.final_learning_rate == min(final, 33)
    else:
        assert slower.final_learning_rate == pytest.approx(final / 3)
    rates = {name: getattr(slower, name) for name in ("learning_rate", "final_learning_rate")}
    assert slower == replace(config, **rates)


def test_diverging_keeps_the_last_good_step_and_prints_the_next_command(book, tmp_path, capsys):
    run = tmp_path / "run"
    settings = [*SMALL, "--max-steps", "400", "--grad-clip", "0", "--precision", "float32"]
    code = main(["train", str(book), *settings, "--learning-rate", "99", "--run", str(run)])
    what, why, fix = capsys.readouterr().err.splitlines()
    assert code == 6
    diverged = int(what.removeprefix("error: diverged in step ").split(":")[0])
    assert f"step {diverged - 1} is saved in {run}" in why
    assert f"train {book} --preset tiny --max-steps 400 --learning-rate 33.0 " in fix
    assert fix.endswith(f" --run {run}-2")
    assert (run / "loss.png").exists()
    (newest,) = list_checkpoints(run / "checkpoints")[-1:]
    assert newest.name == f"step-{diverged - 1:08d}"
    from safetensors.torch import load_file

    assert all(w.isfinite().all() for w in load_file(newest / "weights.safetensors").values())


@pytest.mark.parametrize("needed", [2**30, 10**6])
def test_a_disk_too_small_for_the_checkpoints_is_refused_before_training(
    book, tmp_path, monkeypatch, capsys, needed
):
    monkeypatch.setattr("zigpt.runs.preflight.free_bytes", lambda path: 100_000)
    code = main(["train", str(book), *SMALL, "--run", str(tmp_path / "run")])
    what, why, _ = capsys.readouterr().err.splitlines()
    assert code == 5
    assert "too full" in what
    assert "MB are free" in why
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("limit", [3000, 9000, 30_000])
def test_a_real_limit_on_file_sizes_is_a_storage_error_with_an_intact_folder(tmp_path, limit):
    resource = pytest.importorskip("resource")
    life = Life.small(tmp_path)
    expected, _ = undisturbed(life)
    path, notes = tmp_path / "run", tmp_path / "notes"

    def cramped():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        life.live(path, notes)

    assert in_a_process(cramped) in (0, 5)
    check_next_start(life, path, notes, expected)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A training run and the checkpoints that it left."""
    folder = tmp_path_factory.mktemp("damage")
    life = Life.small(folder)
    undisturbed(life)
    return life, folder / "undisturbed" / "checkpoints"


class TestDamage:
    def restored(self, life, folder):
        state = TrainState.initialise(life.model, life.config, CPU)
        notices = []
        clear_leftovers(folder.parent)
        restore_newest(folder, state, notices.append)
        return state.step, notices

    def test_if_all_are_damaged_nothing_starts_from_scratch(self, saved, tmp_path):
        life, whole = saved
        shutil.copytree(whole, tmp_path / "run" / "checkpoints")
        for path in list_checkpoints(tmp_path / "run" / "checkpoints"):
            (path / "weights.safetensors").unlink()
        for _ in range(2):
            with pytest.raises(ModelFileError, match="no checkpoint to resume from") as refusal:
                self.restored(life, tmp_path / "run" / "checkpoints")
        assert refusal.value.exit_code == 3

    def test_unrelated_folders_are_left_alone(self, saved, tmp_path):
        life, whole = saved
        folder = tmp_path / "run" / "checkpoints"
        shutil.copytree(whole, folder)
        for name in ("step-99999999999999999999", "step-1", "step- 1", "latest", "step-x", "a b"):
            (folder / name).mkdir()
        assert self.restored(life, folder) == (2, [])
        assert (folder / "latest").is_dir()


def test_a_file_that_windows_holds_briefly_is_retried(tmp_path, monkeypatch):
    refusals, replace = [0, 0, 0], os.replace

    def busy(old, new):
        if refusals:
            refusals.pop()
            raise PermissionError("held by a virus scanner")
        replace(old, new)

    monkeypatch.setattr(storage.os, "replace", busy)
    monkeypatch.setattr(storage, "_WINDOWS", True)
    monkeypatch.setattr(storage.time, "sleep", lambda seconds: None)
    storage.write_file(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
