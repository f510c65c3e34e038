"""Plain text out of web pages, e-books and word processors' files, by libraries of `zigpt[texts]`.

The suffix decides: a page that is called .txt is read as it is, tags and all.
"""

import posixpath
import zipfile
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote

from zigpt.data.files import SUFFIXES_CONVERTED, open_text, printable
from zigpt.errors import TextError
from zigpt.language import tr

_EXTRA = "zigpt[texts]"
_PAGES = (".html", ".htm", ".xhtml")


def is_converted(file: Path) -> bool:
    """Whether a file is read for its plain text; a web page is, if there is a library for it."""
    kind = file.suffix.lower()
    return kind in SUFFIXES_CONVERTED and (
        kind not in _PAGES or find_spec("inscriptis") is not None
    )


def plain_text(file: Path) -> BytesIO:
    """Take the text out of a file, as UTF-8.

    Raises:
        TextError: the file cannot be read, has no text, or a library is missing.
    """
    convert, libraries = _KINDS[file.suffix.lower()]
    _require(libraries, file)
    with open_text(file) as opened:
        try:
            data = opened.read()
            if not data:
                _refuse(file, tr("it is empty"))
            text = convert(BytesIO(data)).strip()
        except (OSError, MemoryError, TextError):
            raise
        except Exception as error:  # these libraries raise all kinds
            detail = (str(error) or type(error).__name__).splitlines()[0].strip("'\"")
            _refuse(file, tr("it is damaged, or something else ({detail})", detail=detail))
    if not text:
        _refuse(file, tr("there is no text in it; a page may be a picture"))
    return BytesIO(text.encode(errors="replace") + b"\n")


def _require(libraries: tuple[str, ...], file: Path) -> None:
    for library in libraries:
        try:
            import_module(library)
        except ImportError:
            raise TextError(
                tr(
                    "{name} cannot be read without {library}", name=printable(file), library=library
                ),
                tr("it is part of what {extra} brings", extra=_EXTRA),
                tr("install it: pip install '{extra}'; or export plain text", extra=_EXTRA),
            ) from None


def _refuse(file: Path, why: str) -> NoReturn:
    raise TextError(
        tr("{name} cannot be read as {kind}", name=printable(file), kind=file.suffix[1:].upper()),
        why,
        tr("open it in its program and export plain text"),
    ) from None


def _html(file: BytesIO) -> str:
    from inscriptis import Inscriptis  # type: ignore[import-untyped]
    from inscriptis.css_profiles import STRICT_CSS_PROFILE  # type: ignore[import-untyped]
    from inscriptis.model.config import ParserConfig  # type: ignore[import-untyped]
    from lxml import html  # type: ignore[import-untyped]

    page = Inscriptis(html.fromstring(file.read()), ParserConfig(STRICT_CSS_PROFILE))
    return str(page.get_text())


def _epub(file: BytesIO) -> str:
    """Join the chapters in the order of the book's spine."""
    with zipfile.ZipFile(file) as book:
        return "\n\n".join(_html(BytesIO(book.read(name))).strip() for name in _chapters(book))


def _chapters(book: zipfile.ZipFile) -> Iterator[str]:
    package = _xml(book, "META-INF/container.xml").find(".//{*}rootfile").get("full-path")
    root = _xml(book, package)
    places = {item.get("id"): item.get("href") for item in root.iterfind(".//{*}item")}
    for item in root.iterfind(".//{*}itemref"):
        href = unquote(places[item.get("idref")])
        yield posixpath.normpath(posixpath.join(posixpath.dirname(package), href))


def _xml(book: zipfile.ZipFile, name: str) -> Any:
    from lxml import etree

    return etree.fromstring(book.read(name), etree.XMLParser(resolve_entities=False))


def _docx(file: BytesIO) -> str:
    """Join paragraphs and rows of tables, a line each."""
    import docx
    from docx.table import Table

    lines = []
    for part in docx.Document(file).iter_inner_content():
        if isinstance(part, Table):
            lines += ["\t".join(cell.text for cell in row.cells) for row in part.rows]
        else:
            lines.append(part.text)
    return "\n".join(lines)


def _pdf(file: BytesIO) -> str:
    import pypdf

    return "\n".join(page.extract_text() for page in pypdf.PdfReader(file).pages)


_Convert = Callable[[BytesIO], str]
_KINDS: dict[str, tuple[_Convert, tuple[str, ...]]] = {
    **dict.fromkeys(_PAGES, (_html, ("inscriptis", "lxml"))),
    ".epub": (_epub, ("inscriptis", "lxml")),
    ".docx": (_docx, ("docx",)),
    ".pdf": (_pdf, ("pypdf",)),
}
