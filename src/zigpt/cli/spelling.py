"""How this program, its options and a whole command are spelled; only this room knows."""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zigpt.data.encodings import AS_IT_IS
from zigpt.runs.request import TrainRequest

_QUOTED_NAME = re.compile(r"`([a-z]\w*)`")


def option(name: str) -> str:
    """Spell the option of a setting: `n_layer` is --n-layer."""
    return f"--{name.replace('_', '-')}"


def with_options(message: str) -> str:
    """Spell the settings that a message names in backquotes as options."""
    return _QUOTED_NAME.sub(lambda name: option(name[1]), message)


def program() -> str:
    """Spell this program the way it can be typed here."""
    if shutil.which("zigpt"):
        return "zigpt"
    called = Path(sys.argv[0])
    if called.stem != "zigpt":
        return "python -m zigpt"
    return shlex.quote(os.path.relpath(called))


def command(*words: Any) -> str:
    """Spell a command of this program, quoted for a shell."""
    return f"{program()} {shlex.join(map(_word, words))}"


def _word(word: Any) -> str:
    """Spell a word; a path that begins like an option begins with ./ instead."""
    is_odd = isinstance(word, Path) and str(word).startswith("-")
    return f"./{word}" if is_odd else str(word)


def train_words(request: TrainRequest) -> list[str]:
    """Spell a training run as the words after `zigpt`."""
    # Absolute paths: they hold in any folder, and none begins like an option.
    words = ["train", *(os.path.abspath(path) for path in request.texts)]
    if request.resume:
        words.append(option("resume"))
    if request.preset != "auto":
        words += [option("preset"), request.preset]
    more: Mapping[str, Any] = {"minutes": request.minutes, **request.settings, "run": request.run}
    if request.device != "auto":
        more = {**more, "device": request.device}
    if request.how != AS_IT_IS:
        more = {**more, **asdict(request.how)}
    for name, value in more.items():
        if value is not None:
            words += [option(name), str(value)]
    return words
