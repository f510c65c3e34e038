"""Training from Python: from a text to a finished run."""

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

from zigpt.api.model import Model, as_html, load
from zigpt.data.arrangement import Arrangement
from zigpt.data.encodings import Decoding
from zigpt.errors import UsageError
from zigpt.language import tr
from zigpt.runs.events import Evaluated, Finished, Opened, Stepped, Stopped, Trained
from zigpt.runs.paths import LOSS_PICTURE
from zigpt.runs.request import Preset, TrainRequest
from zigpt.runs.session import train_run
from zigpt.runs.signals import listening
from zigpt.runs.training_text import keep_text
from zigpt.training.loop import Progress

_ONE_AT_A_TIME = threading.RLock()
_LONGEST_NAME = 255  # characters; a longer string is not the name of a file


class Run:
    """A finished run: its folder, its loss on the validation split, and a verdict.

    >>> print(run.path)
    runs/story
    """

    def __init__(self, path: Path, loss: float, verdict: str) -> None:
        self.path, self.loss, self.verdict = path, loss, verdict
        self._absolute = path.absolute()  # wherever this process moves to

    @cached_property
    def model(self) -> Model:
        """The best model, on the CPU.

        >>> len(run.model.generate("a", chars=9))
        10
        """
        return load(self._absolute, "cpu")

    def __repr__(self) -> str:
        loss = f"validation loss {self.loss:.4f} nats per character"
        return f"<zigpt run {self.path}: {loss}; {self.verdict}>"

    def _repr_html_(self) -> str:
        """Show a notebook how the training went, with its loss picture."""
        return as_html(repr(self), self._absolute / LOSS_PICTURE)


def train(
    text: str | Path | Sequence[str | Path] | None = None,
    preset: Preset = "auto",
    run: str | Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    minutes: float | None = None,
    device: str = "auto",
    resume: bool = False,
    **settings: Any,
) -> Run:
    """Train a model and return its run; Ctrl-C saves first.

    `text` is the path of a file or folder, a list of such paths, or the text itself: a string with
    a line break, or of more than 255 characters, which is kept in `texts/` for a resume. `settings`
    are fields of GPTConfig and TrainConfig, or `encoding`, `damaged`, `validation`, `separator` and
    `shuffle_documents`, which say how files are read, as on the command line. `on_progress` is
    called after every step and every evaluation; an exception from it ends the training, and the
    last checkpoint remains. `resume` continues `run`, which knows its text. Calls from several
    threads are carried out one by one: PyTorch has one random generator for all of them.

    >>> steps = []
    >>> note = lambda progress: steps.append(progress.step)
    >>> run = zigpt.train(story, "tiny", max_steps=2, eval_interval=2, on_progress=note)
    >>> steps  # an evaluation, two steps, an evaluation
    [0, 1, 2, 2]

    Raises:
        KeyboardInterrupt: Ctrl-C, or another request to stop; everything is saved.
        UsageError: there is no text, or a setting is impossible.
        ZigptError: the text or the folder is refused, or the training failed.
    """
    texts = _texts(text)
    if not (texts or resume):
        raise _no_text(text)
    where = None if run is None else Path(run)
    reading = _take_reading(settings)
    request = TrainRequest(texts, preset, settings, where, minutes, device, resume, *reading)
    with (
        _ONE_AT_A_TIME,
        listening() as signals,
        closing(train_run(request, lambda: signals.code is not None)) as events,
    ):
        for event in events:
            match event:
                case Opened():
                    path = event.folder.path
                    signals.graceful = True
                case Stepped() | Evaluated() if on_progress:
                    on_progress(event.progress)
                case Trained() if signals.obey_at_once():
                    break
                case Finished():
                    return Run(path, event.loss, str(event.verdict or tr("no metrics to judge by")))
                case Stopped():
                    break
    again = f"zigpt.train(run={str(path)!r}, resume=True)"
    raise KeyboardInterrupt(
        tr("everything is saved in {path}; {command} continues it", path=path, command=again)
    )


def _take_reading(settings: dict[str, Any]) -> tuple[Decoding, Arrangement]:
    """Take out of the settings how texts are read."""
    how = Decoding(settings.pop("encoding", None), settings.pop("damaged", "error"))
    arrangement = Arrangement.of(
        settings.pop("validation", "auto"),
        settings.pop("separator", None),
        is_shuffled=settings.pop("shuffle_documents", False),
        seed=settings.get("seed"),
    )
    return how, arrangement


def _no_text(given: object) -> UsageError:
    return UsageError(
        tr("there is no `text` to train on"),
        tr("{text!r:.40} is neither a text nor the path of one", text=given),
        tr("give a `text`, or `resume` a `run`"),
    )


def _texts(text: str | Path | Sequence[str | Path] | None) -> tuple[Path, ...]:
    if not text:
        return ()
    if isinstance(text, Path):
        return (text,)
    if not isinstance(text, str):
        return tuple(map(Path, text))
    is_path = len(text) <= _LONGEST_NAME and "\n" not in text
    return (Path(text),) if is_path or os.path.exists(text) else (keep_text(text),)
