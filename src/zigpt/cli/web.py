"""`zigpt web`: the page in the browser."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from zigpt.cli.spelling import train_words
from zigpt.data.source import read_texts
from zigpt.errors import ModelFileError, UsageError
from zigpt.formats.safetensors import MODEL_FILE, is_model_name, read_lazily
from zigpt.language import tr
from zigpt.runs.paths import RUN_FILE, newest_path
from zigpt.runs.request import TrainRequest
from zigpt.training.device import pick_device


def run(
    shown: Path | None, port: int, host: str, allow_remote: bool, no_browser: bool, device: str
) -> int:
    """Serve until Ctrl-C. Returns the exit code.

    Raises:
        ModelFileError: what was named should be a model, and is not.
        TextError: it is neither a model nor a text.
        UsageError: the web extra is not installed.
    """
    path, text = _choose(shown)
    try:
        from zigpt.web.app_state import AppState
        from zigpt.web.serve import serve
    except ModuleNotFoundError as error:
        raise UsageError(
            tr("the page needs {package}, which is not installed", package=error.name),
            tr("only `zigpt web` uses it, so it is an extra"),
            tr("in the folder of zigpt: pip install '.[web]'"),
        ) from error
    state = AppState(path, pick_device(device), spell_training, text)

    def report(addresses: list[str]) -> None:
        shown = path or text or tr("Start page")
        print(f"{shown}:", *addresses, sep="\n  ")
        print(tr("Press Ctrl-C to stop."), flush=True)
        if not no_browser:
            _open_browser(addresses[0])

    serve(state, host, port, allow_remote, report)
    return 0


def _open_browser(address: str) -> None:
    """Open the page in a browser with a window, if there is one.

    In a process of its own: some browsers return only when they are closed, and all write to the
    terminal, which is the server's. Python takes browsers that need a terminal only where it finds
    TERM. Isolated, it does not take a module of the current folder for its own either.
    """
    environment = {name: value for name, value in os.environ.items() if name != "TERM"}
    with contextlib.suppress(OSError):  # no room for a process: the address has been printed
        subprocess.Popen(
            [sys.executable, "-I", "-m", "webbrowser", address],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def spell_training(request: TrainRequest) -> list[str]:
    """Spell a training run as the command line of a process of its own."""
    return [sys.executable, "-m", "zigpt", *train_words(request)]


def _choose(shown: Path | None) -> tuple[Path | None, Path | None]:
    """Find what to show: a run or model, or else a text to train on."""
    if shown is None:
        try:
            return newest_path(), None
        except ModelFileError:
            return None, None
    if any((shown / name).exists() for name in (RUN_FILE, MODEL_FILE)):
        return shown, None
    if is_model_name(shown) or not shown.exists():
        read_lazily(shown)  # refuses anything else
        return shown, None
    read_texts([shown])
    return None, shown
