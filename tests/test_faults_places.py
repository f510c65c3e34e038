"""Where a run is stored: full, read-only and odd places, changed texts, concurrent readers."""

import contextlib
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stress.crashes import Life, in_a_process, outcome, undisturbed, with_faults
from stress.faulty_disk import FaultyDisk
from stress.settings import shortened
from tests.runs import SMALL, in_a_child, refusal
from tests.texts import story
from zigpt import storage
from zigpt.cli.main import main
from zigpt.errors import ModelFileError, StorageError
from zigpt.formats.safetensors import read_lazily
from zigpt.formats.saved_model import load_model
from zigpt.runs.checkpoint import list_checkpoints, read_checkpoint, restore_newest
from zigpt.storage import clear_leftovers, write_file
from zigpt.training.loop import TrainState
from zigpt.verify.run_files import check_run_files

CPU = torch.device("cpu")
SETTINGS = [*SMALL, "--max-steps", "4", "--eval-interval", "2"]
NOBODY = 65534


@pytest.fixture(scope="module", autouse=True)
def hurried():
    with shortened():
        yield


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text(story(3000), encoding="utf-8")
    return path


FULL_DISK = """
import sys
from pathlib import Path
from zigpt.runs import session
from zigpt.cli.main import main
from zigpt.runs.folder import RunFolder

disk, book, *settings = sys.argv[1:]
run, filler = Path(disk, "run"), Path(disk, "filler")
words = ["train", book, *settings, "--run", str(run)]
session.save_interval = lambda seconds: 0.0

def fill(left):
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - left))

fill(60_000)
assert main(words) == 5 and not run.exists()
filler.unlink()

save = RunFolder.save
def save_and_fill(folder, state):
    save(folder, state)
    if state.step == 2:
        fill(0)
RunFolder.save = save_and_fill
assert main(words) == 5
RunFolder.save = save
filler.unlink()
assert main(["train", "--resume", "--run", str(run)]) == 0
print("clean" if not list(run.rglob("*.zigpt-tmp")) else "leftovers")
"""


