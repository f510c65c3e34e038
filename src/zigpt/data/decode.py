"""Bytes to text: the encoding recognised, line endings made LF, and every change reported.

Files of any size are decoded in the same way, block by block, with a few bytes and counts carried
from one block to the next. This module opens no file.
"""

import codecs
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from zigpt.data.encodings import AS_IT_IS, MARKED, UTF_8, Decoding, Encoding, named
from zigpt.data.recognition import BLOCK, recognise
from zigpt.errors import TextError
from zigpt.language import tr

_MOST_TOLD = 10  # damaged places
_MOST_COUNTED = 10_000  # of them; then it is no damage, but another encoding
_ONE_BYTE_EACH = Encoding("Latin-1", "latin-1")  # it has a character for every byte
# What decoders say of a file that ends within a character.
_CUT = ("unexpected end of data", "incomplete multibyte sequence", "truncated data")
# Every byte that a text in UTF-8 may have, except control characters.
_HARMLESS = bytes(c for c in range(256) if c not in {*range(9), *range(0x0E, 0x20), 0x7F})


@dataclass(frozen=True)
class Decoded:
    """A text with LF line endings and no byte order mark; `notices` report what was changed."""

    text: str
    changes: "Changes"
    name: str

    @property
    def encoding(self) -> str:
        """What people call its encoding."""
        return self.changes.encoding

    @property
    def notices(self) -> tuple[str, ...]:
        """What was changed, one line each."""
        return self.changes.notices(self.name)


@dataclass(frozen=True)
class Changes:
    """What was changed to make UTF-8 with LF line endings of a file."""

    encoding: str  # what people call it
    is_utf_8: bool
    is_marked: bool  # by a byte order mark, so not guessed
    crlf: int
    cr: int
    damaged: int = 0  # places: replaced or dropped
    places: tuple[str, ...] = ()  # the first of them
    is_cut: bool = False  # within its last character

    def notices(self, name: str) -> tuple[str, ...]:
        """Report the changes to the file of this name, one line each."""
        found, given = [], {"name": name, "encoding": self.encoding}
        if not self.is_utf_8 and self.is_marked:
            found.append(tr("{name} is {encoding}, not UTF-8", **given))
        elif not self.is_utf_8:
            found.append(
                tr("{name} is {encoding}, not UTF-8: check that it reads correctly", **given)
            )
        if self.damaged:
            places = ", ".join(self.places)
            if len(self.places) < self.damaged:
                places += ", …"
            found.append(
                tr(
                    "{name}: damaged places replaced or left out: {count:,} ({places})",
                    name=name,
                    count=self.damaged,
                    places=places,
                )
            )
        if self.is_cut:
            found.append(tr("{name} ends within a character, which is left out", name=name))
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


def decode(data: bytes, name: str, how: Decoding = AS_IT_IS) -> Decoded:
    """Read `data` as text, which messages call `name`.

    Raises:
        TextError: it is empty, binary, damaged or in an encoding that is not recognised.
    """
    reader = TextReader(io.BytesIO(data), name, how)
    text = "".join(reader)
    return Decoded(text, reader.changes, name)


