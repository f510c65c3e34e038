"""What surrounds the program: system calls, the network, folders, memory, a home, a user's rights.

Most tests need Linux: strace changes the answers of the system, or records what it is asked.
"""

import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from stress.settings import shortened
from tests.limits import resource
from tests.runs import FOR_THE_CPU, SMALL, in_a_child, wait_for
from tests.texts import story
from zigpt import machine
from zigpt.cli.main import main

SETTINGS = [*SMALL, "--max-steps", "2"]
NOBODY = 65534
ALLOW_TRACING, ANYBODY = 0x59616D61, -1  # of prctl: by a process that is no ancestor


def works(*command):
    """Whether a tool is here and may do this."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


needs_strace = pytest.mark.skipif(
    not works("strace", "-qq", "-o", os.devnull, "true"),
    reason="strace is absent, or may not trace",
)
needs_mounts = pytest.mark.skipif(
    not works("unshare", "-rm", "true"), reason="this system does not let a user mount"
)
needs_networks = pytest.mark.skipif(
    not works("unshare", "-rn", "true"), reason="this system lets nobody leave the network"
)


@dataclass
class Place:
    """A folder with a text, and all the folders that a process may find in its environment."""

    folder: Path

    def __post_init__(self):
        for name in ("home", "cache", "temporary"):
            (self.folder / name).mkdir()
        (self.folder / "book.txt").write_text(story(3000), encoding="utf-8")

    def environment(self, **changes):
        """This process's, without what would keep libraries from their habits."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("XDG_", "ORT_", "MPL", "PYTHONDONT"))
        }
        given = {
            "HOME": self.folder / "home",
            "XDG_CACHE_HOME": self.folder / "cache",
            "TMPDIR": self.folder / "temporary",
            "PYTHONPYCACHEPREFIX": self.folder / "bytecode",
            "OMP_NUM_THREADS": "1",
            **changes,
        }
        known = {name: str(value) for name, value in given.items() if value is not None}
        return {name: value for name, value in kept.items() if name not in given} | known

    def run(self, *words, before=(), **changes):
        """Run a command of zigpt to its end, perhaps by way of another program."""
        return self.start([*before, sys.executable, "-m", "zigpt", *map(str, words)], **changes)

    def start(self, command, **changes):
        """Run any program here to its end."""
        return subprocess.run(
            command, cwd=self.folder, env=self.environment(**changes), check=False, timeout=120,
            capture_output=True, text=True, encoding="utf-8",
        )  # fmt: skip

    def left(self, name):
        return [path.relative_to(self.folder) for path in (self.folder / name).rglob("*")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One for all tests: libraries are compiled to bytecode once."""
    return Place(tmp_path_factory.mktemp("place"))


def three_lines(done, code):
    """The lines of a refusal with this exit code."""
    assert done.returncode == code, done.stderr
    what, why, fix = done.stderr.splitlines()
    assert [what[:7], why[:5], fix[:5]] == ["error: ", "why: ", "fix: "]
    return what[7:], why[5:], fix[5:]


def train_while(tmp_path, *injected):
    """Train in a child whose system calls are answered as `injected`.

    Returns its exit code, its output, and what it says of errors.
    """
    text, output, errors = (tmp_path / name for name in ("book.txt", "output", "errors"))
    text.write_text(story(3000), encoding="utf-8")
    errors.touch()
    calls = ",".join(each.partition(":")[0] for each in injected)
    options = ["-f", "-qq", "-o", str(tmp_path / "calls"), "-e", f"trace={calls}"]
    options += [word for each in injected for word in ("-e", f"inject={each}")]

    def is_traced():
        return "TracerPid:\t0\n" not in Path("/proc/self/status").read_text()

    def live():
        sys.stdout = output.open("w")
        ctypes.CDLL(None).prctl(ALLOW_TRACING, ANYBODY, 0, 0, 0)
        with subprocess.Popen(["strace", *options, "-p", str(os.getpid())]), shortened():
            wait_for(is_traced)
            code = main(["train", str(text), *SETTINGS, "--run", str(tmp_path / "run")])
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)  # strace ends after us

    code, _ = in_a_child(live, errors)
    return code, output.read_text(), errors.read_text()


@needs_strace
class TestSystemCalls:
    """A20"""

    @pytest.mark.parametrize(
        ("lock", "sync"),
        [("ENOLCK", "EINVAL"), ("ENOSYS", "EOPNOTSUPP"), ("EOPNOTSUPP", "ENOSYS")],
    )
    def test_a_file_system_without_locks_and_syncs_holds_a_run_and_is_named(
        self, tmp_path, lock, sync
    ):
        code, output, errors = train_while(tmp_path, f"flock:error={lock}", f"fsync:error={sync}")
        assert (code, errors) == (0, "")
        assert output.count("this file system has no locks: start no other training run in") == 1
        assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["run"]
        assert not list(tmp_path.rglob("*.zigpt-tmp"))
        assert not (tmp_path / "run" / "train.lock").exists()

    def test_a_lock_that_fails_is_refused_and_leaves_no_folder(self, tmp_path):
        code, _, errors = train_while(tmp_path, "flock:error=EIO")
        what, why, _ = errors.splitlines()
        assert (code, why) == (5, "why: Input/output error")
        assert what == f"error: cannot write {tmp_path}/run/train.lock"
        assert not (tmp_path / "run").exists()

    def test_a_rename_that_is_busy_is_tried_again(self, tmp_path):
        """A network share may hold a file for a moment, whatever the system."""
        code, output, errors = train_while(
            tmp_path, "?rename,?renameat,?renameat2:error=EBUSY:when=1..2"
        )
        assert (code, errors) == (0, "")
        assert "NOT saved" not in output
        assert (tmp_path / "calls").read_text().count("EBUSY") == 2
        assert not list(tmp_path.rglob("*.zigpt-tmp"))


# Every call that can change a file or reach another process; `?`: not every processor has it.
OPENING = ("open", "openat", "openat2", "creat")
CHANGING = (
    "mkdir", "mkdirat", "rmdir", "rename", "renameat", "renameat2", "unlink", "unlinkat", "link",
    "linkat", "symlink", "symlinkat", "truncate", "mknod", "mknodat", "chmod", "fchmodat", "chown",
    "fchownat", "utimensat", "setxattr",
)  # fmt: skip
SENDING = ("connect", "sendto", "sendmsg", "sendmmsg", "bind")
WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|\bcreat\(")
LOOPBACK = re.compile(r'"127\.0\.0\.1"|"::1"')

# Where a command may write, from the folder that it is started in, and why.
ALLOWED = {
    r"(run|measured)(/.*)?": "the run folder",
    r"cache/zigpt(/.*)?": "zigpt's own cache: the page's token, matplotlib's list of fonts",
    r"temporary/.*": "temporary files; nothing may be left there",
    r"bytecode(/.*)?": "Python's own, here because this test asks for it",
    r"/dev/(null|tty)": "no file and no disk",
    r"/dev/shm/.*": "shared memory and semaphores of the C library: gone with the last process",
    r"/(var/)?run/nscd/socket": "the C library asks a local service for names of users and hosts",
}  # fmt: skip


# Loading torch takes longer than any of these commands.
ONE_AFTER_THE_OTHER = """
import json, sys
from zigpt.cli.main import main
for words in json.loads(sys.argv[1]):
    assert main(words) == 0, words
"""


def strace(report):
    """What comes before a command that is to be watched."""
    calls = ",".join(f"?{name}" for name in (*OPENING, *CHANGING, *SENDING))
    options = ["-f", "--seccomp-bpf", "-qq", "-y", "-s", "4096", "-e", "signal=none"]
    return ["strace", *options, "-e", f"trace={calls}", "-o", str(report)]


def places_written(report, folder):
    """Every path that calls of a report would change, relative to `folder` if it is in there."""
    for line in report.read_text(errors="replace").splitlines():
        name = re.match(r"\d+ +(\w+)\(", line)
        if not name or (name[1] in OPENING and not WRITES.search(line)):
            continue
        base = re.search(r"\(\d+<([^>]*)>", line)
        base = folder / base[1] if base and name[1] not in SENDING else folder
        paths = re.findall(r'sun_path=@?"([^"]*)"', line)
        if name[1] not in SENDING:
            paths = re.findall(r'"((?:[^"\\]|\\.)*)"', line)
        for path in paths:
            whole = Path(os.path.normpath(base / path))
            yield str(whole.relative_to(folder) if whole.is_relative_to(folder) else whole)


def require_quiet(report, place):
    """Check that what a command did stays within the table, and on this machine."""
    elsewhere = {
        path
        for path in places_written(report, place.folder)
        if not any(re.fullmatch(pattern, path) for pattern in ALLOWED)
    }
    assert not elsewhere, elsewhere
    addresses = [
        line for line in report.read_text(errors="replace").splitlines() if "_addr" in line
    ]
    assert not [line for line in addresses if not LOOPBACK.search(line)]
    assert place.left("temporary") == []
    assert place.left("home") == []


@pytest.fixture(scope="module")
def trained(place):
    """The same place with a run, and the report of its training."""
    report = place.folder / "calls of train"
    done = place.run("train", "book.txt", *SETTINGS, "--run", "run", before=strace(report))
    assert done.returncode == 0, done.stderr
    return place, report


@needs_strace
class TestWhereItWrites:
    """C13"""

    def test_training_writes_into_its_run_and_the_cache_and_connects_nowhere(self, trained):
        place, report = trained
        require_quiet(report, place)
        written = set(places_written(report, place.folder))
        assert {"run/model.safetensors", "run/loss.png"} <= written  # it does see what is written

    def test_other_commands_write_into_no_folder_and_connect_nowhere(self, trained):
        place, _ = trained
        commands = [
            ["sample", "run", "--chars", "5"],
            ["sample", "run", "--chars", "5", "--device", "cpu"],
            ["eval", "run"],
            ["verify", "run"],
            ["plan", "book.txt", *SETTINGS],
            *(["explain", topic, "run"] for topic in ("model", "window", "mask", "batch")),
        ]
        report, run = place.folder / "calls of others", place.folder / "run"
        before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
        command = [*strace(report), sys.executable, "-c", ONE_AFTER_THE_OTHER]
        done = place.start([*command, json.dumps(commands)])
        assert done.returncode == 0, done.stderr
        require_quiet(report, place)
        assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before

    def test_measuring_writes_into_a_folder_of_its_own_and_connects_nowhere(self, trained):
        place, _ = trained
        report = place.folder / "calls of bench"
        words = ["bench", "text", "start", "--rounds", "1", "--run", "measured"]
        done = place.start([*strace(report), sys.executable, "-m", "zigpt", *words])
        assert done.returncode == 0, done.stderr
        require_quiet(report, place)
        written = set(places_written(report, place.folder))
        assert "measured/bench.json" in written

    def test_the_page_answers_this_machine_and_connects_nowhere(self, trained):
        place, _ = trained
        report = place.folder / "calls of web"
        command = [sys.executable, "-m", "zigpt", "web", "run", "--no-browser", "--port", "0"]
        with subprocess.Popen(
            [*strace(report), *command], cwd=place.folder, env=place.environment(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as tracer:  # fmt: skip
            _, address = tracer.stdout.readline(), tracer.stdout.readline().strip()
            children = Path(f"/proc/{tracer.pid}/task/{tracer.pid}/children")
            with (
                interrupted(int(children.read_text().split()[0])),
                urllib.request.urlopen(address.partition("#")[0], timeout=30) as page,
            ):
                assert b"<html" in page.read()
        assert tracer.returncode in (0, 130)  # the server may have ended in order before
        require_quiet(report, place)
        assert "127.0.0.1" in report.read_text()


@contextlib.contextmanager
def interrupted(pid):
    """Interrupt a process in the end, as Ctrl-C does."""
    try:
        yield
    finally:
        os.kill(pid, signal.SIGINT)


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Groups of processes that are made of plain files."""
    own = tmp_path / "own"
    monkeypatch.setattr(machine, "_GROUPS", tmp_path / "mounted")
    monkeypatch.setattr(machine, "_OWN_GROUPS", own)

    def make(lines, files):
        own.write_text("\n".join(lines))
        for name, content in files.items():
            path = tmp_path / "mounted" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")

    return make


class TestGroups:
    """B10"""

    @pytest.mark.parametrize(
        ("own", "files"),
        [
            ("0::/a/b", {"a/memory.max": 3 << 20, "a/b/memory.max": "max"}),
            ("0::/a/b", {"memory.max": 3 << 20, "a/b/memory.max": 4 << 20}),
            ("4:memory:/a", {"memory/a/memory.limit_in_bytes": 3 << 20}),
            ("4:memory:/seen/from/the/host", {"memory/memory.limit_in_bytes": 3 << 20}),
            ("5:cpu,memory:/a", {"memory/a/memory.limit_in_bytes": 3 << 20}),
        ],
        ids=["above", "lowest", "version 1", "in a container", "joint controllers"],
    )
    def test_the_lowest_limit_of_memory_counts(self, groups, own, files):
        groups([own], files)
        assert machine.usable_memory() == 3 << 20

    @pytest.mark.parametrize(
        ("quota", "processors"), [("150000 100000", 2), ("20000 100000", 1), ("max 100000", None)]
    )
    @pytest.mark.parametrize("version", [1, 2])
    def test_a_share_of_processors_is_that_many_threads_rounded_up(
        self, groups, quota, processors, version
    ):
        if version == 2:
            groups(["0::/a"], {"a/cpu.max": quota})
        else:
            given, period = quota.replace("max", "-1").split()
            files = {"cpu/a/cpu.cfs_quota_us": given, "cpu/a/cpu.cfs_period_us": period}
            groups(["1:cpu:/a"], files)
        assert machine.granted_processors() == processors

    def test_what_cannot_be_read_limits_nothing(self, groups, tmp_path):
        groups(["0::/a", ""], {"b/memory.max": 1})
        assert machine.granted_processors() is None
        assert machine.usable_memory() > 1
        (tmp_path / "own").unlink()
        assert machine.usable_memory() > 1

    MOUNT = """
    mount -t tmpfs none /sys/fs/cgroup
    limits=$1; shift
    cut -d: -f3 /proc/self/cgroup | while read -r group; do
      for limit in $limits; do
        file=/sys/fs/cgroup/${limit%%=*}; folder=${file%/*}$group
        mkdir -p "$folder"; echo "${limit#*=}" | tr , ' ' > "$folder/${file##*/}"
      done
    done
    exec "$@"
    """

    @needs_mounts
    @pytest.mark.parametrize("limit", ["memory.max", "memory/memory.limit_in_bytes"])
    def test_a_container_too_small_is_told_so_before_anything_is_loaded(self, place, limit):
        mount = ["unshare", "-rm", "sh", "-c", self.MOUNT, "sh", f"{limit}={200 << 20}"]
        done = place.run("train", "book.txt", *SETTINGS, "--run", "small", before=mount)
        what, why, fix = three_lines(done, 7)
        assert what == "zigpt cannot be loaded into the memory that it is granted"
        assert why == "its libraries need 300 MB, and this process may have 200 MB"
        assert "of the container" in fix
        assert not (place.folder / "small").exists()

    @needs_mounts
    def test_a_container_with_half_a_processor_has_one_thread(self, place):
        limits = "cpu.max=50000,100000"
        mount = ["unshare", "-rm", "sh", "-c", self.MOUNT, "sh", limits]
        words = ["plan", "book.txt", *SETTINGS]
        done = place.run(*words, before=mount, OMP_NUM_THREADS=None)
        assert done.returncode == 0, done.stderr
        assert re.search("^device +CPU, 1 thread, ", done.stdout, re.MULTILINE)


class TestAddresses:
    """B10: `ulimit -v`"""

    @staticmethod
    def limited(place, megabytes, *words):
        limit = megabytes << 20
        script = f'ulimit -v {limit >> 10}; exec "$@"'
        return place.run(*words, before=["sh", "-c", script, "sh"])

    @pytest.mark.parametrize(
        ("command", "megabytes"),
        [("train", megabytes) for megabytes in (60, 200, 500, 600, 790)]
        + [("plan", 400), ("eval", 480), ("verify", 600)],
    )
    def test_too_few_for_the_libraries_are_refused_before_those_are_loaded(
        self, place, command, megabytes
    ):
        """Some of them would end the process, with a line of their own or none."""
        run = [*SETTINGS, "--run", "few"] if command == "train" else []
        done = self.limited(place, megabytes, command, "book.txt", *run)
        what, why, fix = three_lines(done, 7)
        assert what == "zigpt cannot be loaded into the memory that it is granted"
        assert why == f"its libraries need 800 MB, and this process may have {megabytes} MB"
        assert "ulimit -v" in fix
        assert "--batch-size" not in fix
        assert not (place.folder / "few").exists()

    @FOR_THE_CPU
    def test_too_few_for_the_training_are_refused_with_the_gigabytes(self, place):
        done = self.limited(place, 900, "plan", "book.txt", *SETTINGS, "--n-embd", "2048")
        what, why, fix = three_lines(done, 7)
        assert re.search(r"parameters do not fit into 0\.\d+ GB of memory", what)
        assert "this run needs about" in why
        assert "--n-embd" in fix

    @FOR_THE_CPU
    def test_as_many_as_are_asked_for_are_enough(self, place):
        done = self.limited(place, 1000, "train", "book.txt", *SETTINGS, "--run", "enough")
        assert done.returncode == 0, done.stderr
        assert (place.folder / "enough" / "loss.png").exists()
        assert self.limited(place, 100, "sample", "enough").returncode == 7
        done = self.limited(place, 240, "sample", "enough", "--chars", "5")
        assert done.returncode == 0, done.stderr

    def test_each_thread_takes_some(self, monkeypatch):
        monkeypatch.delitem(sys.modules, "torch")
        addresses = machine.TORCH.addresses + (100 << 20)
        monkeypatch.setattr(resource, "getrlimit", lambda kind: (addresses, addresses))
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        machine.require_library(machine.TORCH)
        monkeypatch.setenv("OMP_NUM_THREADS", "4")
        with pytest.raises(machine.OutOfMemoryError):
            machine.require_library(machine.TORCH)


class TestAHome:
    """A21"""

    def test_one_that_cannot_be_written_to_is_done_without(self, place):
        words = ["train", "book.txt", *SETTINGS, "--run", "homeless"]
        done = place.run(*words, HOME="/proc/nohome", XDG_CACHE_HOME=None)
        assert (done.returncode, done.stderr) == (0, "")
        assert (place.folder / "homeless" / "loss.png").exists()
        assert place.left("temporary") == []

    def test_a_user_without_rights_and_home_trains(self, tmp_path, monkeypatch):
        folder = Path(tempfile.mkdtemp())  # pytest's own is closed to other users
        folder.chmod(0o777)
        errors = tmp_path / "errors"
        errors.touch()
        for name in ("HOME", "XDG_CACHE_HOME", "USER", "LOGNAME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.chdir(folder)
        (folder / "book.txt").write_text(story(3000), encoding="utf-8")

        def live():
            with shortened():
                # Loads what is needed: that user may have no right to read this installation.
                main(["train", "book.txt", *SETTINGS, "--run", str(tmp_path / "first")])
                if os.getuid() == 0:
                    os.setgroups([])
                    os.setgid(NOBODY)
                    os.setuid(NOBODY)
                return main(["train", "book.txt", *SETTINGS])

        try:
            code, _ = in_a_child(live, errors)
            assert (code, errors.read_text()) == (0, "")
            assert [path.name for path in (folder / "runs").iterdir()] == ["book-tiny"]
        finally:
            shutil.rmtree(folder)


@needs_networks
def test_without_a_network_a_default_text_is_found_and_that_is_told(place):
    """C14"""
    words = ["train", *SETTINGS, "--run", "alone"]
    done = place.run(*words, before=["unshare", "-rn"])
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(
        r"^note +no text given and Tiny Shakespeare could not be downloaded \(ConnectionError\): "
        "using the Python language reference$",
        done.stdout,
        re.MULTILINE,
    )
