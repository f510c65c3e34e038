"""Files with odd names, and the run folders that are named after them.

The promise: a folder name that works on any system, looks like an option to no shell and like a
command to no terminal; and the folder is in runs/.
"""

import os
import random
import re
import shutil
from pathlib import Path

from stress.report import Report, each_case
from zigpt.data.source import read_texts

ODD_NAMES = (
    "..", "...txt", "-rf", "--run", "CON", "con.txt", "NUL.tar.gz", "Com1.x.txt", "lpt9", "a b",
    " ", "a\nb", "\x1b[31mred\x1b[0m.txt", "\x9b31m", "\u202egnp.txt", "\u2066x", "\u200b", "~",
    "x" * 255, "字" * 83, "\U0001f600" * 63, "é" * 127, "e\u0301" * 60, "İ" * 80, "ﷺ" * 80,
    "*?<>|:\"'\\", "$(touch x)", "`x`", "\udcff\udc80.txt", ".hidden", "a.", "a...", "run.json",
    "\u0130.txt", "#", "%", "שלום", "مرحبا.txt", "नमस्ते", "\u0300", "a\u2028b", "COM¹.txt", "tiny-2",
    "_", "__init__.py",
)  # fmt: skip
_WINDOWS = re.compile(r"(CON|PRN|AUX|NUL|COM[0-9¹²³]|LPT[0-9¹²³])(\..*)?", re.IGNORECASE)


def any_name(choose: random.Random) -> str:
    """Draw a file name that this system allows: no slash, no NUL, at most 255 bytes."""
    pool = ("-.", "CONnul", "a字é \n\x1b\u202e\udcff\u0301", "".join(map(chr, range(1, 0x250))))
    drawn = "".join(
        choose.choice(choose.choice(pool)) for _ in range(choose.choice((1, 4, 40, 90)))
    )
    name = choose.choice((*ODD_NAMES, drawn, drawn, drawn)).replace("/", "")
    while len(os.fsencode(name)) > 255:
        name = name[:-1]
    return name if name.strip(".") else f"{name}x"


def campaign(
    folder: Path, seed: int, cases: int | None = None, seconds: float | None = None
) -> Report:
    """Create a file of each name, and the run folder that a training run would create."""
    report = Report()
    place, runs = folder / "files", folder / "runs"
    for case, choose in each_case(report, seed, cases, seconds):
        name = any_name(choose)
        shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(runs, ignore_errors=True)
        place.mkdir()
        runs.mkdir()
        (place / name).write_text("text")
        derived = read_texts([place / name]).name
        if wrong := wrong_about(f"{derived}-laptop", runs):
            report.failures.append(f"{case} ({name!r}): {wrong}")
        report.count("text" if derived == "text" else "named")
    return report


def wrong_about(name: str, runs: Path) -> str | None:
    """Describe what is wrong with a folder name, if anything."""
    if not re.fullmatch(r"\w[\w.-]*\w", name) or not name.isprintable():
        return f"{name!r} is not made of letters, digits, dots and dashes"
    if _WINDOWS.fullmatch(name):
        return f"{name!r} is a device on Windows"
    (runs / f"{name}-1000").mkdir()
    if os.listdir(runs) != [f"{name}-1000"]:
        return f"{name!r} is found under another name"
    return None