class TextReader:
    """The text of a file, piece by piece, to be read once; messages call it `name`.

    Only when it has been read to the end is it certain to be a text, and are `changes` complete.

    Raises:
        TextError: the encoding is not recognised; while reading: empty, binary or damaged.
    """

    def __init__(self, file: io.BufferedIOBase, name: str, how: Decoding = AS_IT_IS) -> None:
        self._file, self._name, self._how = file, name, how
        self._length = self._lf = self._crlf = self._cr = self._controls = 0
        self._first_control = (0, 0)  # its code, and its byte offset
        self._damaged = 0
        self._places: list[str] = []
        self._repairs: list[tuple[int, int]] = []  # in this block: where, and how much shorter
        self._is_cut = False
        self._offset = 0  # of the first byte that no piece of text has yet
        codecs.register_error(_HANDLER, _handle)
        self.encoding = _find(file, how) or self._refuse_unrecognised()

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
        if self._damaged and self._how.damaged == "error":
            self._refuse_damaged()

    @property
    def changes(self) -> Changes:
        """What was changed in the text so far."""
        label, codec, byte_mark = self.encoding
        return Changes(
            label,
            is_utf_8=codec == UTF_8.codec,
            is_marked=bool(byte_mark) or self._how.encoding is not None,
            crlf=self._crlf,
            cr=self._cr,
            damaged=self._damaged,
            places=tuple(self._places),
            is_cut=self._is_cut,
        )

    def _pieces(self) -> Iterator[tuple[int, str]]:
        """Decode block by block, and give each piece of text with the byte offset of its start."""
        decoder = codecs.getincrementaldecoder(self.encoding.codec)(_HANDLER)
        self._offset = len(self.encoding.mark)
        self._file.seek(self._offset)
        held = ""  # a CR at the end of a block: its LF may be the first of the next
        more = True
        while more:
            block = self._file.read(BLOCK)
            more = bool(block)
            pending = len(decoder.getstate()[0])  # bytes of a character that the last block cut
            size_held = len(held.encode(self.encoding.codec))
            _decoding.reader = self
            self._repairs.clear()
            text = held + decoder.decode(block, final=not more)
            held = "\r" if more and text.endswith("\r") else ""
            yield self._offset - size_held, text.removesuffix(held)
            self._offset += pending + len(block) - len(decoder.getstate()[0])

    def handle(self, error: UnicodeDecodeError) -> str:
        """Note a damaged place, and give what stands there instead."""
        if error.end == len(error.object) and error.reason in _CUT:
            self._is_cut = True
            return ""
        self._damaged += 1
        if self._damaged > _MOST_COUNTED:
            self._refuse_damaged()
        if len(self._places) < _MOST_TOLD:
            before = error.object[: error.start].decode(self.encoding.codec, "ignore")
            lines = with_lf(before).count("\n")
            place = tr(
                "byte 0x{byte:02X} at offset {at:,} (line {line:,})",
                byte=error.object[error.start],
                at=self._offset + error.start,
                line=1 + self._lf + self._cr + lines,
            )
            self._places.append(place)
        repair = "" if self._how.damaged == "drop" else "\ufffd"
        size = len(repair.encode(self.encoding.codec, "replace"))
        self._repairs.append((self._offset + error.start, error.end - error.start - size))
        return repair

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
            before = text[: text.index(chr(control))].encode(self.encoding.codec, "replace")
            at = offset + len(before)
            for place, surplus in self._repairs:
                at += surplus if place <= at else 0
            self._first_control = control, at
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
        self.encoding = _ONE_BYTE_EACH
        for _ in self:
            pass
        raise TextError(
            tr("the encoding of {name} is not recognised", name=self._name),
            tr("in none of those that zigpt knows it reads like text in one language"),
            tr(
                "name its `encoding`, such as cp1250, or open it in an editor that displays it "
                "correctly and save it as UTF-8"
            ),
        )

    def _refuse_damaged(self) -> NoReturn:
        places = ", ".join(self._places)
        hidden = self._damaged - len(self._places)
        if self._damaged > _MOST_COUNTED:
            places = tr("{places} and many more", places=places)
        elif hidden:
            places = tr("{places} and {count:,} more", places=places, count=hidden)
        raise TextError(
            tr(
                "{name} is damaged: it looks like {encoding} but is not quite",
                name=self._name,
                encoding=self.encoding.label,
            ),
            tr("these do not fit: {places}", places=places),
            tr(
                "repair it in an editor, or read on with `damaged` replace or drop; in another "
                "encoding, name it as `encoding`"
            ),
        )


def _find(file: io.BufferedIOBase, how: Decoding) -> Encoding | None:
    if how.encoding is None:
        return recognise(file)
    given = named(how.encoding)
    file.seek(0)
    head = file.read(4)
    for encoding in MARKED:  # the mark is no part of the text
        if head.startswith(encoding.mark) and encoding.codec == given.codec:
            return encoding
    return given


_HANDLER = "zigpt"
_decoding = threading.local()  # the reader that decodes now


def _handle(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    reader: TextReader = _decoding.reader
    return reader.handle(error), error.end
