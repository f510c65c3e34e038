"""Every way zigpt refuses: one exception tree, three short lines each, one exit code each.

    ZigptError                 1  a bug of ours
    ├── UsageError             2  the command or its options cannot be carried out
    │   └── ConfigError        2  impossible settings, all of them named at once
    ├── TextError              3  a text was refused
    │   ├── TextMovedError     3  it is no longer where it was
    │   └── VocabularyError    3  characters the model has never seen
    ├── ModelFileError         3  a model file or run folder was refused
    ├── RunBusyError           4  the run folder is taken
    ├── StorageError           5  the disk did not take what we wrote
    ├── ProcessLostError       1  another process of the same training is gone
    ├── DivergedError          6  the loss is no longer a number; the weights were not touched
    └── OutOfMemoryError       7  the settings need more memory than there is

A setting stands in backquotes under its Python name, like `n_layer`; the command line shows it as
an option.
"""

import re
from collections.abc import Sequence

from zigpt.language import mark, tr

_LONGEST = 1500  # characters of a line; naming every setting at once takes a thousand
_LONG_NUMBER = re.compile(r"(\d{12})\d{12,}")  # no setting takes so many digits
# What operating systems say most often; anything else stays in their words.
_REASONS = (
    mark("No such file or directory"),
    mark("Permission denied"),
    mark("Operation not permitted"),
    mark("No space left on device"),
    mark("Disk quota exceeded"),
    mark("File too large"),
    mark("Read-only file system"),
    mark("Input/output error"),
    mark("Is a directory"),
    mark("Not a directory"),
    mark("File exists"),
    mark("File name too long"),
    mark("Too many open files"),
    mark("Too many levels of symbolic links"),
    mark("Address already in use"),
    mark("Cannot assign requested address"),
    mark("Cannot allocate memory"),
)


def reason(error: OSError) -> str:
    """Say what the operating system gives as the reason."""
    given = error.strerror or str(error) or type(error).__name__
    return tr(given) if given in _REASONS else given


class ZigptError(Exception):
    """A refusal a person can act on: what happened, why, and what to do.

    Each part is one line; the printed form is the three lines together.
    """

    exit_code = 1

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(what, why, fix)
        # A file name may hold a line break, and each part must stay one line.
        lines = (" ".join(part.split("\n")) for part in (what, why, fix))
        self.what, self.why, self.fix = (
            line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…" for line in lines
        )

    def __str__(self) -> str:
        why, fix = tr("why: {why}", why=self.why), tr("fix: {fix}", fix=self.fix)
        return f"{self.what}\n{why}\n{fix}"


class UsageError(ZigptError, ValueError):
    """The command or an argument cannot be carried out as given."""

    exit_code = 2


class ConfigError(UsageError):
    """Impossible settings; `problems` holds every one of them, as (problem, remedy)."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        super().__init__(
            tr("impossible settings: 1 problem")
            if count == 1
            else tr("impossible settings: {count} problems", count=count),
            "; ".join(_LONG_NUMBER.sub(r"\1…", problem) for problem, _ in self.problems),
            "; ".join(remedy for _, remedy in self.problems),
        )


class TextError(ZigptError, ValueError):
    """A text cannot be read or cannot be learned from."""

    exit_code = 3


class TextMovedError(TextError):
    """The text that a model was trained on is no longer where it was."""

    def or_type(self, command: str) -> "TextMovedError":
        """Add a command that takes the text from another place."""
        fix = tr("{fix}, or name it: {command}", fix=self.fix, command=command)
        return TextMovedError(self.what, self.why, fix)


class VocabularyError(TextError):
    """A text holds characters that are not in the vocabulary."""


class ModelFileError(ZigptError):
    """A model file or run folder is missing, damaged or not ours."""

    exit_code = 3


class RunBusyError(ZigptError):
    """The run folder already belongs to another training run."""

    exit_code = 4


class StorageError(ZigptError):
    """Writing failed: disk full, no permission, device error."""

    exit_code = 5


class ProcessLostError(ZigptError):
    """Another process of the same training was killed, or hangs."""


class DivergedError(ZigptError):
    """Loss or gradient is not finite; raised before the weights are touched."""

    exit_code = 6


class OutOfMemoryError(ZigptError):
    """The settings need more memory than the machine has."""

    exit_code = 7
