"""`zigpt sample --interactive`: one prompt after another, typed at a terminal."""

import contextlib
import io
import sys
from collections.abc import Callable
from importlib import import_module

from zigpt.cli.terminal import harmless
from zigpt.errors import UsageError, VocabularyError
from zigpt.language import tr


def require_terminal() -> None:
    """Check that somebody can type prompts and read what comes of them.

    Raises:
        UsageError: standard input or output is a file or a pipe.
    """
    for name in ("stdin", "stdout"):
        stream = getattr(sys, name)
        if not (stream and stream.isatty()):
            raise UsageError(
                tr("--interactive needs a terminal"),
                tr("{stream} is a file or a pipe here", stream=name),
                tr("leave --interactive out; --prompt-file - reads a prompt from a pipe"),
            )


def continue_each(write: Callable[[str], None]) -> None:
    """Call `write` with each line that is typed; an empty one, or Ctrl-D, is the end.

    Ctrl-C stops the text that is being written, or drops the line that is being typed.
    """
    with contextlib.suppress(ImportError):  # Windows does this by itself
        import_module("readline")  # from now on, `input` edits lines and remembers them
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # what is not in the terminal's encoding
    print(tr("Type a prompt. Ctrl-C stops a text; an empty line or Ctrl-D ends."), file=sys.stderr)
    while True:
        try:
            prompt = input("> ")
            if not prompt:
                return
            write(prompt)
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()
        except VocabularyError as error:
            print(harmless(error.what), file=sys.stderr)
