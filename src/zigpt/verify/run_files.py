"""Claim: every file of the run is readable and unchanged since it was written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zigpt.errors import ModelFileError, reason
from zigpt.formats.safetensors import read_lazily
from zigpt.formats.saved_model import SavedModel, load_model
from zigpt.language import joined, mark, tr
from zigpt.runs.checkpoint import FILES, list_checkpoints, read_checkpoint
from zigpt.runs.folder import RunFolder
from zigpt.verify.check import Check, sentence


@dataclass(frozen=True)
class Found:
    """What a folder or model file holds; None for what is missing or unusable."""

    check: Check
    run: RunFolder | None
    saved: SavedModel | None


def check_run_files(path: Path, device: torch.device) -> Found:
    """Read a run folder, or a model file alone, and check that its parts agree.

    Raises:
        ModelFileError: there is neither at `path`.
    """
    faults: list[str] = []
    run, saved = _open(path, device, faults)
    n_files = _checkpoint_files(path / "checkpoints", faults)
    if run:
        _compare_with_log(run, faults)
    aside = sorted(bad.name for bad in (path / "checkpoints").glob("step-*.bad*"))
    if run and saved and run.record.model != saved.model.config:
        faults.append(tr("run.json and model.safetensors describe models of different shapes."))
    if saved and (names := _not_finite(saved)):
        faults.append(
            tr(
                "model.safetensors has values that are not finite, in {tensors}.",
                tensors=", ".join(names[:3]),
            )
        )
        saved = None
    numbers = {
        "checkpoints": len(n_files),
        "checkpoint_files": sum(n_files),
        "set_aside": aside,
        "faults": faults,
    }
    sentences = faults.copy()
    if not faults:
        assert saved
        sentences = [*_describe(run, saved, numbers), _unless_checksummed(path)]
    if aside:
        listed = ", ".join(aside)
        sentences.append(tr("Damaged checkpoints that were set aside: {names}.", names=listed))
    detail = joined(*sentences)
    return Found(Check("files", "failed" if faults else "passed", detail, numbers), run, saved)


def _open(
    path: Path, device: torch.device, faults: list[str]
) -> tuple[RunFolder | None, SavedModel | None]:
    """Read the run and the model as far as possible; append what is wrong to `faults`."""
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
    return run, saved


def _checkpoint_files(folder: Path, faults: list[str]) -> list[int]:
    """Count the intact files of each checkpoint; append what is wrong to `faults`."""
    counts = []
    for path in list_checkpoints(folder):
        try:
            read_checkpoint(path)
            counts.append(len(FILES))
        except ModelFileError as error:
            if path.exists():  # otherwise a training run in progress has just pruned it
                faults.append(sentence(error))
                counts.append(0)
    return counts


def _compare_with_log(run: RunFolder, faults: list[str]) -> None:
    """Add a fault if steps were logged but no checkpoint is left to resume from."""
    try:
        has_steps = any(row["step"] for row in run.log.rows())
    except OSError as error:
        faults.append(tr("metrics.jsonl cannot be read: {why}.", why=reason(error)))
        return
    # Listed again: a training run in progress may have pruned the ones that were listed before.
    if has_steps and not list_checkpoints(run.path / "checkpoints"):
        no_checkpoint = mark("metrics.jsonl records training steps, but {run} has no checkpoint.")
        faults.append(tr(no_checkpoint, run=run.path))


def _unless_checksummed(path: Path) -> str:
    has_one = read_lazily(path).sha256 is not None
    if has_one:
        return ""
    return tr("The model file is an early one without a checksum of its weights.")


def _is_run(path: Path) -> bool:
    return (path / "run.json").is_file()


def _not_finite(saved: SavedModel) -> list[str]:
    weights = saved.model.state_dict().items()
    return [name for name, weight in weights if not weight.isfinite().all()]


def _describe(run: RunFolder | None, saved: SavedModel, numbers: dict[str, Any]) -> list[str]:
    finite = tr("All {count:,} weights are finite.", count=saved.model.config.n_parameters)
    if run is None:
        return [tr("The model file is readable and its parts agree."), finite]
    checkpoints = (
        tr(
            "All {checkpoint_files} files of {checkpoints} checkpoints have the "
            "size and the SHA-256 recorded in their MANIFEST.json.",
            **numbers,
        )
        if numbers["checkpoints"]
        else tr("There is no checkpoint yet.")
    )
    same = tr("run.json and model.safetensors are readable and describe the same model.")
    return [checkpoints, same, finite]
