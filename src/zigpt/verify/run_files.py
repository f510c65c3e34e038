"""Claim: every file of the run can be read and is what was written."""

from dataclasses import dataclass
from pathlib import Path

import torch

from zigpt.errors import ModelFileError
from zigpt.formats.safetensors import read_lazily
from zigpt.formats.saved_model import SavedModel, load_model
from zigpt.runs.checkpoint import FILES, list_checkpoints, read_checkpoint
from zigpt.runs.folder import RunFolder
from zigpt.verify.check import Check, sentence


@dataclass(frozen=True)
class Found:
    """What a folder or model file holds; None stands for what is not there or cannot be used."""

    check: Check
    run: RunFolder | None
    saved: SavedModel | None


def check_files(path: Path, device: torch.device) -> Found:
    """Read a run folder, or a model file alone, and compare all that it says of itself.

    Raises:
        ModelFileError: there is neither at `path`.
    """
    faults: list[str] = []
    run, saved = None, None
    try:
        saved = load_model(path, device)
    except ModelFileError as error:
        if not path.is_file() and not _is_run(path):
            raise
        faults.append(sentence(error))
    if _is_run(path):
        try:
            run = RunFolder.open(path)
        except ModelFileError as error:
            faults.append(sentence(error))
    n_files = _checkpoint_files(path / "checkpoints", faults)
    if run:
        _compare_with_log(run, faults)
    aside = sorted(bad.name for bad in (path / "checkpoints").glob("step-*.bad*"))
    if run and saved and run.record.model != saved.model.config:
        faults.append("run.json and model.safetensors describe models of different shapes.")
    if saved and (names := _not_finite(saved)):
        faults.append(f"In model.safetensors {', '.join(names[:3])} is not finite everywhere.")
        saved = None
    numbers = {
        "checkpoints": len(n_files),
        "checkpoint_files": sum(n_files),
        "set_aside": aside,
        "faults": faults,
    }
    detail = " ".join(faults)
    if not faults:
        assert saved
        detail = _detail(run, saved, numbers) + _unless_checksummed(path)
    if aside:
        detail += f" Damaged ones that a resume has set aside: {', '.join(aside)}."
    return Found(Check("files", "failed" if faults else "passed", detail, numbers), run, saved)


def _checkpoint_files(folder: Path, faults: list[str]) -> list[int]:
    """Count the intact files of each checkpoint, and add what is wrong to `faults`."""
    counts = []
    for path in list_checkpoints(folder):
        try:
            read_checkpoint(path)
            counts.append(len(FILES))
        except ModelFileError as error:
            if path.exists():  # else a training at work has dropped one of its own old ones
                faults.append(sentence(error))
                counts.append(0)
    return counts


def _compare_with_log(run: RunFolder, faults: list[str]) -> None:
    """A training that has made steps has saved one, or can nowhere be gone on with."""
    try:
        is_begun = any(row["step"] for row in run.log.rows())
    except OSError as error:
        faults.append(f"metrics.jsonl cannot be read: {error.strerror}.")
        return
    # Looked up anew: a training at work may have dropped those that were to be read.
    if is_begun and not list_checkpoints(run.path / "checkpoints"):
        faults.append(f"metrics.jsonl tells of a training, but {run.path} has no checkpoint of it.")


def _unless_checksummed(path: Path) -> str:
    known = read_lazily(path).sha256 is not None
    return "" if known else " The model file, an early one, carries no checksum of its weights."


def _is_run(path: Path) -> bool:
    return (path / "run.json").is_file()


def _not_finite(saved: SavedModel) -> list[str]:
    weights = saved.model.state_dict().items()
    return [name for name, weight in weights if not weight.isfinite().all()]


def _detail(run: RunFolder | None, saved: SavedModel, numbers: dict[str, object]) -> str:
    finite = f"All {saved.model.config.n_parameters:,} weights are finite."
    if run is None:
        return f"The model file can be read and its parts fit each other. {finite}"
    checkpoints = (
        f"Read all {numbers['checkpoint_files']} files of {numbers['checkpoints']} checkpoints: "
        "each has the size and the SHA-256 that its MANIFEST.json says. "
        if numbers["checkpoints"]
        else "There was no checkpoint to read. "
    )
    same = "run.json and model.safetensors can be read and describe the same model."
    return f"{checkpoints}{same} {finite}"
