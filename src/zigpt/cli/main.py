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
    EvalOptions,
    ExplainOptions,
    PlanOptions,
    SampleOptions,
    TrainOptions,
)
from zigpt.errors import OutOfMemoryError, UsageError, ZigptError

_COMMANDS: Mapping[str, Callable[..., Any]] = {
    "train": TrainOptions,
    "sample": SampleOptions,
    "eval": EvalOptions,
    "plan": PlanOptions,
    "explain": ExplainOptions,
}


def run_and_exit() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        options = _parse(arguments)
        # Imported only now, so that help and refusals do not wait for torch.
        command = next(name for name, kind in _COMMANDS.items() if type(options) is kind)
        code = import_module(f"zigpt.cli.{command}").run(options)
        sys.stdout.flush()
        return int(code)
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
    """Say in three lines what tyro says in a box."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", panel)
    lines = [line.strip("│╭╮╰╯─ ") for line in plain.splitlines()]
    lines = [line for line in lines if line]
    title, what = [*lines, "", ""][:2]
    near = [line.split()[0] for line in lines[2:] if line.startswith("--")]
    command = arguments[0] if arguments and arguments[0] in _COMMANDS else ""
    meant = f"did you mean {near[0]}? " if near and "Perhaps you meant:" in lines else ""
    return UsageError(
        what or "the command line cannot be read",
        (title or "usage").lower(),
        f"{meant}see " + " ".join(filter(None, ["zigpt", command, "--help"])),
    )


def _translate(error: Exception) -> ZigptError:
    """Tell running out of memory from a mistake of ours."""
    said = str(error).splitlines()[0] if str(error) else ""
    memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if memory or re.search(r"allocate|out of memory", said, re.IGNORECASE):
        return OutOfMemoryError(
            "out of memory",
            said[:200] or "the settings need more than this machine has",
            "use a smaller --batch-size, --block-size or --n-embd, or --preset laptop",
        )
    return ZigptError(
        f"zigpt made a mistake: {type(error).__name__}",
        said[:200] or "no more is known",
        "please report it with what ZIGPT_DEBUG=1 shows",
    )


def _refuse(error: ZigptError) -> int:
    with contextlib.suppress(BrokenPipeError):
        print(f"error: {error}", file=sys.stderr)
    return error.exit_code
