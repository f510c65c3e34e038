"""The language of what a person reads: English, as in the source, or Chinese, from a catalogue.

Which of the two: what `speak` says for a while; else ZIGPT_LANG; else the locale. What a program
reads (exit codes, option names, JSON, log files) is the same in both. `make catalogue` collects the
sentences from the source; a test refuses a catalogue that is not up to date. This module imports
nothing of the project.
"""

import gettext
import locale
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

Language = Literal["en", "zh"]
VARIABLE = "ZIGPT_LANG"
DOMAIN, FOLDER = "zigpt", Path(__file__).with_name("locale")  # gettext's name, and its layout
_LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")  # as POSIX orders them
_spoken: ContextVar[Language | None] = ContextVar("spoken", default=None)


def tr(sentence: str, /, **values: Any) -> str:
    """Translate a sentence of the source, then fill in its {values}."""
    return _catalogue(language()).gettext(sentence).format(**values)


def mark(sentence: str, plural: str = "") -> str:
    """Collect a sentence that is translated later, where it is shown."""
    return sentence


def joined(*sentences: str) -> str:
    """Join whole sentences; Chinese has no space between two."""
    return ("" if language() == "zh" else " ").join(filter(None, sentences))


def language() -> Language:
    """Decide in which language to speak."""
    if spoken := _spoken.get():
        return spoken
    # Windows has no such variables, and a name of its own for a locale: Chinese (Simplified)_China.
    wanted = os.environ.get(VARIABLE, "").lower()
    if not wanted.startswith(get_args(Language)):  # unset, or a language that zigpt does not speak
        named = next(filter(None, map(os.environ.get, _LOCALE)), None)
        wanted = (named or locale.getlocale()[0] or "").lower()
    return "zh" if wanted.startswith(("zh", "chinese")) else "en"


@contextmanager
def speak(wanted: Language) -> Iterator[None]:
    """Speak this language inside of the `with`."""
    token = _spoken.set(wanted)
    try:
        yield
    finally:
        _spoken.reset(token)


@cache
def _catalogue(spoken: Language) -> gettext.NullTranslations:
    return gettext.translation(DOMAIN, FOLDER, [spoken], fallback=spoken == "en")
