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

from zigpt.data.arrangement import Arrangement
from zigpt.data.encodings import AS_IT_IS
from zigpt.runs.request import TrainRequest

_POWERSHELL = os.name == "nt"
# Needs no quotes in PowerShell, which cuts -a.b and -a:b in two.
_PLAIN = re.compile(r"(?!-.*[.:])[\w+.:/=\\-]+", re.ASCII)
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
    path = os.path.relpath(called)
    return f"& {_quoted(path)}" if _POWERSHELL and _quoted(path) != path else _quoted(path)


def command(*words: Any) -> str:
    """Spell a command of this program, quoted for a POSIX shell or, on Windows, for PowerShell."""
    return " ".join([program(), *map(_word, words)])


def _word(word: Any) -> str:
    """Spell a word; a path that begins like an option begins with ./ instead."""
    is_odd = isinstance(word, Path) and str(word).startswith("-")
    return _quoted(f"./{word}" if is_odd else str(word))


def _quoted(word: str) -> str:
    if not _POWERSHELL:
        return shlex.quote(word)
    return word if _PLAIN.fullmatch(word) else "'" + word.replace("'", "''") + "'"


def arrangement_words(arrangement: Arrangement) -> list[str]:
    """Spell what was decided about documents."""
    words = []
    if arrangement.held_out:
        words += [option("validation"), os.path.abspath(arrangement.held_out[0])]
    elif arrangement.validation != "auto":
        words += [option("validation"), arrangement.validation]
    if arrangement.separator is not None:
        typed = arrangement.separator.replace("\n", "\\n").replace("\t", "\\t")
        words.append(f"{option('separator')}={typed}")  # which may begin with a dash
    return words if arrangement.shuffle is None else [*words, option("shuffle_documents")]


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
    words += arrangement_words(request.arrangement)
    for name, value in more.items():
        if value is not None:
            words += [option(name), str(value)]
    return words
