"""What a run folder has to be before a training begins or goes on in it."""

import os
from pathlib import Path

from zigpt.errors import ModelFileError, StorageError
from zigpt.gpt.config import GPTConfig, TrainConfig
from zigpt.runs.lock import LOCK_FILE
from zigpt.runs.metrics import sample_steps
from zigpt.storage import free_bytes, is_leftover


def is_blank(path: Path) -> bool:
    """Whether a folder holds nothing but what a training left that was killed as it began."""
    return all(
        is_leftover(file) or (file.name == LOCK_FILE and not file.is_symlink())
        for file in path.iterdir()
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
            f"the disk is too full for {path}",
            f"a run needs {needed / 1e6:,.0f} MB for its models, {free / 1e6:,.0f} MB are free",
            "free some space, or choose a folder on another disk as `run`",
        )


def require_own_files(path: Path) -> None:
    """Check that going on writes and reads only what lies in the folder: it may be anybody's.

    Raises:
        ModelFileError: a link leads out of it, or there is a pipe or a device.
    """
    root = Path(os.path.realpath(path))
    for parent, folders, files in os.walk(path):
        for place in (os.path.join(parent, name) for name in (*folders, *files)):
            real = os.path.realpath(place)
            is_ours = (os.path.isfile(real) or os.path.isdir(real)) and root in Path(real).parents
            if not is_ours and os.path.lexists(place):  # a training at work deletes its own
                raise ModelFileError(
                    f"{place} is not the run's own",
                    "it is a link that leads out of the folder or nowhere, a pipe or a device",
                    "remove it, and go on only with runs of people you trust",
                )