class TestAFullDisk:
    """A5"""

    def test_a_real_one_is_refused_survived_and_resumed_from(self, book, tmp_path):
        """A file system of a megabyte, filled while the training saves at every step."""
        if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"]).returncode:
            pytest.skip("this system does not let a user mount a file system")
        disk = tmp_path / "disk"
        disk.mkdir()
        script = 'mount -t tmpfs -o size=1m none "$1" && shift && exec "$@"'
        command = ["unshare", "-rm", "sh", "-c", script, "sh", disk, sys.executable, "-c"]
        done = subprocess.run(
            [*command, FULL_DISK, disk, book, *SETTINGS, "--max-steps", "30"],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        before, during = done.stderr.splitlines()[:3], done.stderr.splitlines()[3:]
        assert done.stdout.endswith("clean\n"), done.stderr
        assert before[0] == f"error: the disk is too full for {disk}/run"
        assert re.search(r"needs [\d.,]+ MB for its models, [\d.,]+ MB are free", before[1])
        assert "--run" in before[2]
        assert re.fullmatch(rf"error: cannot write {disk}/run/\S+", during[0])
        assert re.search(r"No space left on device: [\d.]+ MB needed, 0\.0 MB free", during[1])
        assert "what was saved before is intact" in during[2]
        assert len(during) == 3
        assert done.stdout.count("No space left on device: ") >= 2
        assert "still training, last saved step 2" in done.stdout
        assert done.stdout.count("step     30  train") == 1  # only with room again

    def test_a_full_disk_under_the_output_does_not_stop_a_training(self, book, tmp_path):
        """A9"""
        ends = []
        for place in (os.devnull, "/dev/full"):
            run = tmp_path / place[5:]

            def live(place=place, run=run):
                os.dup2(os.open(place, os.O_WRONLY), 1)
                sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
                code = main(["train", str(book), *SETTINGS, "--run", str(run)])
                sys.stdout.flush()
                return code

            assert in_a_child(live, tmp_path / "stderr")[0] == 0
            assert (tmp_path / "stderr").read_text() == ""
            ends.append(outcome(run))
        assert ends[0] == ends[1]


class TestPlaces:
    """A6"""

    @pytest.mark.parametrize(
        ("place", "code", "why"),
        [
            ("book.txt", 4, "zigpt never overwrites what is there"),
            ("book.txt/run", 5, "Not a directory"),
            ("x" * 300, 5, "File name too long"),
            ("/".join(["x" * 200] * 25), 5, "File name too long"),
        ],
    )
    def test_an_impossible_one_is_refused_by_name(self, book, tmp_path, place, code, why):
        got, what, reason, fix = refusal("train", book, *SETTINGS, "--run", tmp_path / place)
        assert (got, reason) == (code, why)
        assert f"{tmp_path}/{place[:9]}" in what
        assert fix
        assert [path.name for path in tmp_path.iterdir()] == ["book.txt"]

    def test_missing_parents_are_made_and_any_name_is_accepted(self, book, tmp_path):
        for place in ("no/such/folder", "字 é😀\nx", "-rf", "y" * 200):
            run = tmp_path / place
            assert main(["train", str(book), *SETTINGS, f"--run={run}"]) == 0
            assert main(["train", "--resume", f"--run={run}"]) == 0
            assert read_lazily(run).about["step"]

    @pytest.mark.parametrize("exists", [False, True])
    def test_one_that_may_not_be_written_to_is_refused_by_name(self, book, tmp_path, exists):
        with tempfile.TemporaryDirectory() as name:  # pytest's own is closed to other users
            place = Path(name)
            text = shutil.copy(book, place)
            words = ["train", text, *SETTINGS, "--run", f"{place}/run"]
            if exists:
                assert main(words) == 0
                words = ["train", "--resume", "--run", f"{place}/run"]
            before = sorted(place.rglob("*"))
            for path in (place, *before):
                path.chmod(0o555 if path.is_dir() else 0o444)

            def live():
                if os.getuid() == 0:  # root may write anywhere
                    os.setgid(NOBODY)
                    os.setuid(NOBODY)
                return main(words)

            (tmp_path / "stderr").touch()
            code, _ = in_a_child(live, tmp_path / "stderr")
            what, why, fix = (tmp_path / "stderr").read_text().splitlines()
            assert code == 5
            assert what.startswith(f"error: cannot write {place}/run")
            assert why == "why: Permission denied"
            assert "choose a folder you may write to; what was saved" in fix
            assert sorted(place.rglob("*")) == before
            for path in (place, *before):
                path.chmod(0o755)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    life = Life.small(folder)
    undisturbed(life)
    return life, folder / "undisturbed" / "checkpoints"


class TestOddContents:
    """A11"""

    names = st.one_of(
        st.from_regex(r"step-\d{1,22}(\.zigpt-tmp|\.bad\d?)?", fullmatch=True),
        st.from_regex(r"step-0000000[0-9]", fullmatch=True),
        st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1),
    ).filter(lambda name: len(name.encode()) < 200 and name not in (".", ".."))

    @settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.dictionaries(names, st.sampled_from(["file", "folder", "junk"]), max_size=6))
    def test_whatever_else_is_there_the_newest_intact_one_is_loaded(self, saved, tmp_path, odd):
        life, whole = saved
        folder = tmp_path / "run" / "checkpoints"
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(whole, folder)
        odd = {name: kind for name, kind in odd.items() if not (folder / name).exists()}
        for name, kind in odd.items():
            if kind == "file":
                (folder / name).touch()
            else:
                (folder / name).mkdir()
                if kind == "junk":
                    (folder / name / "MANIFEST.json").write_text("[]")
        notices, state = [], TrainState.initialise(life.model, life.config, CPU)
        clear_leftovers(folder.parent)
        restore_newest(folder, state, notices.append)
        assert state.step == 2
        newer = {
            name for name in odd if re.fullmatch(r"step-\d{8,19}", name) and int(name[5:]) >= 2
        }
        assert {line.split(" is damaged")[0] for line in notices} == newer
        left = {path.name for path in folder.iterdir()}
        assert not newer & left
        assert {name for name in odd if not name.endswith(".zigpt-tmp")} - newer <= left
        assert "step-00000002" in left


