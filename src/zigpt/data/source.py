"""Where a text comes from: files and folders, or a default text when none is given.

Whichever is used, `Source.origin` and `Source.notices` say so.
"""

import hashlib
import logging
import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Thread

import platformdirs

from zigpt.data.arrangement import AS_THEY_ARE, Arrangement
from zigpt.data.batches import train_length
from zigpt.data.conversion import is_converted
from zigpt.data.documents import DocumentReader, HeldOut, arrange, is_marked
from zigpt.data.encodings import AS_IT_IS, Decoding
from zigpt.data.files import is_compressed, passed_over, printable, text_files
from zigpt.data.markup import markup_of
from zigpt.data.stored import ReadText, StoredText, Text, store_texts
from zigpt.errors import TextError
from zigpt.language import tr

TINY_SHAKESPEARE = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
)
TINY_SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"

# Bytes of all files together: of a larger text, the ids are stored on disk.
LARGEST_IN_MEMORY = 64 << 20
_SAMPLE = 100_000  # characters that show what kind of text it is
_MOST_NOTICES = 8
_MOST_NAMED = 3  # paths
_PATIENCE = 5.0  # seconds until a server has to answer
# On Windows these are devices, with any suffix.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_LONGEST_NAME = 40  # characters of up to 4 bytes each; file systems allow 255 bytes


@dataclass(frozen=True)
class Source:
    """A text and where it came from.

    `name` is safe in a folder's name; `origin` is for people; `paths` are the files in the order
    they were read, none for a built-in text. A large `text` is not a str, but slices like one.
    Its first `n_train` characters are to be trained on, the others are `held_out`.
    """

    name: str
    origin: str
    paths: tuple[Path, ...]
    text: Text
    n_train: int
    held_out: HeldOut
    encoding: str
    notices: tuple[str, ...]
    how: Decoding = AS_IT_IS
    arrangement: Arrangement = AS_THEY_ARE
    is_marked: bool = False  # END stands at the end of each document

    @cached_property
    def sha256(self) -> str:
        """The text's fingerprint: SHA-256 of its UTF-8, in hexadecimal."""
        if isinstance(self.text, StoredText):
            return self.text.sha256
        return hashlib.sha256(self.text.encode()).hexdigest()


def read_texts(
    paths: Sequence[Path], how: Decoding = AS_IT_IS, arrangement: Arrangement = AS_THEY_ARE
) -> Source:
    """Read files and folders as one text, in the order given.

    A folder stands for all *.txt files in it and its subfolders, sorted by path; if there are none,
    for all *.md files, or else all *.jsonl files.

    Raises:
        TextError: nothing was given, or a path cannot be read as text.
        StorageError: the text is large and there is no room to store its ids.
    """
    if not paths:
        raise TextError(
            tr("no text was given"), tr("there is nothing to learn from"), tr("give a text file")
        )
    learned, skipped = _files(paths)
    held_out, more = _files(arrangement.held_out)
    files, arrangement = [*learned, *held_out], replace(arrangement, held_out=tuple(held_out))
    read = (store_texts if _is_large(files) else _read)(files, how, arrangement)
    text, parts = read.text, read.changes
    notices = [*skipped, *more, *filter(None, [_markup(files, text)])]
    for file, part in zip(files, parts, strict=True):
        if is_converted(file):
            notices.append(tr("{name}: its plain text is learned", name=printable(file)))
        notices += part.notices(printable(file))
    if len(notices) > _MOST_NOTICES:
        hidden = len(notices) - _MOST_NOTICES
        notices[_MOST_NOTICES:] = [tr("... and {count:,} more notices like these", count=hidden)]
    return Source(
        name=name_of(paths),
        origin=_listed(paths),
        paths=tuple(files),
        text=text,
        n_train=read.n_train,
        held_out=read.held_out,
        encoding=", ".join(dict.fromkeys(part.encoding for part in parts)),
        notices=tuple(notices),
        how=how,
        arrangement=arrangement,
        is_marked=is_marked(files, arrangement),
    )


def _listed(paths: Sequence[Path]) -> str:
    names = ", ".join(printable(path) for path in paths[:_MOST_NAMED])
    hidden = len(paths) - _MOST_NAMED
    return tr("{names} and {count:,} more", names=names, count=hidden) if hidden > 0 else names


