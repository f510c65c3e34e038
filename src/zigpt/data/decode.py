"""Bytes to text: the encoding recognised, the line ends made one, and nothing done in silence.

Files of any size take the same road, in blocks: what is kept from one block to the next are a few
bytes and counts. This module knows no files but what behaves like one.
"""

import codecs
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from zigpt.data.encodings import BLOCK, LATIN_1, recognise
from zigpt.errors import TextError

# What is not here is a control character; of what lies beyond ASCII, UTF-8 has other bytes.
_HARMLESS = bytes(c for c in range(256) if c not in {*range(9), *range(0x0E, 0x20), 0x7F})


@dataclass(frozen=True)
class Decoded:
    """A text with LF line ends and no byte order mark; `notices` says what was done to it."""

    text: str
    encoding: str
    notices: tuple[str, ...]


def decode(data: bytes, name: str) -> Decoded:
    """Read `data` as text; `name` is what messages call it.

    Raises:
        TextError: it is empty, binary, damaged or in an encoding that is not recognised.
    """
    reader = TextReader(io.BytesIO(data), name)
    return Decoded("".join(reader), reader.encoding.label, reader.notices)


class TextReader:
    """The text of a file, piece by piece; `name` is what messages call it. To be read once.

    Whoever reads to the end knows that it is a text; only then do `notices` tell everything.

    Raises:
        TextError: the encoding is not recognised; while reading: empty, binary or damaged.
    """

    def __init__(self, file: io.BufferedIOBase, name: str) -> None:
        self._file, self._name = file, name
        self._length = self._lf = self._crlf = self._cr = self._controls = 0
        self._first_control = (0, 0)  # which, and at what byte offset
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
        # Old texts hold a stray control character; programs and pictures are full of them.
        if self._controls > self._length / 100:
            self._refuse_binary()

    @property
    def notices(self) -> tuple[str, ...]:
        """What was done to the text so far, each beginning with the name."""
        notices = []
        if self.encoding.codec != "utf-8":
            advice = "" if self.encoding.mark else ": check that the sample below reads right"
            notices.append(f"{self._name} is {self.encoding.label}, not UTF-8{advice}")
        counts = ((self._crlf, "CRLF"), (self._cr, "CR"))
        if said := " and ".join(f"{count:,} {kind}" for count, kind in counts if count):
            notices.append(f"{self._name}: {said} line ends became LF")
        return tuple(notices)

    def _pieces(self) -> Iterator[tuple[int, str]]:
        """Decode block by block; with each piece of text, the byte offset where it begins."""
        decoder = codecs.getincrementaldecoder(self.encoding.codec)()
        offset = len(self.encoding.mark)  # of the first byte that is in no piece yet
        self._file.seek(offset)
        held = ""  # a CR at the end of a block: its LF may be the first of the next
        more = True
        while more:
            block = self._file.read(BLOCK)
            more = bool(block)
            begun = len(decoder.getstate()[0])  # bytes of a character that the last block cut
            size_held = len(held.encode(self.encoding.codec))
            try:
                text = held + decoder.decode(block, final=not more)
            except UnicodeDecodeError as error:
                good = error.object[: error.start].decode(self.encoding.codec, "replace")
                yield offset - size_held, held + good  # a NUL in it is told first
                raise self._damaged(error, offset) from None
            next_held = "\r" if more and text.endswith("\r") else ""
            yield offset - size_held, text.removesuffix(next_held)
            held = next_held
            offset += begun + len(block) - len(decoder.getstate()[0])

    def _inspect(self, text: str, offset: int) -> None:
        """Count line ends and control characters; refuse a NUL at once."""
        utf_8 = text.encode()
        # Four times as fast as `count`, which stops at each of them.
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
            f"{self._name} is not a text",
            f"control character 0x{control:02X} at byte offset {offset:,}",
            "give a plain text file; from a document, export one first",
        )

    def _refuse_unrecognised(self) -> NoReturn:
        self.encoding = LATIN_1  # it has a character for every byte
        for _ in self:
            pass
        raise TextError(
            f"the encoding of {self._name} is not recognised",
            "it does not read like UTF-8, UTF-16, GB18030, Big5 or Latin-1",
            "open it in an editor that shows it right and save it as UTF-8",
        )

    def _damaged(self, error: UnicodeDecodeError, offset: int) -> TextError:
        """Name the byte and its line; what the decoder was given begins at `offset`."""
        byte, line = error.object[error.start], 1 + self._lf + self._cr
        return TextError(
            f"{self._name} is damaged: it looks like {self.encoding.label} but is not quite",
            f"byte 0x{byte:02X} at offset {offset + error.start:,} (line {line:,}) does not fit",
            "repair that line in an editor, or save the text again as UTF-8",
        )