class TestReaders:
    """A13"""

    def test_while_a_training_saves_and_prunes_everything_read_is_whole(self, tmp_path):
        life = Life.small(tmp_path, max_steps=120, eval_interval=1)
        path, notes = tmp_path / "run", tmp_path / "notes"
        child = os.fork()
        if not child:
            os._exit(in_a_process(with_faults(life, path, notes, FaultyDisk())) and 1)
        reads, steps, models = 0, set(), {}
        while not os.waitpid(child, os.WNOHANG)[0]:
            if not (path / "checkpoints").exists() or not list_checkpoints(path / "checkpoints"):
                continue
            newest = list_checkpoints(path / "checkpoints")[-1]
            steps.add(int(newest.name[5:]))
            with contextlib.suppress(ModelFileError):
                read_checkpoint(newest)
                reads += 1
            model = load_model(path, CPU)
            weights = torch.cat([w.flatten() for w in model.model.state_dict().values()])
            assert torch.equal(models.setdefault(model.about["step"], weights), weights)
            assert check_run_files(path, CPU).check.result == "passed"
        assert outcome(path)
        assert min(reads, len(steps)) > 2
        assert not list(path.rglob("*.bad*"))

    def test_weights_are_all_of_one_step_whatever_replaces_their_file(self, saved):
        run = saved[1].parent
        data, before = (run / "model.safetensors").read_bytes(), read_lazily(run)
        names = list(before.weights)
        first = before.weights[names[0]].copy()
        other = bytearray(data)
        other[-40:] = bytes(40)
        write_file(run / "model.safetensors", bytes(other))
        after = read_lazily(run).weights[names[-1]]
        kept = before.weights[names[-1]]
        write_file(run / "model.safetensors", data)
        assert (kept != after).any()
        assert (read_lazily(run).weights[names[-1]] == kept).all()
        assert (before.weights[names[0]] == first).all()

    def test_a_checkpoint_never_exists_in_part(self, saved, tmp_path, monkeypatch):
        folder = tmp_path / "checkpoints"
        shutil.copytree(saved[1], folder)
        oldest, *others = list_checkpoints(folder)

        class Watched(storage.Disk):
            def remove(self, path):
                assert list_checkpoints(folder) == others
                super().remove(path)

        monkeypatch.setattr(storage, "disk", Watched())
        storage.remove_folder(oldest)
        assert sorted(folder.iterdir()) == others

    def test_a_checkpoint_pruned_while_it_is_read_is_no_fault(self, saved, tmp_path, monkeypatch):
        shutil.copytree(saved[1].parent, tmp_path / "run")
        oldest = list_checkpoints(tmp_path / "run" / "checkpoints")[0]

        def read(path):
            if path == oldest:
                shutil.rmtree(path)
            return read_checkpoint(path)

        monkeypatch.setattr("zigpt.verify.run_files.read_checkpoint", read)
        check = check_run_files(tmp_path / "run", CPU).check
        assert (check.result, check.numbers["checkpoints"]) == ("passed", 1)


@pytest.mark.parametrize("change", ["a byte", "the same to the clock", "a line more"])
def test_a_run_is_not_resumed_on_a_changed_text(book, tmp_path, change):
    """A14"""
    run, before = tmp_path / "run", os.stat(book)
    assert main(["train", str(book), *SETTINGS, "--run", str(run)]) == 0
    info, data = (run / "run.json").read_bytes(), bytearray(book.read_bytes())
    if change == "a line more":
        data += b"a stone\n"
    else:
        data[1500] = ord("a") + (data[1500] == ord("a"))
    book.write_bytes(data)
    if change == "the same to the clock":
        os.utime(book, ns=(before.st_atime_ns, before.st_mtime_ns))
    for given_text in ([], [book]):
        code, what, why, fix = refusal("train", "--resume", "--run", run, *given_text)
        assert code == 3
        assert what == f"{book} is not the text that {run} was trained on"
        assert "SHA-256 differs" in why
        assert "another folder" in fix
    assert (run / "run.json").read_bytes() == info


def test_a_file_that_windows_never_releases_is_a_storage_error(tmp_path, monkeypatch):
    """A17"""
    write_file(tmp_path / "file", b"old")
    tries, pauses = itertools.count(), []

    def busy(old, new):
        next(tries)
        raise PermissionError(13, "held by a virus scanner")

    monkeypatch.setattr(storage.os, "replace", busy)
    monkeypatch.setattr(storage, "_WINDOWS", True)
    monkeypatch.setattr(storage.time, "sleep", pauses.append)
    with pytest.raises(StorageError, match="cannot write") as refused:
        write_file(tmp_path / "file", b"new")
    assert refused.value.why == "held by a virus scanner"
    assert (next(tries), len(pauses)) == (6, 5)
    assert sum(pauses) < 2
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("file", b"old")]