def _files(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """List the texts in files and folders; say what was passed over."""
    files: list[Path] = []
    skipped: list[str] = []
    for path in paths:
        found = text_files(path)
        files += found
        if os.path.isdir(path):
            skipped += filter(None, [passed_over(path, found)])
    return files, skipped


def default_text(
    folder: Path,
    url: str = TINY_SHAKESPEARE,
    sha256: str = TINY_SHAKESPEARE_SHA256,
    notify: Callable[[str], object] = lambda sentence: None,
    how: Decoding = AS_IT_IS,
    arrangement: Arrangement = AS_THEY_ARE,
) -> Source:
    """Find a text when none is given: input.txt, Tiny Shakespeare, or Python's own reference.

    Before anything that takes time, `notify` is given a sentence about it.

    Raises:
        TextError: the input.txt in `folder` cannot be read, or there is no text at all.
    """
    given = folder / "input.txt"
    if os.path.lexists(given):
        source = read_texts([given], how, arrangement)
        return replace(source, notices=(tr("no text given: using input.txt"), *source.notices))
    try:
        file = _download(url, sha256, notify)
    # requests raises its own kinds of OSError; pooch a ValueError when the hash does not match.
    except (OSError, ValueError) as error:
        return python_reference(
            tr(
                "no text given and Tiny Shakespeare could not be downloaded ({reason}): ",
                reason=type(error).__name__,
            )
        )
    return replace(
        read_texts([file], arrangement=arrangement),
        name="tiny-shakespeare",
        origin=tr("Tiny Shakespeare (downloaded)"),
        notices=(
            tr("no text given: using Tiny Shakespeare, saved as {file}", file=printable(file)),
        ),
    )


def _download(url: str, sha256: str, notify: Callable[[str], object]) -> Path:
    # Imported here because it takes a tenth of a second, and few runs download anything.
    import pooch

    # The notices report what happened; pooch would report it a second time.
    pooch.get_logger().setLevel(logging.CRITICAL)
    downloader = pooch.HTTPDownloader(timeout=10, progressbar=False)
    cache, name = platformdirs.user_cache_path("zigpt"), "tiny-shakespeare.txt"
    if not (cache / name).exists():
        notify(tr("no text given: looking for Tiny Shakespeare (1 MB) on the network"))
        _require_answer(url)
    return Path(pooch.retrieve(url, f"sha256:{sha256}", name, cache, downloader=downloader))


def _require_answer(url: str) -> None:
    """Check that a server answers soon. Timeouts of sockets count for each address, this for all.

    Raises:
        OSError: it does not, or it refuses.
        ValueError: that is no address.
    """
    import requests  # which pooch needs, too

    errors: list[Exception | None] = []

    def ask() -> None:
        try:
            requests.head(url, timeout=2 * _PATIENCE, allow_redirects=True).raise_for_status()
            errors.append(None)
        except Exception as error:
            errors.append(error)

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    error = errors[0] if errors else TimeoutError()
    if error:
        raise error


def python_reference(why: str = "") -> Source:
    """Use the text that comes with every Python; `why` begins the notice that says so.

    Raises:
        TextError: this Python was installed without it.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise TextError(
            tr("there is no text to learn from"),
            why + tr("this Python lacks its built-in reference"),
            tr("give a text file, or put one into this folder as input.txt"),
        ) from None
    text = _joined([topics[topic] for topic in sorted(topics)])
    return Source(
        name="python-reference",
        origin=tr("the Python language reference (part of every Python)"),
        paths=(),
        text=text,
        n_train=train_length(len(text)),
        held_out=HeldOut("last"),
        encoding="UTF-8",
        notices=(why + tr("using the Python language reference"),),
    )


def _is_large(files: Sequence[Path]) -> bool:
    # A missing file has no size; reading it will report that.
    sizes = [os.path.getsize(file) for file in files if os.path.isfile(file)]
    # How long a compressed text is, shows only when it is read.
    return sum(sizes) > LARGEST_IN_MEMORY or any(map(is_compressed, files))


def _read(files: Sequence[Path], how: Decoding, arrangement: Arrangement) -> ReadText:
    """Read files that fit into memory."""
    reader = DocumentReader(files, how, arrangement)
    text = "".join(reader)
    order = arrange(reader, arrangement)
    if not order.is_as_read:
        text = "".join(text[start:end] for start, end in order.slices.tolist())
    return ReadText(text, order.n_train, order.held_out, tuple(reader.changes))


def _markup(files: Sequence[Path], text: Text) -> str:
    kind = markup_of(text[:_SAMPLE])
    if not kind:
        return ""
    return tr(
        "{name} reads like {kind}: the model will learn its marks as well; export plain text "
        "if you do not want them",
        name=printable(files[0]),
        kind=kind,
    )


def _joined(texts: Sequence[str]) -> str:
    """Join texts, each starting on a line of its own."""
    *others, last = texts
    return "".join(text if text.endswith("\n") else f"{text}\n" for text in others) + last


def name_of(paths: Sequence[Path]) -> str:
    """Turn the first path into a name that a folder can have on any system."""
    # Only as absolute paths do "." and ".." have names.
    first = Path(os.path.abspath(paths[0]))
    name = first.name if os.path.isdir(first) else first.stem
    # Composed, because some systems spell "é" as "e" and an accent, which is not a letter.
    safe = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFC", name))
    safe = safe[:_LONGEST_NAME].strip("-.") or "text"
    safe = f"text-{safe}" if _DEVICES.match(safe) else safe
    return safe if len(paths) == 1 else f"{safe}-and-{len(paths) - 1}-more"
