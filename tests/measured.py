"""The measured numbers of both READMEs: written from docs/measured.json, or checked.

    python -m tests.measured

Each README has places like `<!-- speed -->`, which end with `<!-- /speed -->`; what is between them
is made here. Nothing else in a README is a measured number.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
READMES = {"en": ROOT / "README.md", "zh": ROOT / "README.zh-CN.md"}
PEERS = ("zigpt", "nanoGPT", "Hugging Face")
RUNGS = ("uniform", "unigram", "bigram", "5-gram", "zigpt")


def filled(language: str) -> str:
    """Return a README with everything measured put in its place."""
    text = READMES[language].read_text(encoding="utf-8")
    measured = json.loads((ROOT / "docs" / "measured.json").read_text(encoding="utf-8"))
    parts = {
        "speed": speed(measured["speed"], language),
        "losses": losses(measured["losses"], language),
        "samples": samples(measured["samples"][language], language),
    }
    for name, lines in parts.items():
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        assert place.search(text), f"{READMES[language].name} has no place for {name}"
        inside = "\n".join(lines) + "\n"
        text = place.sub(lambda found, inside=inside: found[1] + inside + found[2], text)
    return text


def speed(part: dict, language: str) -> list[str]:
    """Compare with the peers: what is missing was not measured, or does not exist."""
    rows = [
        [row[language], *(each(row.get(peer, ""), language) for peer in PEERS)]
        for row in part["rows"]
    ]
    return [*table(["", *PEERS], rows), "", part[language]]


def losses(part: dict, language: str) -> list[str]:
    """Show what to expect, text by text."""
    rows = [
        [row[language], *(f"{row[rung]:.2f}" for rung in RUNGS), each(row["after"], language)]
        for row in part["rows"]
    ]
    return table([part[language], *RUNGS, {"en": "after", "zh": "训练量"}[language]], rows)


def samples(part: list[dict], language: str) -> list[str]:
    """Show what the model wrote at some steps."""
    titles = {"en": ["steps", "loss", "writes"], "zh": ["步数", "损失", "续写"]}[language]
    rows = [[f"{row['step']:,}", f"{row['loss']:.2f}", row["text"]] for row in part]
    return table(titles, rows)


def each(cell: str | dict, language: str) -> str:
    """Read a cell that may be different in each language."""
    return cell if isinstance(cell, str) else cell[language]


def table(titles: list[str], rows: list[list[str]]) -> list[str]:
    """Lay out a table of Markdown: numbers to the right."""
    right = [all(re.match(r"[\d,.]*$", row[i]) for row in rows) for i in range(len(titles))]
    lines = [titles, ["---:" if is_right else "---" for is_right in right], *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def main() -> None:
    for language, path in READMES.items():
        path.write_text(filled(language), encoding="utf-8")


if __name__ == "__main__":
    main()
