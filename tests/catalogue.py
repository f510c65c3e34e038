"""The Chinese catalogue, brought up to date with the sentences of the source, or checked.

python -m tests.catalogue          collect new sentences, drop old ones, compile
python -m tests.catalogue --check  change nothing; say what is not up to date
"""

import io
import re
import sys
from datetime import UTC, datetime

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from zigpt.language import DOMAIN, FOLDER

KEYWORDS = {"tr": None, "mark": {1: None, 2: (1, 2)}, "option": (2,)}
FILE = FOLDER / "zh" / "LC_MESSAGES" / f"{DOMAIN}.po"


def collect() -> Catalog:
    """Read the catalogue, with every sentence of the source and no other."""
    sentences = Catalog()
    for _, _, message, _, _ in extract_from_dir(FOLDER.parent, keywords=KEYWORDS):
        sentences.add(message)
    with FILE.open("rb") as file:
        catalogue = read_po(file, locale="zh")
    catalogue.update(sentences, no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    # Dates and names would only make the file differ from day to day, and from hand to hand.
    catalogue.creation_date = catalogue.revision_date = datetime(2026, 1, 1, tzinfo=UTC)
    catalogue.msgid_bugs_address = catalogue.last_translator = catalogue.language_team = "zigpt"
    return catalogue


def faults(catalogue: Catalog) -> list[str]:
    """Name the sentences that are not translated, or with other {values}."""
    found = []
    for message in catalogue:
        english = [message.id] if isinstance(message.id, str) else [*message.id]
        given = message.string or ""
        chinese = [given] if isinstance(given, str) else [*given]
        if english[0] and not all(chinese):
            found.append(f"not translated: {english[0]!r}")
        elif not all(_values(english[0]) <= _values(each) <= _values(*english) for each in chinese):
            found.append(f"other values: {english[0]!r} -> {chinese[0]!r}")
    return found


def _values(*sentences: str) -> set[str]:
    return set(re.findall(r"\{([\w.]+)", " ".join(sentences)))


def files_of(catalogue: Catalog) -> dict[str, bytes]:
    """Make both files, by suffix."""
    po, mo = io.BytesIO(), io.BytesIO()
    write_po(po, catalogue, width=98, no_location=True, sort_output=True)
    write_mo(mo, catalogue)
    return {".po": po.getvalue(), ".mo": mo.getvalue()}


def stale(catalogue: Catalog) -> list[str]:
    """Name the files that are not as they would be written."""
    return [
        f"not up to date: {FILE.with_suffix(suffix).name}"
        for suffix, data in files_of(catalogue).items()
        if FILE.with_suffix(suffix).read_bytes() != data
    ]


def main() -> None:
    catalogue = collect()
    if "--check" not in sys.argv:
        for suffix, data in files_of(catalogue).items():
            FILE.with_suffix(suffix).write_bytes(data)
    if wrong := faults(catalogue) + stale(catalogue):
        sys.exit("\n".join([*wrong, "translate in zigpt.po, then run: make catalogue"]))


if __name__ == "__main__":
    main()
