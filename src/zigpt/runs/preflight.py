"""What must hold of a run folder before a training run starts or resumes in it."""

import os
from pathlib import Path

from zigpt.errors import ModelFileError, RunBusyError, StorageError
from zigpt.gpt.config import GPTConfig, TrainConfig
from zigpt.language import tr
from zigpt.runs.control import CONTROL_FILE
from zigpt.runs.lock import LOCK_FILE
from zigpt.runs.metrics import sample_steps
from zigpt.runs.paths import RUN_FILE
from zigpt.storage import free_bytes, is_leftover


def is_blank(path: Path) -> bool:
    """Whether a folder holds nothing but a request, and what a run killed as it starts leaves."""
    return all(
        is_leftover(file) or (file.name in (LOCK_FILE, CONTROL_FILE) and not file.is_symlink())
        for file in path.iterdir()
    )


def require_free(path: Path) -> None:
    """Check that a new run may be made at `path`.

    Raises:
        RunBusyError: something is there already; it is never overwritten.
    """
    if path.exists() and (not path.is_dir() or not is_blank(path)):
        fix = tr("choose another name as `run`")
        if (path / RUN_FILE).exists():
            fix = tr("choose another name as `run`, or continue that run with `resume`")
        raise RunBusyError(
            tr("{path} exists already", path=path), tr("zigpt never overwrites what is there"), fix
        )


def require_room(path: Path, model: GPTConfig, training: TrainConfig) -> None:
    """Check that the disk has room for all models that a run will keep.

    Raises:
        StorageError: it has not; with the numbers.
    """
    weights = 4 * model.n_parameters
    n_models = 1 + len(sample_steps(training.max_steps))  # the best, and a snapshot of each
    needed = (3 * 3 + n_models) * weights  # three checkpoints: weights and two moments
    free = free_bytes(path)
    if needed > free:
        raise StorageError(
            tr("the disk is too full for {path}", path=path),
            tr(
                "a run needs {needed:,.0f} MB for its models, {free:,.0f} MB are free",
                needed=needed / 1e6,
                free=free / 1e6,
            ),
            tr("free some space, or choose a folder on another disk as `run`"),
        )


def require_no_way_out(path: Path) -> None:
    """Check that nothing in the folder leads out of it: anybody may have made it.

    Raises:
        ModelFileError: a link leads out of it, or there is a pipe or a device.
    """
    root = Path(os.path.realpath(path))
    for parent, folders, files in os.walk(path):
        for place in (os.path.join(parent, name) for name in (*folders, *files)):
            real = os.path.realpath(place)
            is_inside = (os.path.isfile(real) or os.path.isdir(real)) and root in Path(real).parents
            if not is_inside and os.path.lexists(place):  # a run in progress deletes files
                raise ModelFileError(
                    tr("{path} is not a file or folder inside the run", path=place),
                    tr("it is a link that leads out of the folder or nowhere, a pipe or a device"),
                    tr("remove it, and resume only runs of people you trust"),
                )
