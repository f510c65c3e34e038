"""Files and folders: which of them are texts, how to open one, how to show a path."""

import bz2
import gzip
import lzma
import os
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from io import BufferedIOBase
from pathlib import Path
from typing import Any, NoReturn

from zigpt.errors import TextError, reason
from zigpt.language import tr

# Part of Python from 3.14 on, and of zigpt[texts] before.
_ZSTD = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
try:
    _zstd: Any = import_module(_ZSTD)
except ImportError:
    _zstd = None


def _open_zstd(file: Path) -> Any:
    if _zstd:
        return _zstd.open(file)
    raise TextError(
        tr("{path} is compressed by Zstandard", path=printable(file)),
        tr("without a library, zigpt reads gzip, xz and bzip2"),
        tr("pip install 'zigpt[texts]', or pipe it: zstd -dc FILE | zigpt train -"),
    )


# How compressed files begin, and what opens them.
_COMPRESSED: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b\x08": gzip.open,
    b"\xfd7zXZ\0": lzma.open,
    b"BZh91AY&SY": bz2.open,
    b"\x28\xb5\x2f\xfd": _open_zstd,
}
SUFFIXES_CONVERTED = (".html", ".htm", ".xhtml", ".epub", ".docx", ".pdf")
# What reading a compressed file may raise, if it is damaged or cut.
BAD_COMPRESSION = (
    EOFError, zlib.error, lzma.LZMAError, OSError, *([_zstd.ZstdError] if _zstd else [])
)  # fmt: skip
_MOST_SUFFIXES = 3


def text_files(path: Path) -> list[Path]:
    """List the texts in a folder; a file stands for itself.

    Raises:
        TextError: the folder has no text in it, or cannot be read.
    """
    if not os.path.isdir(path):
        return [path]
    visible = sorted(_visible_files(path), key=Path.as_posix)
    for suffixes in ((".txt",), (".md",), (".jsonl",), SUFFIXES_CONVERTED):
        files = [file for file in visible if file.suffix.lower() in suffixes]
        if files := [file for file in files if not _is_empty(file)]:
            return files
    raise TextError(
        tr("{path} contains no text", path=printable(path)),
        tr("there is no .txt, .md or .jsonl file in it or its subfolders, nor a page or book"),
        tr("give another folder, or the files themselves"),
    )


def _is_empty(file: Path) -> bool:
    return os.path.isfile(file) and not os.path.getsize(file)


def is_jsonl(file: Path) -> bool:
    """Whether each line of a file is a document in JSON, by its name; it may be compressed."""
    return ".jsonl" in [suffix.lower() for suffix in file.suffixes[-2:]]


def passed_over(folder: Path, taken: Sequence[Path]) -> str:
    """Say in a line what of a folder is not among the texts; nothing if all of it is."""
    others = set(_visible_files(folder)) - set(taken)
    linked = sum(
        os.path.islink(os.path.join(parent, name))
        for parent, folders, _ in os.walk(folder)
        for name in folders
    )
    suffixes = Counter(file.suffix.lower() or tr("no suffix") for file in others)
    most = sorted(suffixes.items(), key=lambda kind: (-kind[1], kind[0]))
    kinds = [f"{suffix} {count:,}" for suffix, count in most[:_MOST_SUFFIXES]]
    if len(most) > _MOST_SUFFIXES:
        kinds.append("…")
    if linked:
        kinds.append(tr("linked folders {count:,}", count=linked))
    if not kinds:
        return ""
    return tr("{folder}: passed over: {kinds}", folder=printable(folder), kinds=", ".join(kinds))


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
            tr("save the text to a file and give that, or pipe it: … | zigpt train -"),
        )


def open_text(file: Path) -> BufferedIOBase:
    """Open a file for reading its bytes; those of a compressed file are decompressed.

    Raises:
        TextError: it cannot be opened.
    """
    require_regular(file)
    try:
        opened = file.open("rb")
        head = opened.read(10)
        opened.seek(0)
    except (OSError, ValueError) as error:  # ValueError: the path has a NUL in it
        refuse(error, file)
    if how := _decompression(head):
        opened.close()
        return how(file)
    return opened


def is_compressed(file: Path) -> bool:
    """Whether a file is there, and how it begins is how compressed files do."""
    try:
        if not os.path.isfile(file):  # opening a pipe can already wait for ever
            return False
        with file.open("rb") as opened:
            return _decompression(opened.read(10)) is not None
    except (OSError, ValueError):
        return False


def _decompression(head: bytes) -> Callable[[Path], Any] | None:
    found = (how for magic, how in _COMPRESSED.items() if head.startswith(magic))
    return next(found, None)


def refuse_reading(file: Path, error: Exception) -> NoReturn:
    """Refuse a file that cannot be read, or not be decompressed, to its end.

    Raises:
        TextError: always.
    """
    if isinstance(error, OSError) and error.errno is not None:  # the system's, not a library's
        refuse(error, file)
    raise TextError(
        tr("{path} cannot be decompressed", path=printable(file)),
        str(error) or type(error).__name__,
        tr("it is damaged or incomplete: get it again"),
    ) from None


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
