"""Encodings by name, and what a person decides about the bytes of a text."""

import codecs
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from zigpt.errors import UsageError
from zigpt.language import tr

Damaged = Literal["error", "replace", "drop"]


class Encoding(NamedTuple):
    """What people call it, what Python calls it, and its byte order mark, if any."""

    label: str
    codec: str
    mark: bytes = b""


UTF_8 = Encoding("UTF-8", "utf-8")
MARKED = (
    Encoding("UTF-8 with BOM", "utf-8", codecs.BOM_UTF8),
    # Before UTF-16: its little-endian mark begins with that of UTF-16.
    Encoding("UTF-32", "utf-32-le", codecs.BOM_UTF32_LE),
    Encoding("UTF-32", "utf-32-be", codecs.BOM_UTF32_BE),
    Encoding("UTF-16", "utf-16-le", codecs.BOM_UTF16_LE),
    Encoding("UTF-16", "utf-16-be", codecs.BOM_UTF16_BE),
    Encoding("GB18030", "gb18030", "\ufeff".encode("gb18030")),
)


@dataclass(frozen=True)
class Decoding:
    """How bytes become text: in a named encoding, or else a recognised one, and what of damage.

    Raises:
        UsageError: there is no encoding of this name, or no such way to treat damage.
    """

    encoding: str | None = None
    damaged: Damaged = "error"  # replace: by U+FFFD; drop: leave out

    def __post_init__(self) -> None:
        if self.encoding is not None:
            named(self.encoding)
        if self.damaged not in get_args(Damaged):
            raise UsageError(
                tr("`{name}` cannot be {value!r:.40}", name="damaged", value=self.damaged),
                tr("it must be one of {choices}", choices=", ".join(get_args(Damaged))),
                tr("try `{name}` {value}", name="damaged", value="replace"),
            )


AS_IT_IS = Decoding()


def named(name: str) -> Encoding:
    """Find the encoding that a person names as Python does: cp1250, euc-kr, shift_jis.

    Raises:
        UsageError: there is none of this name.
    """
    try:
        "".encode(name)  # codecs that are no encodings of text, such as gzip, are refused
        codec = codecs.lookup(name).name
        codecs.getincrementaldecoder(codec)
    except (LookupError, ValueError):
        raise UsageError(
            tr("there is no `encoding` called {name!r:.40}", name=name),
            tr("it must be a name that Python knows"),
            tr("try one such as `encoding` cp1250, euc-kr, shift_jis or koi8-r"),
        ) from None
    return Encoding(name, codec)
