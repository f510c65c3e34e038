"""`zigpt train`, the part before torch: early refusals and signals."""

from pathlib import Path
from typing import Any

from zigpt.cli.launch import launch, train_together
from zigpt.cli.layout import labelled
from zigpt.cli.options import given, take_arrangement, take_decoding
from zigpt.language import tr
from zigpt.runs.lock import require_unlocked
from zigpt.runs.paths import newest_path
from zigpt.runs.reading import read
from zigpt.runs.request import Preset, TrainRequest
from zigpt.runs.signals import listening
from zigpt.runs.torchrun import is_launched
from zigpt.runs.training_text import with_standard_input


def run(
    texts: tuple[Path, ...],
    preset: Preset,
    folder: Path | None,
    minutes: float | None,
    device: str,
    resume: bool,
    processes: int,
    **settings: Any,
) -> int:
    """Train, or resume a run. Returns the exit code.

    Raises:
        UsageError: the options contradict each other.
        RunBusyError: another training run uses this folder.
        Interrupted: a signal was obeyed at once.
    """
    if processes > 1 and not is_launched():
        return launch(processes)
    how, arrangement = take_decoding(settings), take_arrangement(settings)
    texts = with_standard_input(texts, _note)
    values = given(settings)
    request = TrainRequest(texts, preset, values, folder, minutes, device, resume, how, arrangement)
    if request.run or request.resume:
        require_unlocked(request.run or newest_path())
    with listening() as signals:
        if is_launched():
            return train_together(request, signals, _note)
        reading = None if resume else read(request, _note)  # what is to be refused, is refused now
        from zigpt.cli.follow import follow  # torch takes a second to load

        return follow(request, signals, reading)


def _note(sentence: str) -> None:
    print(labelled(tr("note"), sentence), flush=True)
