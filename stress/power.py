"""What a power loss may leave on a disk: only what was synced is sure to survive.

The disk operations of a training run are recorded. The states that a power loss before any of them
may leave are then built from the record, as in the tests of LevelDB: unsynced bytes may be lost or
torn and unsynced names missing, independently and in any order.
"""

import hashlib
import itertools
import pickle
import random
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stress.crashes import (
    Life,
    check_next_start,
    fresh,
    in_a_process,
    undisturbed,
    with_faults,
)
from stress.faulty_disk import FaultyDisk
from stress.report import Report, each_case

Chance = Mapping[str, float]  # how likely unsynced "names" and "bytes" survive
Operation = tuple[int, str, tuple[Path | int | bytes, ...]]  # lines noted before, name, arguments

CHANCES: tuple[Chance, ...] = (
    {"names": 0, "bytes": 0},
    {"names": 1, "bytes": 0},
    {"names": 0, "bytes": 1},
    {"names": 0.5, "bytes": 0.5},
    {"names": 0.9, "bytes": 0.5},
)


class Recorder(FaultyDisk):
    """Records every operation that succeeds, with the number of lines noted by then."""

    def __init__(self, notes: Path, fail_at: int) -> None:
        super().__init__(fail_at, "EIO")
        self.trace: list[Operation] = []
        self._notes = notes

    def write(self, path: Path, data: bytes) -> None:
        super().write(path, data)
        self._note("write", path, data)

    def append(self, path: Path, start: int, data: bytes) -> None:
        super().append(path, start, data)
        self._note("append", path, start, data)

    def sync(self, path: Path) -> None:
        super().sync(path)
        self._note("sync", path)

    def rename(self, old: Path, new: Path) -> None:
        super().rename(old, new)
        self._note("rename", old, new)

    def remove(self, path: Path) -> None:
        super().remove(path)
        self._note("remove", path)

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        self._note("make_folder", path)

    def _note(self, what: str, *about: Path | int | bytes) -> None:
        lines = self._notes.read_text().count("\n") if self._notes.exists() else 0
        self.trace.append((lines, what, about))


@dataclass
class File:
    """Its bytes, and those that are sure to survive."""

    now: bytes = b""
    safe: bytes = b""

    def left(self, chance: Chance, dice: random.Random) -> bytes:
        if self.now == self.safe or dice.random() >= chance["bytes"]:
            return self.safe
        same = itertools.takewhile(
            lambda pair: pair[0] == pair[1], zip(self.safe, self.now, strict=False)
        )
        torn = dice.choice((dice.randint(len(list(same)), len(self.now)), len(self.now)))
        return self.now[:torn] + dice.choice((b"", bytes(len(self.now) - torn)))


@dataclass
class Folder:
    """Its names, those that are sure to survive, and the changes since the last sync."""

    now: dict[str, "File | Folder"] = field(default_factory=dict)
    safe: dict[str, "File | Folder"] = field(default_factory=dict)
    unsure: list[dict[str, "File | Folder | None"]] = field(default_factory=list)

    def change(self, names: dict[str, "File | Folder | None"]) -> None:
        _apply(self.now, names)
        self.unsure.append(names)

    def left(self, chance: Chance, dice: random.Random) -> dict[str, "File | Folder"]:
        names = dict(self.safe)
        for change in self.unsure:
            if dice.random() < chance["names"]:
                _apply(names, change)
        return names


