"""What a terminal may be shown: a text may hold characters that it takes for commands."""

import sys

# ESC and its kin move the cursor, rename windows and fill the clipboard; the others show a line
# in another order than it is read in, or break it. Tab and line feed are meant.
_COMMANDS = (
    *(c for c in range(0x20) if chr(c) not in "\t\n"),
    *range(0x7F, 0xA0),
    *(0x061C, 0x200E, 0x200F, 0x2028, 0x2029),
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
)
_ESCAPES = {c: f"\\u{c:04x}" for c in _COMMANDS}  # as in JSON, which thus stays JSON


def harmless(text: str) -> str:
    """Write what a terminal would obey as an escape that people can read: ESC as \\u001b."""
    return text.translate(_ESCAPES)


def write_out(text: str) -> None:
    """Write to stdout at once: as it is into a file or pipe, harmless on a terminal."""
    sys.stdout.write(harmless(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()
