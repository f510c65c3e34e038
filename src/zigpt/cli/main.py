"""`zigpt`: parse, call one function, turn refusals into three lines and an exit code."""

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import tyro

from zigpt.cli.options import (
    BenchOptions,
    EvalOptions,
    ExplainOptions,
    PlanOptions,
    SampleOptions,
    TrainOptions,
    VerifyOptions,
    WebOptions,
)
from zigpt.cli.spelling import with_options
from zigpt.cli.terminal import harmless
from zigpt.errors import OutOfMemoryError, StorageError, UsageError, ZigptError

_COMMANDS: Mapping[str, Callable[..., Any]] = {
    "train": TrainOptions,
    "sample": SampleOptions,
    "eval": EvalOptions,
    "verify": VerifyOptions,
    "plan": PlanOptions,
    "explain": ExplainOptions,
    "bench": BenchOptions,
    "web": WebOptions,
}


def run_and_exit() -> None:
    """Run the command line of this process."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell: 2>&-
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")
    code = main(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # it was said already, if anybody can hear it
            stream.flush()
    # Python would take torch apart object by object, for half a second: the system is quicker.
    os._exit(code)


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    return guarded(lambda: _run(arguments))


def guarded(action: Callable[[], int | None]) -> int:
    """Run `action`; if it refuses or fails, say so in three lines. Returns the exit code."""
    try:
        code = action() or 0
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has seen enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ZigptError as error:
        return _refuse(error)
    except Exception as error:
        if os.environ.get("ZIGPT_DEBUG"):
            raise
        return _refuse(_translate(error))


def _run(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    # A thread that waits by spinning answers fast, but where another program wants the same core
    # it keeps the very thread it waits for from running. So it spins briefly, then sleeps
    # (docs/experiments.md, "Waiting threads"). OpenMP reads this once, when torch is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    # Imported only now, so that help and refusals do not wait for torch.
    command = next(name for name, kind in _COMMANDS.items() if type(options) is kind)
    return int(import_module(f"zigpt.cli.{command}").run(options))


def _parse(arguments: Sequence[str]) -> Any:
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.extras.subcommand_cli_from_dict(
                dict(_COMMANDS),
                prog="zigpt",
                description="A character-level GPT: train it, let it write, look inside.",
                args=arguments or ["--help"],
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as exit:
        if not exit.code:
            raise
        raise _usage_error(arguments, complaint.getvalue()) from None


def _usage_error(arguments: Sequence[str], panel: str) -> UsageError:
    """Say in three lines what tyro says in a box of three parts: title, complaint, help."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", panel)
    lines = [line.strip("│╭╮╰╯|+ ") for line in plain.splitlines()]
    title = lines[0].strip("─- ").lower() if lines else "the command line cannot be read"
    body = "\n".join(lines[1:])
    parts = [part for part in re.split("[─-]{3,}", body) if part.strip()]
    complaint = " ".join(parts[0].split()) if parts else ""
    complaint = re.sub(r"'None', |, 'None'", "", complaint)  # how tyro calls leaving it out
    near = re.search(r"Perhaps you meant:\s+(--[\w-]+)", body)
    command = arguments[0] if arguments and arguments[0] in _COMMANDS else ""
    see = " ".join(filter(None, ["see zigpt", command, "--help"]))
    # tyro shows the value in a list, Python's own conversions show it last.
    if wrong := re.match(r"Error parsing (\S+):.*?(?:from \[|: )(['\"].*['\"])", complaint):
        complaint, title = f"{wrong[1]} cannot be {wrong[2]}", "it is not of the expected kind"
    fix = f"did you mean {near[1]}? {see}" if near and near[1] not in complaint else see
    return UsageError(complaint or title, title, fix)


def _translate(error: Exception) -> ZigptError:
    """Tell a refusal of the machine from a mistake of ours."""
    said = str(error).splitlines()[0] if str(error) else ""
    if isinstance(error, OSError):
        return StorageError(
            f"the operating system refused: {said[:200]}",
            error.strerror or type(error).__name__,
            "check the path, its permissions and the free space",
        )
    memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    # The last is how a library says that it cannot even be loaded.
    if memory or re.search(r"allocate|out of memory|failed to map segment", said, re.IGNORECASE):
        return OutOfMemoryError(
            "out of memory",
            said[:200] or "the settings need more than this machine has",
            "use a smaller --batch-size, --block-size or --n-embd (to write: --count or --chars); "
            "what was saved before is intact",
        )
    return ZigptError(
        f"zigpt made a mistake: {type(error).__name__}",
        said[:200] or "no more is known",
        "please report it with what ZIGPT_DEBUG=1 shows",
    )


def _refuse(error: ZigptError) -> int:
    with contextlib.suppress(OSError):  # the reader has gone, or its disk is full
        print(harmless(f"error: {with_options(str(error))}"), file=sys.stderr)
    return error.exit_code
