"""Text made safe for a terminal: its control characters are shown, not obeyed."""

import sys

from zigpt.language import tr

# Control characters move the cursor, rename windows and fill the clipboard; the others reorder a
# line or break it. Tab and line feed stay.
_UNSAFE = (
    *(c for c in range(0x20) if chr(c) not in "\t\n"),
    *range(0x7F, 0xA0),
    *(0x061C, 0x200E, 0x200F, 0x2028, 0x2029),
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
)
_ESCAPES = {c: f"\\u{c:04x}" for c in _UNSAFE}  # JSON's own, so that JSON stays JSON


def harmless(text: str) -> str:
    """Replace what a terminal would obey by a readable escape: ESC by \\u001b."""
    return text.translate(_ESCAPES)


def note(sentence: str) -> None:
    """Tell something on stderr, where it is no part of what a command prints."""
    print(harmless(tr("note: {notice}", notice=sentence)), file=sys.stderr)


def write_out(text: str) -> None:
    """Write to stdout at once: unchanged into a file or pipe, escaped on a terminal."""
    sys.stdout.write(harmless(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()
