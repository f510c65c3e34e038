"""Documents: where each ends in a text, in which order they are read, which are held out."""

import hashlib
import itertools
import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zigpt.data.arrangement import END, Arrangement
from zigpt.data.conversion import is_converted, plain_text
from zigpt.data.decode import Changes, TextReader, with_lf
from zigpt.data.encodings import AS_IT_IS, Decoding
from zigpt.data.files import BAD_COMPRESSION, is_jsonl, open_text, printable, refuse_reading
from zigpt.errors import TextError
from zigpt.language import tr

_NEAR_A_TENTH = (0.05, 0.2)  # of all characters
_STRETCHES = 10  # of a text that is one document, each with a tenth of its own


class HeldOut(NamedTuple):
    """What of a text is held out for validation."""

    kind: Literal["last", "documents", "tenths", "stretches", "files"]
    number: int = 0  # of documents or stretches

    def sentence(self, files: Sequence[Path]) -> str:
        """Say it; `files` are those that are held out whole."""
        match self.kind:
            case "last":
                return tr("the last tenth")
            case "documents":
                return tr("every tenth of {all:,} documents", all=self.number)
            case "tenths":
                return tr(
                    "from eight to nine tenths of each of {count:,} documents", count=self.number
                )
            case "stretches":
                return tr(
                    "from eight to nine tenths of each of {count} stretches", count=self.number
                )
            case "files":
                return ", ".join(printable(path) for path in files)


class Order(NamedTuple):
    """Slices of what was read, the train split first, and what is held out."""

    slices: NDArray[np.int64]  # (count, 2): start and end
    n_train: int  # characters
    held_out: HeldOut

    @property
    def is_as_read(self) -> bool:
        """Whether there is nothing to move."""
        return len(self.slices) == 1


def is_marked(files: Sequence[Path], arrangement: Arrangement) -> bool:
    """Whether END stands at the end of every document: where they are several."""
    n_files = len(files) - len(arrangement.held_out)
    has_several = n_files > 1 or arrangement.separator is not None or any(map(is_jsonl, files))
    return arrangement.marks_ends and has_several


class DocumentReader:
    """Reads files as one text, piece by piece, once; what it found is complete at the end.

    Raises:
        TextError: while reading: a file cannot be read as text, or has END in it already.
    """

    def __init__(self, files: Sequence[Path], how: Decoding, arrangement: Arrangement) -> None:
        self.changes: list[Changes] = []  # in each file
        self.lengths = array("q")  # of the documents, in characters
        self.n_learned = 0  # documents that are not in files that are held out
        self._files, self._how, self._arrangement = files, how, arrangement
        self._is_marked = is_marked(files, arrangement)

    def __iter__(self) -> Iterator[str]:
        first_held_out = len(self._files) - len(self._arrangement.held_out)
        for number, file in enumerate(self._files):
            length = 0
            for piece in self._whole(file, is_last=number == len(self._files) - 1):
                *ended, rest = piece.split(END) if self._is_marked else [piece]
                for document in ended:
                    self.lengths.append(length + len(document) + 1)
                    length = 0
                length += len(rest)
                yield piece
            if length:
                self.lengths.append(length)
            if number < first_held_out:
                self.n_learned = len(self.lengths)
        separator = self._arrangement.separator
        if self._is_marked and separator is not None and len(self.lengths) == len(self._files):
            raise TextError(
                tr("`separator` {separator!r:.40} divides nothing", separator=separator),
                tr("with it, every file is one document"),
                tr("check how it is written in the text, or leave it out"),
            )
        if not self.n_learned:
            raise TextError(
                tr("{name} is empty", name=printable(self._files[0])),
                tr("there is nothing to learn from"),
                tr("give another text"),
            )

    def _whole(self, file: Path, is_last: bool) -> Iterator[str]:
        """Read a file, up to what keeps it apart from the next one."""
        last = ""
        with open_text(file) as opened:
            try:
                for piece in self._documents(file, opened):
                    yield piece
                    last = piece[-1:] or last
            except BAD_COMPRESSION as error:
                refuse_reading(file, error)
        if self._is_marked and last not in (END, ""):
            yield END
        elif not (self._is_marked or is_last or last == "\n"):
            yield "\n"

    def _documents(self, file: Path, opened: BufferedIOBase) -> Iterator[str]:
        name, how = printable(file), self._how
        if is_converted(file):
            opened, how = plain_text(file), AS_IT_IS
        reader = TextReader(opened, name, how)
        pieces: Iterable[str] = _without_end(reader, name) if self._is_marked else reader
        if self._is_marked and is_jsonl(file):
            pieces = _records(pieces, name)
        elif self._is_marked and self._arrangement.separator is not None:
            pieces = _cut(pieces, self._arrangement.separator)
        yield from pieces
        self.changes.append(reader.changes)


