"""A run that is moved, replaced, mixed up or changed by others, during its training or after."""

import contextlib
import fcntl
import hashlib
import io
import itertools
import json
import os
import shutil
from types import SimpleNamespace

import pytest
import torch

from stress.crashes import outcome
from tests.limits import bounded
from tests.runs import SMALL, refusal, saving_at_every_step
from tests.texts import story
from zigpt.cli import follow
from zigpt.cli.main import main
from zigpt.errors import StorageError
from zigpt.runs import lock, session
from zigpt.runs.checkpoint import list_checkpoints, save_checkpoint
from zigpt.runs.folder import RunFolder
from zigpt.runs.lock import LOCK_FILE, locked
from zigpt.runs.session import save_interval
from zigpt.training import loop
from zigpt.training.loop import TrainState

SETTINGS = [*SMALL, "--max-steps", "6", "--eval-interval", "3", "--dropout", "0.2"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def hurried():
    with saving_at_every_step():
        yield


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    path = tmp_path_factory.mktemp("preflight") / "book.txt"
    path.write_text(story(3000), encoding="utf-8")
    return path


def train(book, run, *more):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["train", str(book), *SETTINGS, *more, "--run", str(run)]) == 0
    return printed.getvalue()


def resume(run, *more):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["train", "--resume", "--run", str(run), *more]) == 0
    return printed.getvalue()


