"""`zigpt` alone: what to type to do what."""

from pathlib import Path

from zigpt import __version__
from zigpt.cli.layout import column
from zigpt.cli.spelling import command
from zigpt.cli.terminal import harmless
from zigpt.errors import ModelFileError
from zigpt.language import tr
from zigpt.runs.paths import newest_path

_AIM = 30  # terminal cells


def show_tour() -> int:
    """Print the tour, on the newest run if there is one. Returns the exit code."""
    try:
        run: Path | None = newest_path()
    except ModelFileError:
        run = None
    lines = [
        tr(
            "zigpt {version}: a GPT that reads and writes one character at a time.",
            version=__version__,
        ),
        "",
    ]
    aims = [
        (tr("learn a text of your own"), command("train", "book.txt")),
        (tr("learn the default text"), command("train")),
        (tr("see first what it would cost"), command("plan", "book.txt")),
        (tr("start it in the browser"), command("web", "book.txt")),
    ]
    if run:
        lines += [tr("The newest run here is {run}.", run=run), ""]
        aims += [
            (tr("let it write"), command("sample", run)),
            (tr("look inside"), command("web", run)),
            (tr("learn how it works"), command("explain", "model", run)),
            (tr("is it good?"), command("eval", run)),
            (tr("is it sound?"), command("verify", run)),
            (tr("resume it, if it was stopped"), command("train", "--resume", "--run", run)),
        ]
    aims.append((tr("all commands and options"), command("--help")))
    lines += [f"  {column(aim, _AIM)}{typed}" for aim, typed in aims]
    print(harmless("\n".join(lines)))
    return 0
