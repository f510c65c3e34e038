"""Training runs that are killed or whose disk fails, and what must then be true of their folder.

The training is the one behind `zigpt train`, with a text and a model so small that it takes a tenth
of a second. Each runs in a forked process of its own, so that a kill is a real one.
"""

import functools
import gc
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jaxtyping
import torch

from stress.faulty_disk import FaultyDisk
from tests.texts import story
from zigpt import storage
from zigpt.data.baselines import Ladder, build_ladder
from zigpt.data.batches import Corpus
from zigpt.data.source import Source, read_texts
from zigpt.errors import StorageError
from zigpt.gpt.config import Architecture, GPTConfig, TrainConfig
from zigpt.runs import session
from zigpt.runs.checkpoint import list_checkpoints
from zigpt.runs.events import Opened, Trained
from zigpt.runs.folder import RunFolder
from zigpt.runs.preflight import is_blank
from zigpt.runs.record import RunRecord
from zigpt.runs.session import train_opened
from zigpt.runs.training_text import fingerprint
from zigpt.training import device
from zigpt.training.loop import TrainState

CPU = torch.device("cpu")
SIGKILLED = -9
PATIENCE = 60  # seconds until a process counts as hung


@dataclass(frozen=True)
class Life:
    """One training run on a text, lived through in as many processes as it takes."""

    folder: Path  # holds its text and an undisturbed run of it
    source: Source
    corpus: Corpus
    ladder: Ladder
    model: GPTConfig
    config: TrainConfig

    @classmethod
    def small(cls, folder: Path, architecture: Architecture = "classic", **settings: Any) -> "Life":
        """Dropout, Muon and AdamW, an evaluation every other step."""
        folder.mkdir(exist_ok=True)
        file = folder / "book.txt"
        file.write_text(story(2000), encoding="utf-8")
        source = read_texts([file])
        corpus = Corpus.from_text(source.text)
        size = corpus.tokenizer.vocab_size
        usual: dict[str, Any] = {
            "batch_size": 3, "optimizer": "muon", "max_steps": 2, "eval_interval": 2,
            "eval_chars": 40, "warmup_steps": 1,
        }  # fmt: skip
        return cls(
            folder,
            source,
            corpus,
            build_ladder(corpus.train, corpus.validation, size),
            GPTConfig(
                size, 8, n_layer=1, n_head=2, n_embd=8, dropout=0.2, architecture=architecture
            ),
            TrainConfig(**{**usual, **settings}),
        )

    @classmethod
    def several(cls, folder: Path) -> list["Life"]:
        """Longer ones: accumulation, bfloat16, the other architecture, early stopping."""
        folder.mkdir(exist_ok=True)
        return [
            cls.small(folder / "a", max_steps=7, batch_size=21, precision="bfloat16"),
            cls.small(folder / "b", "modern", max_steps=5, precision="float32", eval_interval=1),
            cls.small(
                folder / "c", max_steps=30, optimizer="adamw", patience=1, learning_rate=0.05
            ),
        ]

    def live(self, path: Path, notes: Path) -> None:
        """Start or resume, and finish; note every step that is reported as saved."""
        state = TrainState.initialise(self.model, self.config, CPU)
        configs = (self.model, self.config)
        if not path.exists() or is_blank(path):
            text = fingerprint(self.source)
            record = RunRecord(
                *configs, text, self.ladder, prompt="a ", preset="tiny", device="cpu"
            )
            run = RunFolder.create(path, record)
        else:
            run = RunFolder.open(path)
            run.lock()
            run.restore(state, lambda line: _note(notes, f"notice {line}"))
            _note(notes, f"resumed {state.step}")
        save = run.save

        def save_and_note(state: TrainState) -> None:
            save(state)
            _note(notes, f"saved {state.step}")

        run.save = save_and_note  # type: ignore[method-assign]
        with closing(run):
            for event in train_opened(Opened(run, self.corpus, state)):
                if isinstance(event, Trained):
                    break


