"""Bytes to text: the encoding recognised, line endings made LF, and every change reported.

Files of any size are decoded in the same way, block by block, with a few bytes and counts carried
from one block to the next. This module opens no file.
"""

import codecs
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from zigpt.data.encodings import BLOCK, LATIN_1, recognise
from zigpt.errors import TextError
from zigpt.language import tr

# Every byte that a text in UTF-8 may have, except control characters.
_HARMLESS = bytes(c for c in range(256) if c not in {*range(9), *range(0x0E, 0x20), 0x7F})


@dataclass(frozen=True)
class Decoded:
    """A text with LF line endings and no byte order mark; `notices` report what was changed."""

    text: str
    encoding: str
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Changes:
    """What was changed to make UTF-8 with LF line endings of a file."""

    encoding: str  # what people call it
    is_utf_8: bool
    is_marked: bool  # by a byte order mark, so not guessed
    crlf: int
    cr: int

    def notices(self, name: str) -> tuple[str, ...]:
        """Report the changes to the file of this name, one line each."""
        found, given = [], {"name": name, "encoding": self.encoding}
        if not self.is_utf_8 and self.is_marked:
            found.append(tr("{name} is {encoding}, not UTF-8", **given))
        elif not self.is_utf_8:
            found.append(
                tr("{name} is {encoding}, not UTF-8: check that it reads correctly", **given)
            )
        counts = ((self.crlf, "CRLF"), (self.cr, "CR"))
        if changed := [f"{count:,} {kind}" for count, kind in counts if count]:
            endings = tr(" and ").join(changed)
            found.append(
                tr("{name}: {endings} line endings converted to LF", name=name, endings=endings)
            )
        return tuple(found)


def with_lf(text: str) -> str:
    """Make every line ending LF."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def decode(data: bytes, name: str) -> Decoded:
    """Read `data` as text, which messages call `name`.

    Raises:
        TextError: it is empty, binary, damaged or in an encoding that is not recognised.
    """
    reader = TextReader(io.BytesIO(data), name)
    text = "".join(reader)
    return Decoded(text, reader.encoding.label, reader.changes.notices(name))


class TextReader:
    """The text of a file, piece by piece, to be read once; messages call it `name`.

    Only when it has been read to the end is it certain to be a text, and are `changes` complete.

    Raises:
        TextError: the encoding is not recognised; while reading: empty, binary or damaged.
    """

    def __init__(self, file: io.BufferedIOBase, name: str) -> None:
        self._file, self._name = file, name
        self._length = self._lf = self._crlf = self._cr = self._controls = 0
        self._first_control = (0, 0)  # its code, and its byte offset
        self.encoding = recognise(file) or self._refuse_unrecognised()

    def __iter__(self) -> Iterator[str]:
        for offset, text in self._pieces():
            self._inspect(text, offset)
            self._length += len(text)
            if "\r" in text:
                crlf = text.count("\r\n")
                self._crlf += crlf
                self._cr += text.count("\r") - crlf
            yield with_lf(text)
        if not self._length:
            raise TextError(
                tr("{name} is empty", name=self._name),
                tr("there is nothing to learn from"),
                tr("give another text"),
            )
        # Old texts contain a stray control character or two; binary files are full of them.
        if self._controls > self._length / 100:
            self._refuse_binary()

    @property
    def changes(self) -> Changes:
        """What was changed in the text so far."""
        label, codec, mark = self.encoding
        return Changes(label, codec == "utf-8", bool(mark), self._crlf, self._cr)

    def _pieces(self) -> Iterator[tuple[int, str]]:
        """Decode block by block, and give each piece of text with the byte offset of its start."""
        decoder = codecs.getincrementaldecoder(self.encoding.codec)()
        offset = len(self.encoding.mark)  # of the first byte that no piece has yet
        self._file.seek(offset)
        held = ""  # a CR at the end of a block: its LF may be the first of the next
        more = True
        while more:
            block = self._file.read(BLOCK)
            more = bool(block)
            pending = len(decoder.getstate()[0])  # bytes of a character that the last block cut
            size_held = len(held.encode(self.encoding.codec))
            try:
                text = held + decoder.decode(block, final=not more)
            except UnicodeDecodeError as error:
                good = error.object[: error.start].decode(self.encoding.codec, "replace")
                yield offset - size_held, held + good  # a NUL in it is reported first
                raise self._damaged(error, offset) from None
            next_held = "\r" if more and text.endswith("\r") else ""
            yield offset - size_held, text.removesuffix(next_held)
            held = next_held
            offset += pending + len(block) - len(decoder.getstate()[0])

    def _inspect(self, text: str, offset: int) -> None:
        """Count line endings and control characters; refuse a NUL at once."""
        utf_8 = text.encode()
        # Four times as fast as `str.count`, which stops at each of them.
        self._lf += int(np.count_nonzero(np.frombuffer(utf_8, np.uint8) == ord("\n")))
        controls = utf_8.translate(None, delete=_HARMLESS)
        if not controls:
            return
        control = 0 if 0 in controls else controls[0]
        if control == 0 or not self._controls:
            before = text[: text.index(chr(control))].encode(self.encoding.codec)
            self._first_control = control, offset + len(before)
        self._controls += len(controls)
        if control == 0:
            self._refuse_binary()

    def _refuse_binary(self) -> None:
        control, offset = self._first_control
        raise TextError(
            tr("{name} is not a text file", name=self._name),
            tr("control character 0x{code:02X} at byte offset {at:,}", code=control, at=offset),
            tr("give a plain text file; export a document as plain text first"),
        )

    def _refuse_unrecognised(self) -> NoReturn:
        self.encoding = LATIN_1  # it has a character for every byte
        for _ in self:
            pass
        raise TextError(
            tr("the encoding of {name} is not recognised", name=self._name),
            tr("it does not read like UTF-8, UTF-16, GB18030, Big5 or Latin-1"),
            tr("open it in an editor that displays it correctly and save it as UTF-8"),
        )

    def _damaged(self, error: UnicodeDecodeError, offset: int) -> TextError:
        """Name the byte and its line; the decoder's input begins at `offset`."""
        return TextError(
            tr(
                "{name} is damaged: it looks like {encoding} but is not quite",
                name=self._name,
                encoding=self.encoding.label,
            ),
            tr(
                "byte 0x{byte:02X} at offset {at:,} (line {line:,}) does not fit",
                byte=error.object[error.start],
                at=offset + error.start,
                line=1 + self._lf + self._cr,
            ),
            tr("repair that line in an editor, or save the text again as UTF-8"),
        )
