"""Trainings that the page starts and steers: processes of their own, which outlive this server.

Their run folder is all that connects us: whoever trains there, and whoever started it, is watched
and steered in the same way, also by a server that was started later.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any, get_args

from zigpt.data.source import name_of
from zigpt.errors import StorageError
from zigpt.gpt.config import PresetName
from zigpt.runs.control import Request, send_request
from zigpt.runs.lock import waits_at
from zigpt.runs.paths import RUN_FILE, free_path
from zigpt.runs.training_text import keep_text
from zigpt.web.guard import Refused
from zigpt.web.questions import field
from zigpt.web.watch import State, state_of, step_of_newest

_PRESETS = ("auto", *get_args(PresetName))
_LONGEST = 2000.0  # minutes
_LEAVE = 10.0  # seconds
_MOST_SAID = 2000  # characters of a refusal


class Trainer:
    """Starts one training at a time."""

    def __init__(self, text: Path | None) -> None:
        self._text = text
        self._process: subprocess.Popen[bytes] | None = None
        self._run: Path | None = None  # of the training begun last
        self._is_coming = False  # to its folder: until then nobody else knows of it
        self._said: IO[bytes] | None = None

    @property
    def text(self) -> str | None:
        """What is learned from where nothing is pasted, if it was named."""
        return None if self._text is None else self._text.name

    @property
    def is_busy(self) -> bool:
        """Whether a training that was started here is still at work."""
        return self._process is not None and self._process.poll() is None

    @property
    def trouble(self) -> dict[str, Any] | None:
        """Why the last training ended, if it was refused: its exit code and its own three lines."""
        if self._said is None or self._process is None:
            return None
        code = self._process.poll()
        if code in (None, 0, 130, 143):
            return None
        self._said.seek(0)
        said = self._said.read(_MOST_SAID).decode(errors="replace").strip()
        return {"code": code, "said": said} if said else None

    def start(self, asked: Any) -> Path:
        """Begin a training as the page asks; where it will be, unless it refuses.

        Raises:
            Refused: there is one at work, a value is impossible, or nothing can be written here.
        """
        preset = field(asked, "preset", str)
        if preset not in _PRESETS:
            raise Refused(422, f"preset is one of {', '.join(_PRESETS)}")
        words = ["--preset", preset]
        if asked.get("minutes") is not None:
            minutes = field(asked, "minutes", float)
            if not 0 < minutes <= _LONGEST:
                raise Refused(422, f"minutes go from above 0 to {_LONGEST:,.0f}")
            words += ["--minutes", str(minutes)]
        is_pasted = asked.get("text") is not None
        text = self._text
        if is_pasted:
            with _refusing():
                text = keep_text(field(asked, "text", str))
        run = free_path("pasted" if is_pasted else name_of([text]) if text else "default")
        self._begin(run, [*([os.path.abspath(text)] if text else []), *words, "--run", str(run)])
        return run

    def arrived(self) -> Path | None:
        """The run of the training begun last, told once: when it has come to its folder."""
        if self._run is None or not self._is_coming or not (self._run / RUN_FILE).exists():
            return None
        if self.is_busy and state_of(self._run) == "stopped":  # it goes on with an old run, soon
            return None
        self._is_coming = False
        return self._run

    def state(self, run: Path) -> State:
        """What is going on in a folder, also while a training is on its way to one."""
        state = state_of(run)
        return "starting" if state == "stopped" and self._is_coming and self.is_busy else state

    def steer(self, run: Path, what: str) -> None:
        """Let the training in a folder pause, make a step, go on or stop.

        Raises:
            Refused: it cannot be asked for, or the folder cannot be written to.
        """
        state = state_of(run)
        if what == "go" and state == "stopped":
            return self._begin(run, ["--resume", "--run", str(run)])
        wishes = {
            "pause": Request(until=0),
            "step": Request(until=(waits_at(run) or step_of_newest(run)) + 1),
            "go": Request(),
            "stop": Request(stop=True),
        }
        if what not in wishes:
            raise Refused(422, f"do is one of start, {', '.join(wishes)}")
        if state == "stopped":
            if self._process is None or not (self._is_coming and self.is_busy) or what != "stop":
                raise Refused(409, "nobody is training here")
            return self._process.terminate()
        with _refusing():
            send_request(run, wishes[what])

    def _begin(self, run: Path, words: list[str]) -> None:
        if self._process and self._run and not self._is_coming and state_of(self._run) == "stopped":
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_LEAVE)  # it is over, and only has to end
        if self.is_busy:
            raise Refused(409, "a training is at work: stop it first")
        if self._said:
            self._said.close()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - until the next one is begun
        self._process = subprocess.Popen(
            [sys.executable, "-m", "zigpt", "train", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            start_new_session=True,  # Ctrl-C in our terminal is not meant for it
        )
        self._run, self._is_coming = run, True


@contextlib.contextmanager
def _refusing() -> Any:
    try:
        yield
    except StorageError as error:
        raise Refused(507, f"{error.what}: {error.why}") from error