def arrange(reader: DocumentReader, arrangement: Arrangement) -> Order:
    """Decide what of the documents that were read to train on, and in which order."""
    lengths = np.array(reader.lengths, np.int64)
    ends = lengths.cumsum()
    documents = np.stack([ends - lengths, ends], axis=1)
    learned, held_out = documents[: reader.n_learned], documents[reader.n_learned :]
    if arrangement.shuffle is not None:
        learned = learned[_shuffled(len(learned), arrangement.shuffle)]
    if len(held_out):
        what = HeldOut("files", len(arrangement.held_out))
    elif arrangement.validation == "spread" or (
        arrangement.validation == "auto" and len(learned) > 1 and arrangement.marks_ends
    ):
        learned, held_out, what = _spread(learned)
    else:
        learned, held_out = _cut_at(learned, int(lengths.sum()) * 9 // 10)
        what = HeldOut("last")
    n_train = int((learned[:, 1] - learned[:, 0]).sum())
    return Order(_merged(np.concatenate([learned, held_out])), n_train, what)


Slices = NDArray[np.int64]


def _shuffled(count: int, seed: int) -> list[int]:
    """Order by a hash: the same in every version of every library."""
    return sorted(range(count), key=lambda i: hashlib.sha256(f"{seed}/{i}".encode()).digest())


def _spread(documents: Slices) -> tuple[Slices, Slices, HeldOut]:
    """Hold out every tenth document if they come to about a tenth, or else a tenth of each."""
    lengths = documents[:, 1] - documents[:, 0]
    is_held = np.arange(len(documents)) % 10 == 5
    share = lengths[is_held].sum() / lengths.sum()
    if _NEAR_A_TENTH[0] <= share <= _NEAR_A_TENTH[1]:
        what = HeldOut("documents", len(documents))
        return documents[~is_held], documents[is_held], what
    what = HeldOut("tenths", len(documents))
    if len(documents) == 1:
        bounds = documents[0, 0] + lengths[0] * np.arange(_STRETCHES + 1) // _STRETCHES
        documents = np.stack([bounds[:-1], bounds[1:]], axis=1)
        what = HeldOut("stretches", _STRETCHES)
    # Not the last tenth: how documents end is to be learned.
    begins, ends = documents.T
    eight, nine = (begins + (ends - begins) * tenths // 10 for tenths in (8, 9))
    learned = np.stack([begins, eight, nine, ends], axis=1).reshape(-1, 2)
    return learned, np.stack([eight, nine], axis=1), what


def _cut_at(slices: Slices, n_train: int) -> tuple[Slices, Slices]:
    """Divide slices after so many characters, within one of them if need be."""
    before = (slices[:, 1] - slices[:, 0]).cumsum() - (slices[:, 1] - slices[:, 0])
    middles = np.clip(slices[:, 0] + n_train - before, slices[:, 0], slices[:, 1])
    learned = np.stack([slices[:, 0], middles], axis=1)
    return learned, np.stack([middles, slices[:, 1]], axis=1)


def _merged(slices: Slices) -> Slices:
    """Join slices that follow each other, and leave empty ones out."""
    slices = slices[slices[:, 0] < slices[:, 1]]
    is_first = np.append(True, slices[1:, 0] != slices[:-1, 1])[: len(slices)]
    is_last = np.append(is_first[1:], True)[: len(slices)]
    return np.stack([slices[is_first, 0], slices[is_last, 1]], axis=1)


def _without_end(pieces: Iterable[str], name: str) -> Iterator[str]:
    for piece in pieces:
        if END in piece:
            raise _holds_end(name)
        yield piece


def _holds_end(name: str) -> TextError:
    return TextError(
        tr("{name} has {mark} (U+2403) in it", name=name, mark=END),
        tr("zigpt puts it at the end of every document"),
        tr("replace it in the text"),
    )


def _cut(pieces: Iterable[str], separator: str) -> Iterator[str]:
    """Put END in the place of every separator, and after the last document.

    Line breaks that begin a document are left out, and so are empty documents.
    """
    held, is_new = "", True
    for piece in pieces:
        *ended, held = (held + piece).split(separator)
        for text in ended:
            rest = text.lstrip("\n") if is_new else text
            if rest or not is_new:
                yield rest + END
            is_new = True
        ready = max(0, len(held) - len(separator) + 1)  # the rest may begin a separator
        text, held = held[:ready], held[ready:]
        if text := text.lstrip("\n") if is_new else text:
            yield text
            is_new = False
    if text := held.lstrip("\n") if is_new else held + END:
        yield text.removesuffix(END) + END


def _records(pieces: Iterable[str], name: str) -> Iterator[str]:
    """Take the text of each line of JSON."""
    held, number = "", 0
    for piece in itertools.chain(pieces, ["\n"]):
        *lines, held = (held + piece).split("\n")
        for line in lines:
            number += 1
            if line.strip() and (text := _text_of(line, name, number)):
                yield from _without_end([text], name)
                yield END


def _text_of(line: str, name: str, number: int) -> str:
    """Take the text out of a line: a string itself, or the field that has it."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TextError(
            tr("line {number:,} of {name} is not JSON", number=number, name=name),
            tr("it cannot be read from column {column:,} on", column=getattr(error, "colno", 1)),
            tr("mend that line, or rename the file to .txt to learn it as it is"),
        ) from None
    fields = record if isinstance(record, dict) else {"text": record}
    texts = [value for value in fields.values() if isinstance(value, str)]
    text = fields.get("text", texts[0] if len(texts) == 1 else None)
    if not isinstance(text, str):
        raise TextError(
            tr("line {number:,} of {name} has no text", number=number, name=name),
            tr("its field {field} is no string", field='"text"')
            if "text" in fields
            else tr("its fields are {fields}", fields=", ".join(map(repr, fields))),
            tr('each line is a string, or an object with "text"'),
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise TextError(
            tr("line {number:,} of {name} has half a character", number=number, name=name),
            tr("{half} is one half of a surrogate pair", half=half),
            tr("mend that line"),
        ) from None
    return with_lf(text)