def _note(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")


@functools.cache
def warm_up() -> None:
    """Train once in this process, so that its forks need not load and set up everything again."""
    with tempfile.TemporaryDirectory() as folder:
        Life.small(Path(folder, "life")).live(Path(folder, "run"), Path(folder, "notes"))


def in_a_process(action: Callable[[], object], kill_after: float | None = None) -> int:
    """Fork and act; return the exit code, negative for a signal. Output goes nowhere.

    Raises:
        TimeoutError: the process hung; it was killed.
    """
    warm_up()
    child = os.fork()
    if not child:
        code = 1
        try:
            jaxtyping.config.update("jaxtyping_disable", True)  # shapes are checked elsewhere
            gc.freeze()  # collecting what the parent holds would copy all of its memory
            torch.set_num_threads(1)
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
            session._SAMPLE_CHARS = 10
            session.save_interval = lambda seconds: 0.0
            device._CACHE_FRIENDLY = (
                500  # seven windows of eight characters: larger batches accumulate
            )
            action()
            code = 0
        except StorageError as error:
            code = error.exit_code
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    began = time.monotonic()
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() - began > PATIENCE:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise TimeoutError(f"still running after {PATIENCE} s")
        time.sleep(0.002)


def with_faults(life: Life, path: Path, notes: Path, disk: storage.Disk) -> Callable[[], None]:
    """Live on another disk."""

    def act() -> None:
        storage.disk = disk
        life.live(path, notes)

    return act


def outcome(path: Path) -> dict[str, str]:
    """What must equal that of an undisturbed training: model, last state, log and samples."""
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        del row["seconds"], row["chars_per_second"]  # the clock may differ
    found = {"metrics": json.dumps(rows), "samples": (path / "samples.txt").read_text()}
    newest = list_checkpoints(path / "checkpoints")[-1]
    for file in (path / "model.safetensors", *sorted(newest.glob("*.safetensors"))):
        found[str(file.relative_to(path))] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def steps(notes: Path, word: str) -> list[int]:
    """The numbers after a word in the notes."""
    lines = notes.read_text().splitlines() if notes.exists() else []
    return [int(line.split()[1]) for line in lines if line.startswith(f"{word} ")]


def check_next_start(life: Life, path: Path, notes: Path, expected: dict[str, str]) -> None:
    """Check that the next start after a fault needs no help, loses nothing and ends the same.

    Raises:
        AssertionError: a promise is broken.
    """
    before = steps(notes, "saved")
    resumed = len(steps(notes, "resumed"))
    code = in_a_process(with_faults(life, path, notes, FaultyDisk()))
    assert code == 0, f"the next start ended with {code}"
    if before:
        now = steps(notes, "resumed")[resumed]
        assert now >= before[-1], f"resumed at {now} though {before[-1]} was saved"
    lines = notes.read_text() if notes.exists() else ""
    assert "damaged" not in lines, lines
    assert outcome(path) == expected
    left = [file for file in path.rglob("*") if storage.is_leftover(file)]
    assert not left, f"left behind: {left}"
    assert not (path / "train.lock").exists()


def undisturbed(life: Life) -> tuple[dict[str, str], int]:
    """The outcome of an undisturbed training, and its number of disk operations."""
    path, notes = life.folder / "undisturbed", life.folder / "undisturbed.notes"
    counted = life.folder / "undisturbed.count"
    disk = FaultyDisk()

    def act() -> None:
        with_faults(life, path, notes, disk)()
        counted.write_text(str(disk.count))

    assert in_a_process(act) == 0
    return outcome(path), int(counted.read_text())


@contextmanager
def fresh(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Paths for a run and for its notes; removed afterwards, if all went well."""
    place = Path(tempfile.mkdtemp(dir=folder))
    yield place / "run", place / "notes"
    shutil.rmtree(place)
