"""Files and folders: which of them are texts, how to open one, how to show a path."""

import os
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import NoReturn

from zigpt.errors import TextError, reason
from zigpt.language import tr


def text_files(path: Path) -> list[Path]:
    """List the texts in a folder; a file stands for itself.

    Raises:
        TextError: the folder has no text in it, or cannot be read.
    """
    if not os.path.isdir(path):
        return [path]
    visible = sorted(_visible_files(path), key=Path.as_posix)
    for suffix in (".txt", ".md"):
        if files := [file for file in visible if file.suffix.lower() == suffix]:
            return files
    raise TextError(
        tr("{path} contains no text", path=printable(path)),
        tr("there is no .txt or .md file in it or its subfolders"),
        tr("give another folder, or the files themselves"),
    )


def _visible_files(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=refuse):
        if "run.json" in files:  # a run folder: its samples are not texts to train on
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in files if not name.startswith("."))


def require_regular(file: Path) -> None:
    """Check that a file has an end; a missing one passes, and a folder: neither can be opened.

    Raises:
        TextError: it is a pipe or a device.
    """
    # The check must not open anything: opening a pipe can already wait for ever.
    if os.path.exists(file) and not (os.path.isfile(file) or os.path.isdir(file)):
        raise TextError(
            tr("{path} is not a regular file", path=printable(file)),
            tr("it is a pipe or a device, which may never end"),
            tr("save the text to a file and give that"),
        )


def open_text(file: Path) -> BufferedReader:
    """Open a file for reading its bytes.

    Raises:
        TextError: it cannot be opened.
    """
    require_regular(file)
    try:
        return file.open("rb")
    except (OSError, ValueError) as error:  # ValueError: the path has a NUL in it
        refuse(error, file)


def refuse(error: OSError | ValueError, path: Path | None = None) -> NoReturn:
    """Refuse a file or folder that cannot be read.

    Raises:
        TextError: always.
    """
    name = printable(path or Path(getattr(error, "filename", "?")))
    raise TextError(
        tr("cannot read {path}", path=name),
        reason(error).lower()
        if isinstance(error, OSError)
        else tr("a path cannot contain a zero byte"),
        tr("check the path and its permissions"),
    ) from None


def printable(path: Path) -> str:
    """Show a path on one line, with a question mark for what cannot be printed or encoded."""
    return "".join(c if c.isprintable() else "?" for c in str(path))
