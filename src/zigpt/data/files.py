"""Files and folders: what in them counts as text, how to open it, how to name it in a message."""

import os
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import NoReturn

from zigpt.errors import TextError


def text_files(path: Path) -> list[Path]:
    """Find the file itself, or what counts as text in a folder.

    Raises:
        TextError: the folder holds no text, or cannot be looked into.
    """
    if not os.path.isdir(path):
        return [path]
    visible = sorted(_visible_files(path), key=Path.as_posix)
    for suffix in (".txt", ".md"):
        if files := [file for file in visible if file.suffix.lower() == suffix]:
            return files
    raise TextError(
        f"{shown(path)} holds no text",
        "neither it nor the folders in it have a .txt or .md file",
        "name another folder, or the files themselves",
    )


def _visible_files(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=refuse):
        if "run.json" in files:  # what a training wrote is not what it should read
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in files if not name.startswith("."))


def require_regular(file: Path) -> None:
    """Check that reading the file would come to an end; one that is missing passes.

    Raises:
        TextError: it is a pipe or a device.
    """
    # A pipe or a device might never end; the check itself opens nothing.
    if os.path.exists(file) and not os.path.isfile(file):
        raise TextError(
            f"{shown(file)} is not a regular file",
            "it is a pipe or a device, which need not end",
            "save the text to a file and name that",
        )


def open_text(file: Path) -> BufferedReader:
    """Open a file to read its bytes.

    Raises:
        TextError: it cannot be opened.
    """
    require_regular(file)
    try:
        return file.open("rb")
    except (OSError, ValueError) as error:  # ValueError: no system takes a NUL in a path
        refuse(error, file)


def refuse(error: OSError | ValueError, path: Path | None = None) -> NoReturn:
    """Say that a file or folder cannot be read.

    Raises:
        TextError: always.
    """
    reason = error.strerror if isinstance(error, OSError) else "no system has such a path"
    raise TextError(
        f"cannot read {shown(path or Path(getattr(error, 'filename', '?')))}",
        (reason or type(error).__name__).lower(),
        "check the path and its permissions",
    ) from None


def shown(path: Path) -> str:
    """Write the path on one line that any terminal can print."""
    return "".join(c if c.isprintable() else "?" for c in str(path))