@pytest.fixture(scope="module")
def whole(book, tmp_path_factory):
    """An undisturbed training of six steps."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(book, run)
    return run


@pytest.fixture
def run(whole, tmp_path):
    """A run with two checkpoints: of step 5, from which steps are left, and of step 6."""
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def at_step(monkeypatch, step, act):
    """Act when a step has been made and nothing of it is saved yet."""

    def status(progress, *rest):
        if progress.step == step:
            act()
        return ""

    monkeypatch.setattr(follow, "_status", status)


def everything(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class TestMoved:
    """I3: a training run never writes into a folder that is not the one it started in."""

    def test_it_stops_and_can_be_resumed_where_it_is_now(self, book, whole, tmp_path, monkeypatch):
        run, moved = tmp_path / "run", tmp_path / "moved"
        with monkeypatch.context() as patched:
            at_step(patched, 4, lambda: run.rename(moved))
            code, what, why, fix = refusal("train", book, *SETTINGS, "--run", run)
        assert code == 5
        assert what == f"{run} is no longer the folder that this run started in"
        assert why == "it was moved, replaced or removed during the training"
        assert fix == "put it back, or continue where it is now, with --resume and --run"
        assert not run.exists()
        assert "resuming at step 3" in resume(moved)
        assert outcome(moved) == outcome(whole)

    def test_a_folder_that_has_taken_its_place_is_left_alone(
        self, book, whole, tmp_path, monkeypatch
    ):
        run, other = tmp_path / "run", tmp_path / "other"
        shutil.copytree(whole, other)
        (other / LOCK_FILE).write_text("pid 1 on another machine")
        before = everything(other)

        def replace():
            run.rename(tmp_path / "moved")
            other.rename(run)

        at_step(monkeypatch, 4, replace)
        assert refusal("train", book, *SETTINGS, "--run", run)[0] == 5
        assert everything(run) == before

    def test_a_folder_that_is_removed_is_not_made_again(self, book, tmp_path, monkeypatch):
        run = tmp_path / "run"
        at_step(monkeypatch, 4, lambda: shutil.rmtree(run))
        assert refusal("train", book, *SETTINGS, "--run", run)[0] == 5
        assert not run.exists()


class TestLock:
    """A12"""

    def test_it_is_never_written_through_a_link(self, book, run, tmp_path):
        precious = tmp_path / "precious"
        precious.write_text("precious")
        empty = tmp_path / "empty"
        empty.mkdir()
        (empty / LOCK_FILE).symlink_to(precious)
        assert refusal("train", book, *SETTINGS, "--run", empty)[0] == 4
        (run / LOCK_FILE).symlink_to("run.json")
        before = everything(run)
        assert refusal("train", "--resume", "--run", run)[0] == 5
        assert everything(run) == before
        assert precious.read_text() == "precious"

    def test_one_that_its_holder_has_just_deleted_is_made_again(self, tmp_path, monkeypatch):
        seize, deleted = lock._seize, []

        def late(descriptor, path):
            if not deleted:
                deleted.append(path.unlink())
            return seize(descriptor, path)

        monkeypatch.setattr(lock, "_seize", late)
        with locked(tmp_path) as held:
            held.require()
            assert deleted

    def test_it_is_deleted_while_it_is_held(self, tmp_path, monkeypatch):
        unlink, held = os.unlink, []

        def watch(path, **more):
            with open(path) as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    held.append(path)
            unlink(path, **more)

        monkeypatch.setattr(os, "unlink", watch)
        with locked(tmp_path):
            pass
        assert [path.name for path in held] == [LOCK_FILE]
        assert not (tmp_path / LOCK_FILE).exists()


def test_a_file_that_a_person_calls_tmp_is_never_deleted(run, book, tmp_path):
    kept = [run / "notes.tmp", run / "model.safetensors.tmp", run / "checkpoints" / "x.tmp"]
    for path in kept:
        path.write_text("mine")
    resume(run)
    assert [path.read_text() for path in kept] == ["mine"] * 3
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.tmp").write_text("mine")
    assert refusal("train", book, *SETTINGS, "--run", other)[0] == 4


class TestMixedUp:
    """A10, A15: right checksums in the wrong place."""

    @pytest.mark.parametrize(
        ("name", "value"), [("seed", 5), ("dropout", 0.3), ("batch_size", 8), ("beta2", 0.9)]
    )
    def test_settings_that_were_changed_in_run_json_are_refused(self, run, name, value):
        path = run / "run.json"
        info = json.loads(path.read_bytes())
        part = info["model"] if name in info["model"] else info["training"]
        was, part[name] = part[name], value
        path.write_text(json.dumps(info))
        before = everything(run)
        code, what, why, fix = refusal("train", "--resume", "--run", run)
        assert (code, what) == (3, f"{run} was trained with another {name}")
        newest = list_checkpoints(run / "checkpoints")[-1].name
        assert why == f"run.json has {value}, its checkpoint {newest} has {was}"
        assert fix == "put the old run.json back, or train again into another folder"
        assert everything(run) == before

    def test_a_checkpoint_under_the_name_of_another_step_is_set_aside(self, run):
        newest = list_checkpoints(run / "checkpoints")[-1]
        shutil.copytree(newest, newest.with_name("step-00000099"))
        printed = resume(run)
        assert "step-00000099 is damaged (it belongs to step 6): taking the one before" in printed
        assert "resuming at step 6" in printed
        assert (run / "checkpoints" / "step-00000099.bad").exists()

    @pytest.mark.parametrize("name", ["metrics.jsonl", "samples.txt"])
    @pytest.mark.parametrize("change", ["flip", "cut", "another", "remove"])
    def test_an_altered_log_is_reported_and_continued(self, run, name, change):
        log = run / name
        data = log.read_bytes()
        if change == "flip":
            log.write_bytes(data[:5] + bytes([data[5] ^ 1]) + data[6:])
        elif change == "cut":
            log.write_bytes(data[: len(data) // 2])
        elif change == "another":
            log.write_bytes(b"\n" * len(data))
        else:
            log.unlink()
        printed = resume(run, "--max-steps", "9")
        assert f"{name} was altered after writing: what can be read of it is kept" in printed
        assert "altered after writing" not in resume(run)
        steps = [row["step"] for row in RunFolder.open(run).log.rows()]
        assert steps[-1] == 9

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("step", -1),
            ("step", True),
            ("seconds", float("nan")),
            ("seconds", -1.0),
            ("best_loss", float("nan")),
            ("best_loss", "low"),
            ("evaluated_at", 2.5),
            ("logged", {"metrics.jsonl": {"size": -9, "sha256": "0"}}),
            ("model", {"n_layer": "many"}),
            ("training", None),
        ],
    )
    def test_forged_counters_with_a_right_checksum_are_damage(self, run, name, value):
        for path in list_checkpoints(run / "checkpoints"):
            counters, manifest = path / "counters.json", path / "MANIFEST.json"
            forged = json.dumps({**json.loads(counters.read_bytes()), name: value}).encode()
            counters.write_bytes(forged)
            described = json.loads(manifest.read_bytes())
            digest = hashlib.sha256(forged).hexdigest()
            described["counters.json"] = {"size": len(forged), "sha256": digest}
            manifest.write_text(json.dumps(described, indent=2) + "\n")
        code, what, _, _ = refusal("train", "--resume", "--run", run)
        assert (code, what) == (3, f"no checkpoint to resume from in {run}")

    @pytest.mark.parametrize("name", ["weights.safetensors", "counters.json", "MANIFEST.json"])
    def test_a_file_larger_than_the_memory_is_not_read(self, run, name):
        newest = list_checkpoints(run / "checkpoints")[-1]
        os.truncate(newest / name, 30 << 30)
        with bounded():
            printed = resume(run)
        assert f"{newest.name} is damaged" in printed
        assert "resuming at step 5" in printed

    def test_a_run_with_steps_but_no_checkpoint_does_not_start_again(self, run):
        shutil.rmtree(run / "checkpoints")
        before = everything(run)
        code, what, why, fix = refusal("train", "--resume", "--run", run)
        assert (code, what) == (3, f"the checkpoints of {run} are gone")
        assert why == "its log has steps, and there is nothing to resume from"
        assert fix == "put them back, or train again into another folder, as --run"
        assert everything(run) == before


class TestSaves:
    """I5: at most a minute of work is at stake, and two checkpoints are intact."""

    @pytest.mark.parametrize(
        ("seconds", "saving", "interval"),
        [(0.3, 0.0, 5), (0.3, 0.2, 20), (1.0, 0.9, 50)]
        + [(seconds, 2.0, 50) for seconds in (1.0, 7.0, 20.0, 33.0, 58.0)],
    )
    def test_saving_takes_a_hundredth_of_the_time_and_risks_no_more_than_a_minute(
        self, book, tmp_path, monkeypatch, seconds, saving, interval
    ):
        now, saved, save, real = [0.0], [], RunFolder.save, loop.train_step

        def at(folder, state):
            saved.append(now[0])
            now[0] += saving
            save(folder, state)

        def slow(*batch, **more):
            now[0] += seconds
            return real(*batch, **more)

        monkeypatch.setattr(RunFolder, "save", at)
        monkeypatch.setattr(session, "save_interval", save_interval)  # what it was
        monkeypatch.setattr(loop, "train_step", slow)
        monkeypatch.setattr(session, "time", SimpleNamespace(monotonic=lambda: now[0]))
        train(book, tmp_path / "run", "--max-steps", "130", "--eval-interval", "1000")
        apart = [later - earlier for earlier, later in itertools.pairwise(saved)]
        assert max(apart) <= 60 + saving
        assert min(apart[:-1]) > interval - 2 * seconds  # no more often than that takes
        assert min(apart[:-1]) <= interval + seconds + saving

    def test_a_training_ends_when_three_checkpoints_in_a_row_are_refused(
        self, book, tmp_path, monkeypatch
    ):
        save, tried = RunFolder.save, []

        def refuse(folder, state):
            if not state.step:
                return save(folder, state)
            tried.append(state.step)
            raise StorageError("cannot write it", "no space", "free some")

        monkeypatch.setattr(RunFolder, "save", refuse)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code, what, _, _ = refusal("train", book, *SETTINGS, "--run", tmp_path / "run")
        assert (code, what, tried) == (5, "cannot write it", [1, 2, 3])

    def test_a_damaged_one_does_not_count_among_the_two_that_are_kept(self, run, tmp_path):
        folder, state = (
            tmp_path / "checkpoints",
            TrainState.initialise(*RunFolder.open(run).record.configs, CPU),
        )

        def save(step):
            state.step = step
            save_checkpoint(folder, state, {})
            return [int(path.name[5:]) for path in list_checkpoints(folder)]

        assert [save(step) for step in (1, 2, 3)][-1] == [2, 3]
        (folder / "step-00000003" / "weights.safetensors").write_bytes(b"damaged")
        assert save(4) == [2, 3, 4]
        assert save(5) == [4, 5]
