"""JSON from files of unknown origin: parsed only if the result cannot fill the memory.

A few bytes of JSON become many of Python: `[],` takes 24 times its size. In files that zigpt writes
most of it is one long vocabulary and the paths of the text, so lists and objects can be limited.
"""

import json
from pathlib import Path
from typing import Any

from zigpt.language import tr

LARGEST = 16 << 20  # bytes; all of Unicode takes 3 million, 100,000 file names 6 to 10 million
_MOST_PARTS = 40_000  # lists and objects; a model of 1,000 layers has 36,000


def require_modest(data: bytes) -> None:
    """Check that parsing `data` takes no more memory than a small model does.

    Raises:
        ValueError: it is too large, or made of too many parts.
    """
    if len(data) > LARGEST:
        raise ValueError(tr("its JSON has more than {most:,} bytes", most=LARGEST))
    if data.count(b"[") + data.count(b"{") > _MOST_PARTS:
        raise ValueError(tr("its JSON has more than {most:,} lists and objects", most=_MOST_PARTS))


def parse(data: bytes) -> Any:
    """Parse JSON within the limits.

    Raises:
        ValueError: it is not JSON, too large, or nested too deep.
    """
    require_modest(data)
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError(tr("its JSON is nested too deep")) from None


def read_file(path: Path) -> bytes:
    """Read a file of JSON up to the limit, and one byte more.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return file.read(LARGEST + 1)


def parse_file(path: Path) -> Any:
    """Parse a file of JSON within the limits.

    Raises:
        ValueError: it is not JSON, too large, or nested too deep.
        OSError: it cannot be read.
    """
    return parse(read_file(path))
