"""Names in a run folder, and which folder is meant where none is named."""

import os
import re
from pathlib import Path

from zigpt.errors import ModelFileError
from zigpt.language import tr

RUN_FILE = "run.json"
LOSS_PICTURE = "loss.png"
SNAPSHOTS = "snapshots"


def snapshot_path(run: Path, step: int) -> Path:
    """Name the file of the model as it was after a step, one of the log-spaced ones."""
    return run / SNAPSHOTS / f"step-{step:08d}.safetensors"


def run_around(path: Path) -> Path:
    """Name the run folder in which a model lies, if it lies in one; a folder stands for itself."""
    real = Path(os.path.realpath(path))
    if os.path.isdir(real):
        return real
    return real.parent.parent if real.parent.name == SNAPSHOTS else real.parent


def list_snapshots(run: Path) -> list[int]:
    """List the steps whose model a run has kept, in order."""
    names = (path.name for path in (run / SNAPSHOTS).glob("step-*.safetensors"))
    found = (re.fullmatch(r"step-(\d{8,19})\.safetensors", name) for name in names)
    return sorted(int(match[1]) for match in found if match)


def free_path(name: str) -> Path:
    """Choose a run folder where none was named: runs/<name>, numbered if it is taken."""
    return numbered(Path("runs") / name)


def numbered(first: Path) -> Path:
    """Choose a free path: `first`, or `first` with the lowest number from 2 on."""
    path, number = first, 1
    while os.path.lexists(path):  # also a link to nowhere
        number += 1
        path = first.with_name(f"{first.name}-{number}")
    return path


def newest_path() -> Path:
    """Find the run in `runs/` that was written to last.

    Raises:
        ModelFileError: there is none.
    """
    found = [file.parent for file in Path("runs").glob(f"*/{RUN_FILE}")]
    if not found:
        raise ModelFileError(
            tr("no run was named"),
            tr("and the folder runs/ here holds none"),
            tr("name a run folder, or train one first"),
        )
    return max(found, key=lambda path: path.stat().st_mtime)
