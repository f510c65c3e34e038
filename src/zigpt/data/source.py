"""Where a text comes from: files and folders, or the built-in one when nothing was given.

Whatever is taken, `Source.origin` and `Source.notices` say so. This module knows what a text is
called and where it lies, not what is done with it.
"""

import hashlib
import logging
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import platformdirs

from zigpt.data.decode import Decoded, decode
from zigpt.data.files import refuse, require_regular, shown, text_files
from zigpt.data.stored import StoredText, Text, store_texts
from zigpt.errors import TextError

TINY_SHAKESPEARE = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
)
TINY_SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"

# Bytes in all files together that are still read into memory; of more, the ids are kept on disk.
LARGEST_IN_MEMORY = 64 << 20
_MOST_NOTICES = 8
# Windows takes them for devices, whatever follows after a dot.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_LONGEST_NAME = 40  # characters, of up to 4 bytes; file systems allow a name 255 bytes


@dataclass(frozen=True)
class Source:
    """A text and where it came from.

    `name` can be part of a folder's name; `origin` is for people; `paths` are the files read, in
    order, none for a built-in text. A large `text` is no str, but can be sliced like one.
    """

    name: str
    origin: str
    paths: tuple[Path, ...]
    text: Text
    encoding: str
    notices: tuple[str, ...]

    @cached_property
    def sha256(self) -> str:
        """The fingerprint: SHA-256 of the text in UTF-8, in hexadecimal."""
        if isinstance(self.text, StoredText):
            return self.text.sha256
        return hashlib.sha256(self.text.encode()).hexdigest()


def read_texts(paths: Sequence[Path]) -> Source:
    """Read files, and folders with all that lies in them, as one text in the order given.

    A folder stands for its *.txt, sorted by path; where it has none, for its *.md.

    Raises:
        TextError: nothing was given, or naming the first path that cannot be read as text.
        StorageError: the text is large and there is no room to keep its ids.
    """
    if not paths:
        raise TextError("no text was given", "there is nothing to learn from", "name a text file")
    files = tuple(file for path in paths for file in text_files(path))
    text, encodings, notices = _large(files) if _is_large(files) else _small(files)
    if len(notices) > _MOST_NOTICES:
        hidden = len(notices) - _MOST_NOTICES
        notices[_MOST_NOTICES:] = [f"... and {hidden:,} more notices like these"]
    return Source(
        name=name_of(paths),
        origin=", ".join(shown(path) for path in paths),
        paths=files,
        text=text,
        encoding=", ".join(dict.fromkeys(encodings)),
        notices=tuple(notices),
    )


def default_text(
    folder: Path, url: str = TINY_SHAKESPEARE, sha256: str = TINY_SHAKESPEARE_SHA256
) -> Source:
    """Find a text when none was given: input.txt, Tiny Shakespeare, Python's own reference.

    Raises:
        TextError: `folder` has an input.txt that cannot be read, or there is no text at all.
    """
    given = folder / "input.txt"
    if os.path.lexists(given):
        source = read_texts([given])
        return replace(source, notices=("no text given: taking input.txt", *source.notices))
    try:
        file = _download(url, sha256)
    # requests raises its own kinds of OSError; pooch a ValueError when the hash is another one.
    except (OSError, ValueError) as error:
        return python_reference(
            f"no text given and Tiny Shakespeare was not to be had ({type(error).__name__}): "
        )
    return replace(
        read_texts([file]),
        name="tiny-shakespeare",
        origin="Tiny Shakespeare (downloaded)",
        notices=(f"no text given: taking Tiny Shakespeare, kept as {shown(file)}",),
    )


def _download(url: str, sha256: str) -> Path:
    # Here, not above: it takes a tenth of a second to import, and few runs download anything.
    import pooch

    # The notices tell what happened; pooch would tell it a second time.
    pooch.get_logger().setLevel(logging.CRITICAL)
    downloader = pooch.HTTPDownloader(timeout=10, progressbar=False)
    cache = platformdirs.user_cache_path("zigpt")
    fname = "tiny-shakespeare.txt"
    return Path(pooch.retrieve(url, f"sha256:{sha256}", fname, cache, downloader=downloader))


def python_reference(why: str = "") -> Source:
    """Take the text that every Python carries; `why` begins the notice that says so.

    Raises:
        TextError: this Python was installed without it.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise TextError(
            "there is no text to learn from",
            f"{why}Python came without its reference",
            "name a text file, or put one here as input.txt",
        ) from None
    return Source(
        name="python-reference",
        origin="the Python language reference (part of every Python)",
        paths=(),
        text=_joined([topics[topic] for topic in sorted(topics)]),
        encoding="UTF-8",
        notices=(f"{why}taking the Python language reference",),
    )


def _is_large(files: Sequence[Path]) -> bool:
    # One that is missing has no size yet; reading it will say so.
    return sum(os.path.getsize(f) for f in files if os.path.isfile(f)) > LARGEST_IN_MEMORY


def _small(files: Sequence[Path]) -> tuple[str, list[str], list[str]]:
    """The text, each file's encoding, all notices."""
    parts = [_read(file) for file in files]
    notices = [notice for part in parts for notice in part.notices]
    return _joined([part.text for part in parts]), [part.encoding for part in parts], notices


def _large(files: Sequence[Path]) -> tuple[StoredText, list[str], list[str]]:
    """The same for files that are read in blocks, or not at all where their ids are known."""
    text = store_texts(files)
    notices = [
        f"{shown(file)}{rest}" for file, of in zip(files, text.notices, strict=True) for rest in of
    ]
    return text, list(text.encodings), notices


def _read(file: Path) -> Decoded:
    require_regular(file)
    try:
        data = file.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: no system takes a NUL in a path
        refuse(error, file)
    return decode(data, shown(file))


def _joined(texts: Sequence[str]) -> str:
    """One text after the other, each starting on a line of its own."""
    *others, last = texts
    return "".join(text if text.endswith("\n") else f"{text}\n" for text in others) + last


def name_of(paths: Sequence[Path]) -> str:
    """Make of the first path a name that a folder can have on any system."""
    # Absolute, because "." and ".." have names only then.
    first = Path(os.path.abspath(paths[0]))
    name = first.name if os.path.isdir(first) else first.stem
    # Composed letters: some systems hand out "é" as "e" and an accent, which is no letter.
    safe = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFC", name))
    safe = safe[:_LONGEST_NAME].strip("-.") or "text"
    safe = f"text-{safe}" if _DEVICES.match(safe) else safe
    return safe if len(paths) == 1 else f"{safe}-and-{len(paths) - 1}-more"
