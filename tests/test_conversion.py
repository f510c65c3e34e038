"""Plain text out of real files of other programs, and what is told where that fails."""

import sys
import zipfile
from pathlib import Path

import docx
import pytest
from matplotlib.figure import Figure

from tests.runs import refusal
from tests.texts import story
from zigpt.data import files as files_module
from zigpt.data.conversion import is_converted, plain_text
from zigpt.data.source import read_texts
from zigpt.errors import TextError

PAGE = """<!DOCTYPE html><html><head><meta charset="{codec}"><title>no</title>
<script>if (a < b) {{}}</script><style>p {{}}</style></head>
<body><h1>一 One</h1><p>a line
  that wraps, <b>bold</b></p><div>two<br>three</div></body></html>"""

READ = "一 One\n\na line that wraps, bold\n\ntwo\nthree\n"


def html(path: Path, codec: str = "utf-8") -> None:
    path.write_bytes(PAGE.format(codec=codec).encode(codec))


def word(path: Path) -> None:
    document = docx.Document()
    document.add_heading("一 One", 1)
    document.add_paragraph("a line")
    cells = document.add_table(1, 2).rows[0].cells
    cells[0].text, cells[1].text = "two", "三"
    document.add_paragraph("the end")
    document.save(str(path))


def epub(path: Path) -> None:
    """Its chapters do not lie in the order of the spine, and one has a space in its name."""
    package = """<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf"><manifest>
      <item id="b" href="text/two%20.xhtml"/><item id="a" href="one.xhtml"/></manifest>
      <spine><itemref idref="a"/><itemref idref="b"/></spine></package>"""
    container = """<?xml version="1.0"?>
      <container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
      <rootfile full-path="OEBPS/content.opf"/></rootfiles></container>"""
    chapter = '<?xml version="1.0" encoding="UTF-8"?><html xmlns="http://www.w3.org/1999/xhtml">'
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("META-INF/container.xml", container)
        book.writestr("OEBPS/content.opf", package)
        book.writestr("OEBPS/text/two .xhtml", f"{chapter}<body><p>二 two</p></body></html>")
        book.writestr("OEBPS/one.xhtml", f"{chapter}<body><p>一 one</p></body></html>")


def pdf(path: Path, text: str = "a line\nand another") -> None:
    picture = Figure()
    picture.text(0.1, 0.5, text)
    picture.savefig(path)


@pytest.mark.parametrize(
    ("name", "make", "expected"),
    [
        ("a.html", html, READ),
        ("a.HTM", lambda path: html(path, "gb18030"), READ),
        ("a.docx", word, "一 One\na line\ntwo\t三\nthe end\n"),
        ("a.epub", epub, "一 one\n\n二 two\n"),
        ("a.pdf", pdf, "a line\nand another\n"),
    ],
)  # fmt: skip
def test_the_plain_text_of_a_file_is_learned_and_that_is_told(tmp_path, name, make, expected):
    make(tmp_path / name)
    source = read_texts([tmp_path / name])
    assert source.text == expected
    assert source.notices == (f"{tmp_path / name}: its plain text is learned",)
    assert read_texts([tmp_path]).text == expected  # a folder that has nothing else


def test_a_page_that_is_called_text_is_read_as_it_is(tmp_path):
    html(tmp_path / "a.txt")
    source = read_texts([tmp_path / "a.txt"])
    assert source.text == PAGE.format(codec="utf-8")
    assert "reads like HTML" in source.notices[0]


def test_without_the_library_a_page_is_read_with_its_tags(tmp_path, monkeypatch):
    html(tmp_path / "a.html")
    monkeypatch.setattr("zigpt.data.conversion.find_spec", lambda name: None)
    assert not is_converted(tmp_path / "a.html")
    assert "reads like HTML" in read_texts([tmp_path / "a.html"]).notices[0]


@pytest.mark.parametrize(
    ("name", "make", "library"),
    [("a.docx", word, "docx"), ("a.epub", epub, "inscriptis"), ("a.pdf", pdf, "pypdf")],
)
def test_a_library_that_is_missing_is_named(tmp_path, monkeypatch, name, make, library):
    make(tmp_path / name)
    monkeypatch.setitem(sys.modules, library, None)
    code, what, _, fix = refusal("plan", tmp_path / name)
    assert (code, what) == (3, f"{tmp_path / name} cannot be read without {library}")
    assert "pip install 'zigpt[texts]'" in fix


@pytest.mark.parametrize("suffix", ["docx", "epub", "pdf"])
@pytest.mark.parametrize("damage", [lambda data: b"no", lambda data: data[: len(data) // 2]])
def test_a_damaged_file_is_refused_with_the_reason_of_the_library(tmp_path, suffix, damage):
    path = tmp_path / f"a.{suffix}"
    {"docx": word, "epub": epub, "pdf": pdf}[suffix](path)
    path.write_bytes(damage(path.read_bytes()))
    code, what, why, fix = refusal("plan", path)
    assert (code, what) == (3, f"{path} cannot be read as {suffix.upper()}")
    assert why.startswith("it is damaged, or something else (")
    assert "export plain text" in fix


@pytest.mark.parametrize("suffix", ["docx", "epub", "pdf", "html"])
def test_an_empty_file_is_called_empty(tmp_path, suffix):
    (tmp_path / f"a.{suffix}").touch()
    assert refusal("plan", tmp_path / f"a.{suffix}")[::2] == (3, "it is empty")


def test_pages_that_are_pictures_are_no_text(tmp_path):
    pdf(tmp_path / "a.pdf", "")
    assert refusal("plan", tmp_path / "a.pdf")[2] == (
        "there is no text in it; a page may be a picture"
    )


def test_a_missing_book_is_refused_like_a_missing_text(tmp_path):
    path = tmp_path / "a.epub"
    assert refusal("plan", path)[:2] == (3, f"cannot read {path}")
    with pytest.raises(TextError):
        plain_text(path)


class TestZstandard:
    def test_it_is_read_like_the_file_it_was_made_of(self, tmp_path):
        (tmp_path / "a.txt").write_text(story(3000))
        (tmp_path / "a.txt.zst").write_bytes(files_module._zstd.compress(story(3000).encode()))
        plain, packed = (read_texts([tmp_path / name]) for name in ("a.txt", "a.txt.zst"))
        assert plain.sha256 == packed.sha256

    def test_a_damaged_one_is_refused(self, tmp_path):
        packed = files_module._zstd.compress(story(3000).encode())
        (tmp_path / "a.zst").write_bytes(packed[: len(packed) // 2])
        assert refusal("plan", tmp_path / "a.zst")[:2] == (
            3, f"{tmp_path / 'a.zst'} cannot be decompressed"
        )  # fmt: skip

    def test_without_the_library_it_is_named(self, tmp_path, monkeypatch):
        (tmp_path / "a.zst").write_bytes(files_module._zstd.compress(b"text"))
        monkeypatch.setattr(files_module, "_zstd", None)
        code, what, _, fix = refusal("plan", tmp_path / "a.zst")
        assert (code, what) == (3, f"{tmp_path / 'a.zst'} is compressed by Zstandard")
        assert "zstd -dc" in fix
