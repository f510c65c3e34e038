"""`zigpt`: parse, call one function, turn refusals into three lines and an exit code."""

import contextlib
import gettext
import io
import os
import re
import sys
from collections.abc import Callable, Sequence

import click

from zigpt.cli.commands import command_line
from zigpt.cli.parser import usage_error
from zigpt.cli.spelling import program, with_options
from zigpt.cli.terminal import harmless
from zigpt.errors import OutOfMemoryError, StorageError, ZigptError, reason
from zigpt.language import DOMAIN, FOLDER, Language, language, speak, tr
from zigpt.machine import granted_processors, no_room_for_libraries
from zigpt.runs.signals import Interrupted
from zigpt.runs.torchrun import leave_code

# How libraries say that memory has ended, and the system that one cannot even be loaded.
_MEMORY = re.compile(r"allocat|out of memory|MemoryError|start new thread", re.IGNORECASE)
_NOT_LOADED = re.compile(r"failed to map segment")


def run_and_exit() -> None:
    """Run the command line of this process."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell: 2>&-
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding if os.environ.get("PYTHONIOENCODING") else "utf-8"
            stream.reconfigure(encoding=encoding, errors="replace")
    code = leave_code(main(sys.argv[1:]))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # reported already, if anyone can read it
            stream.flush()
    # Python would take torch apart object by object, for half a second: the system is quicker.
    os._exit(code)


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    with speak(_language(arguments)):
        return guarded(lambda: _run(arguments))


def guarded(action: Callable[[], int | None]) -> int:
    """Run `action`; if it refuses or fails, say so in three lines. Returns the exit code."""
    try:
        code = action() or 0
        sys.stdout.flush()
        return code
    except Interrupted as stop:
        return stop.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has closed the pipe. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ZigptError as error:
        return _refuse(error)
    except (SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # what libraries written in Rust raise is no Exception
        if os.environ.get("ZIGPT_DEBUG"):
            raise
        return _refuse(_translate(error))


def _run(arguments: Sequence[str]) -> int:
    # A thread that waits by spinning answers fast, but where another program wants the same core
    # it keeps the very thread it waits for from running. So it spins briefly, then sleeps
    # (docs/experiments.md, "Waiting threads"). OpenMP reads this once, when torch is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    if processors := granted_processors():  # torch and NumPy count those of the machine
        os.environ.setdefault("OMP_NUM_THREADS", str(processors))
    # click looks its own sentences up where gettext does by default, and gettext asks LANGUAGE.
    os.environ["LANGUAGE"] = language()
    gettext.bindtextdomain(DOMAIN, str(FOLDER))
    gettext.textdomain(DOMAIN)
    zigpt = command_line()
    try:
        with zigpt.make_context(program(), list(arguments)) as context:
            return int(zigpt.invoke(context))
    except click.exceptions.Exit as end:  # help has been shown
        return end.exit_code
    except click.UsageError as error:
        raise usage_error(error) from None


def _language(arguments: Sequence[str]) -> Language:
    """Find the language before the first word; what a program reads is in English."""
    if "--json" in arguments:
        return "en"
    given = re.search(r"\0--lang[=\0](en|zh)\0", "\0".join(["", *arguments, ""]))
    if given:
        return "zh" if given[1] == "zh" else "en"
    return language()


def _translate(error: BaseException) -> ZigptError:
    """Tell a refusal of the machine from an error of ours."""
    message = str(error).splitlines()[0] if str(error) else ""
    if isinstance(error, OSError):
        return StorageError(
            tr("the operating system refused: {message}", message=message[:200]),
            reason(error),
            tr("check the path, its permissions and the free space"),
        )
    if isinstance(error, ImportError) and _NOT_LOADED.search(message):
        return no_room_for_libraries(message[:200])
    memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if memory or _MEMORY.search(message):
        return OutOfMemoryError(
            tr("out of memory"),
            message[:200] or tr("the settings need more than this machine has"),
            tr(
                "use a smaller --batch-size, --block-size or --n-embd (to write: --count or "
                "--chars); what was saved before is intact"
            ),
        )
    return ZigptError(
        tr("internal error: {kind}", kind=type(error).__name__),
        message[:200] or tr("no details available"),
        tr("please report it with the output of ZIGPT_DEBUG=1"),
    )


def _refuse(error: ZigptError) -> int:
    with contextlib.suppress(OSError):  # the reader has gone, or its disk is full
        refusal = tr("error: {refusal}", refusal=with_options(str(error)))
        print(harmless(refusal), file=sys.stderr)
    return error.exit_code
