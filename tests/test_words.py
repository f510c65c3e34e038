"""Words that the project has given up do not come back.

Each pattern has a letter in brackets, so that this file does not contain the word itself.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLACES = (
    "src",
    "tests",
    "stress",
    "docs",
    "examples",
    "v2.py",
    ".github",
    "Makefile",
    "*.md",
    "*.toml",
)
SUFFIXES = {".py", ".js", ".ts", ".html", ".css", ".json", ".md", ".ipynb", ".yml", ".toml"}
# The old names in files of format 1, which are still read.
FORMAT_1 = re.compile(r"tests/golden/|src/zigpt/formats/format_1\.py$")

GIVEN_UP = {
    "evaluate": r"take_loo[k]|looks_sinc[e]|\blooked_a[t]\b|class Loo[k]\b|loo[k]s? at the loss",
    "inspect": r"look_insid[e]",
    "check_stop": r"\bbreath[e]|\bgo_o[n]\b",
    "KVCache": r"empty_memor[y]|optimizer\.memor[y]|\bMemor[y]\(",
    "initialise": r"TrainState\.fres[h]",
    "control, request": r"\bwis[h](es|ed)?\b(?!\.txt)",
    "preflight": r"custod[y]",
    "training_text": r"\bown_tex[t]\b",
    "untrusted_json": r"runs[./]foreig[n]",
    "setup, train, retry": r"cli[./](beginnin[g]|learnin[g]|agai[n])\b",
    "worker, model_cache, ...": r"web[./](des[k]|shel[f]|librar[y]|sit[e]|lookin[g]|insid[e])\b",
    "handlers": r"web[./]question[s]\b",
    "verify, checks": r"\bproof[s]\b",
    "passed": r"\bprove[d]\b(?!`)",
    "given, sentence": r"(?<!unless )\bsai[d]\b",
    "encode_or_refuse, start_ids, redraw": r"def (know[n]|begu[n]|writte[n]|draw[n]|number[s])\(",
    "started": r"\bbegu[n]\b",
    "unknown character": r"strange[r]",
    "validation loss": r"\btest losse[s]\b|best test los[s]|lowest test los[s]",
    "training run": r"\b(a|another|finished|waiting) trainin[g](?! (run|step))\b",
    "resume, continue": r"(?<!What is )\b(g[o]|goe[s]|goin[g]|gon[e]|wen[t]) on\b",
    "start training": r"\b[b]egin(s|ning)? (a|the) training\b",
    "stacked": r"one abov[e] the other",
    "slower": r"\bdeare[r]\b",
    "(write what is meant)": r"whoeve[r] (wishe[s]|reads|wants)",
    "again": r"\bane[w]\b",
    "not finite": r"\b(is|are) n[o] number|that (is|are) non[e]\b",
    "history": r"\bstor[y] of (a|the|this) (run|training)\b",
    "timeline, heatmap, ...": r"\b(momen[t]|ma[p]|newes[t]|wal[k]|word[s]|fiel[d])\.js\b",
    "Train, Predictions": r"panels/(lear[n]|question[s])\.js",
    "训练": r"面板.?学[习]|学[习].?面板",
}
IN_CODE = {"given, sentence"}  # in prose the word is plain English


def files():
    """Every text file of the project that a reader may open."""
    for place in PLACES:
        for path in sorted(ROOT.glob(place)):
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                name = file.relative_to(ROOT).as_posix()
                if file.suffix in SUFFIXES and not FORMAT_1.search(name):
                    yield name, file.read_text(encoding="utf-8")


@pytest.mark.parametrize("today", GIVEN_UP)
def test_a_word_that_was_given_up_is_gone(today):
    pattern = re.compile(GIVEN_UP[today], re.IGNORECASE)
    found = [
        f"{name}:{number}: {match[0]}"
        for name, text in files()
        if today not in IN_CODE or name.endswith((".py", ".js"))
        for number, line in enumerate([name, *text.splitlines()])  # 0: the file's own name
        if (match := pattern.search(line))
    ]
    assert not found, "\n".join([f"write {today} instead of", *found])
