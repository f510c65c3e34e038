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

# Every byte that a text in UTF-8 may have, except control characters.
_HARMLESS = bytes(c for c in range(256) if c not in {*range(9), *range(0x0E, 0x20), 0x7F})


@dataclass(frozen=True)
class Decoded:
    """A text with LF line endings and no byte order mark; `notices` report what was changed."""

    text: str
    encoding: str
    notices: tuple[str, ...]


def decode(data: bytes, name: str) -> Decoded:
    """Read `data` as text, which messages call `name`.

    Raises:
        TextError: it is empty, binary, damaged or in an encoding that is not recognised.
    """
    reader = TextReader(io.BytesIO(data), name)
    return Decoded("".join(reader), reader.encoding.label, reader.notices)


class TextReader:
    """The text of a file, piece by piece, to be read once; messages call it `name`.

    Only when it has been read to the end is it certain to be a text, and are `notices` complete.

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
                text = text.replace("\r\n", "\n").replace("\r", "\n")
            yield text
        if not self._length:
            raise TextError(
                f"{self._name} is empty", "there is nothing to learn from", "give another text"
            )
        # Old texts contain a stray control character or two; binary files are full of them.
        if self._controls > self._length / 100:
            self._refuse_binary()

    @property
    def notices(self) -> tuple[str, ...]:
        """What was changed in the text so far; each notice begins with the name."""
        notices = []
        if self.encoding.codec != "utf-8":
            advice = "" if self.encoding.mark else ": check that it reads correctly"
            notices.append(f"{self._name} is {self.encoding.label}, not UTF-8{advice}")
        counts = ((self._crlf, "CRLF"), (self._cr, "CR"))
        if changed := " and ".join(f"{count:,} {kind}" for count, kind in counts if count):
            notices.append(f"{self._name}: {changed} line endings converted to LF")
        return tuple(notices)

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
            f"{self._name} is not a text file",
            f"control character 0x{control:02X} at byte offset {offset:,}",
            "give a plain text file; export a document as plain text first",
        )

    def _refuse_unrecognised(self) -> NoReturn:
        self.encoding = LATIN_1  # it has a character for every byte
        for _ in self:
            pass
        raise TextError(
            f"the encoding of {self._name} is not recognised",
            "it does not read like UTF-8, UTF-16, GB18030, Big5 or Latin-1",
            "open it in an editor that displays it correctly and save it as UTF-8",
        )

    def _damaged(self, error: UnicodeDecodeError, offset: int) -> TextError:
        """Name the byte and its line; the decoder's input begins at `offset`."""
        byte, line = error.object[error.start], 1 + self._lf + self._cr
        return TextError(
            f"{self._name} is damaged: it looks like {self.encoding.label} but is not quite",
            f"byte 0x{byte:02X} at offset {offset + error.start:,} (line {line:,}) does not fit",
            "repair that line in an editor, or save the text again as UTF-8",
        )
