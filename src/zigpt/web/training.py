"""Training runs that the page starts and controls: processes of their own that outlive this server.

Only their run folder connects them to us: a training run is watched and controlled in the same way,
no matter who started it, also by a server that was started later.
"""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from zigpt.data.source import name_of
from zigpt.language import VARIABLE, language
from zigpt.runs.control import Request, send_request
from zigpt.runs.lock import waits_at
from zigpt.runs.paths import RUN_FILE, free_path
from zigpt.runs.request import TrainRequest
from zigpt.runs.training_text import keep_text
from zigpt.web.guard import Refused
from zigpt.web.handlers.requests import Action, StartRequest
from zigpt.web.watch import State, state_of, step_of_newest

SpellCommand = Callable[[TrainRequest], Sequence[str]]
_GRACE = 10.0  # seconds that a finished run may take to exit
_MOST_STDERR = 2000  # bytes


class Trainer:
    """Starts one training run at a time; `spell` makes a request the command line of a process."""

    def __init__(self, spell: SpellCommand, text: Path | None) -> None:
        self._spell, self._text = spell, text
        self._process: subprocess.Popen[bytes] | None = None
        self._run: Path | None = None  # of the training that was started last
        self._is_starting = False  # until it is in its folder, nobody else knows of it
        self._stderr: IO[bytes] | None = None

    @property
    def text(self) -> str | None:
        """The name of the text to train on if none is pasted; None: the default text."""
        return None if self._text is None else self._text.name

    @property
    def is_busy(self) -> bool:
        """Whether a training run that was started here is still running."""
        return self._process is not None and self._process.poll() is None

    @property
    def trouble(self) -> dict[str, Any] | None:
        """Why the last training failed: its exit code and what it printed; None if it did not."""
        if self._stderr is None or self._process is None:
            return None
        code = self._process.poll()
        if code in (None, 0, 130, 143):
            return None
        self._stderr.seek(0)
        stderr = self._stderr.read(_MOST_STDERR).decode(errors="replace").strip()
        return {"code": code, "stderr": stderr} if stderr else None

    def start(self, wanted: StartRequest) -> Path:
        """Start a training run; returns its run folder, which it makes unless it refuses.

        Raises:
            Refused: another training run is in progress.
            UsageError: a value is impossible.
            StorageError: the text cannot be written here.
        """
        request = TrainRequest(preset=wanted.preset, minutes=wanted.minutes)
        text = self._text if wanted.text is None else keep_text(wanted.text)
        name = "pasted" if wanted.text is not None else name_of([text]) if text else "default"
        run = free_path(name)
        self._launch(replace(request, texts=(text,) if text else (), run=run))
        return run

    def started_run(self) -> Path | None:
        """Return the run of the training that was started last, once: when it is in its folder."""
        if self._run is None or not self._is_starting or not (self._run / RUN_FILE).exists():
            return None
        if self.is_busy and state_of(self._run) == "stopped":  # it resumes an old run, soon
            return None
        self._is_starting = False
        return self._run

    def state(self, run: Path) -> State:
        """Tell what is going on in a folder, or that a training run is about to start."""
        state = state_of(run)
        is_starting = state == "stopped" and self._is_starting and self.is_busy
        return "starting" if is_starting else state

    def control(self, run: Path, action: Action) -> None:
        """Let the training in a folder pause, make one step, resume or stop.

        Raises:
            Refused: no training is running there, or another is.
            StorageError: the folder cannot be written to.
        """
        if state_of(run) != "stopped":
            send_request(run, _request(run, action))
        elif action == "resume":
            self._launch(TrainRequest(run=run, resume=True))
        elif action == "stop" and self._process and self._is_starting and self.is_busy:
            self._process.terminate()
        else:
            raise Refused(409, "no training is running here")

    def _launch(self, request: TrainRequest) -> None:
        if (
            self._process
            and self._run
            and not self._is_starting
            and state_of(self._run) == "stopped"
        ):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE)  # it is over, and only has to exit
        if self.is_busy:
            raise Refused(409, "a training run is in progress: stop it first")
        if self._stderr:
            self._stderr.close()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - until the next one is started
        self._process = subprocess.Popen(
            self._spell(request),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            start_new_session=True,  # Ctrl-C in our terminal is not meant for it
            env={**os.environ, VARIABLE: language()},  # what it refuses, the page shows
        )
        self._run, self._is_starting = request.run, True


def _request(run: Path, action: Action) -> Request:
    if action == "step":
        return Request(until=(waits_at(run) or step_of_newest(run)) + 1)
    return {"pause": Request(until=0), "resume": Request(), "stop": Request(stop=True)}[action]