def _apply(names: dict[str, File | Folder], change: dict[str, File | Folder | None]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


class Model:
    """A disk that knows which of its contents are safe. `root` exists from the start."""

    def __init__(self, root: Path) -> None:
        self._root, self._top = root, Folder()
        for path in sorted(root.rglob("*")):
            if path.is_dir():
                self.make_folder(path)
            else:
                self.write(path, path.read_bytes())
                self.sync(path)
            self.sync(path.parent)

    def write(self, path: Path, data: bytes) -> None:
        self._file(path).now = data

    def append(self, path: Path, start: int, data: bytes) -> None:
        file = self._file(path)
        file.now = file.now[:start] + data

    def sync(self, path: Path) -> None:
        node = self._find(path)
        if isinstance(node, File):
            node.safe = node.now
        elif node:
            node.safe, node.unsure = dict(node.now), []

    def rename(self, old: Path, new: Path) -> None:
        assert old.parent == new.parent, "a rename stays within one folder"
        folder = self._folder(old.parent)
        folder.change({old.name: None, new.name: folder.now[old.name]})

    def remove(self, path: Path) -> None:
        self._folder(path.parent).change({path.name: None})

    def make_folder(self, path: Path) -> None:
        parent = self._folder(path.parent)
        if path.name not in parent.now:
            parent.change({path.name: Folder()})

    def left(self, chance: Chance, dice: random.Random) -> dict[str, bytes | None]:
        """What is left afterwards: every path, with its bytes, or None for a folder."""
        return dict(_walk(self._top, "", chance, dice))

    def _find(self, path: Path) -> File | Folder | None:
        node: File | Folder | None = self._top
        if path == self._root.parent:
            return None  # outside the recorded folder
        for name in path.relative_to(self._root).parts:
            node = node.now.get(name) if isinstance(node, Folder) else None
        return node

    def _folder(self, path: Path) -> Folder:
        node = self._find(path)
        assert isinstance(node, Folder), path
        return node

    def _file(self, path: Path) -> File:
        node = self._find(path)
        if node is None:
            node = File()
            self._folder(path.parent).change({path.name: node})
        assert isinstance(node, File), path
        return node


def _walk(
    folder: Folder, path: str, chance: Chance, dice: random.Random
) -> Iterator[tuple[str, bytes | None]]:
    for name, node in folder.left(chance, dice).items():
        if isinstance(node, File):
            yield path + name, node.left(chance, dice)
        else:
            yield path + name, None
            yield from _walk(node, f"{path}{name}/", chance, dice)


def campaign(
    folder: Path, seed: int, cases: int | None = None, seconds: float | None = None
) -> Report:
    """Interrupt lives by power losses, up to three times each; then let them finish.

    Before some of the power losses one operation fails, so that its work is done again elsewhere.
    """
    lives = [(life, undisturbed(life)[0]) for life in Life.several(folder)]
    report = Report()
    for name, choose in each_case(report, seed, cases, seconds):
        life, expected = choose.choice(lives)
        with report.failing(name), fresh(folder) as (root, notes):
            root.mkdir()
            for _ in range(choose.choice((1, 1, 2, 3))):
                disk, operations = _record(
                    life, root, notes, choose.choice((-1, choose.randrange(150)))
                )
                moment = choose.randint(0, len(operations))
                lines = next(itertools.islice(_carry_out(disk, operations), moment, None))
                _put_back(disk.left(choose.choice(CHANCES), choose), root)
                notes.write_text(_first_lines(notes, lines))
                report.count("power losses")
            check_next_start(life, root / "run", notes, expected)
    return report


def check_all(life: Life, folder: Path, expected: dict[str, str]) -> int:
    """Cut the power before every operation of a life; return the number of different disks left.

    Raises:
        AssertionError: a training run does not resume from one of them as promised.
    """
    seen, dice = set(), random.Random(1)
    with fresh(folder) as (root, notes):
        root.mkdir()
        disk, operations = _record(life, root, notes)
        for lines in _carry_out(disk, operations):
            for chance in CHANCES:
                left = disk.left(chance, dice)
                state = lines, hashlib.sha256(pickle.dumps(sorted(left.items()))).digest()
                if state not in seen:
                    seen.add(state)
                    with fresh(folder) as (other, other_notes):
                        _put_back(left, other)
                        other_notes.write_text(_first_lines(notes, lines))
                        check_next_start(life, other / "run", other_notes, expected)
    return len(seen)


def _record(
    life: Life, root: Path, notes: Path, fail_at: int = -1
) -> tuple[Model, list[Operation]]:
    """Live in `root`; return the disk before, and every operation on it."""
    before, recorder, trace = Model(root), Recorder(notes, fail_at), notes.with_suffix(".trace")

    def act() -> None:
        try:
            with_faults(life, root / "run", notes, recorder)()
        finally:
            trace.write_bytes(pickle.dumps(recorder.trace))

    assert in_a_process(act) in (0, 5)
    return before, pickle.loads(trace.read_bytes())


def _carry_out(disk: Model, operations: list[Operation]) -> Iterator[int]:
    """Repeat the operations; before each, and at the end, yield the number of lines noted."""
    for lines, what, about in operations:
        yield lines
        getattr(disk, what)(*about)
    yield sys.maxsize


def _put_back(left: dict[str, bytes | None], root: Path) -> None:
    """Create the files and folders that are left, and no others."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for name, data in left.items():
        if data is None:
            (root / name).mkdir()
        else:
            (root / name).write_bytes(data)


def _first_lines(file: Path, number: int) -> str:
    notes = file.read_text() if file.exists() else ""
    return "".join(notes.splitlines(keepends=True)[:number])
