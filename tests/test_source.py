import bz2
import gzip
import hashlib
import logging
import lzma
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import platformdirs
import pooch
import pytest

from tests.runs import SMALL
from tests.texts import story
from zigpt.data.arrangement import Arrangement
from zigpt.data.batches import train_length
from zigpt.data.documents import HeldOut
from zigpt.data.markup import markup_of
from zigpt.data.source import Source, default_text, read_texts
from zigpt.errors import TextError

PLAY = b"KEEPER.\nThe lamp is lit, and not a ship in sight.\n"
PLAY_SHA256 = hashlib.sha256(PLAY).hexdigest()


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(*paths: Path) -> tuple[str, str, str]:
    with pytest.raises(TextError) as caught:
        read_texts(paths)
    return caught.value.what, caught.value.why, caught.value.fix


def source_of(text: str) -> Source:
    last = HeldOut("last")
    return Source("", "", (), text, train_length(len(text)), last, "UTF-8", ())


def test_one_file_is_read_as_it_is(tmp_path: Path) -> None:
    book = write(tmp_path / "book.txt", "一 page\nno line end")
    assert read_texts([book]) == Source(
        name="book",
        origin=str(book),
        paths=(book,),
        text="一 page\nno line end",
        n_train=16,
        held_out=HeldOut("last"),
        encoding="UTF-8",
        notices=(),
    )


def test_the_fingerprint_is_that_of_the_text_in_utf_8_however_it_was_stored(tmp_path: Path) -> None:
    stored = [
        write(tmp_path / codec, "灯塔的光\n".encode(codec)) for codec in ("utf-8-sig", "utf-16")
    ]
    expected = hashlib.sha256("灯塔的光\n".encode()).hexdigest()
    assert {read_texts([path]).sha256 for path in stored} == {expected}
    assert source_of("another").sha256 != expected


def test_several_files_are_joined_in_the_order_given_each_as_a_document(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "b.txt", "first"),
        write(tmp_path / "a.txt", "second\n"),
        write(tmp_path / "c.txt", "third"),
    ]
    source = read_texts(paths, arrangement=Arrangement("last"))
    assert source.text == "first␃second\n␃third␃"
    assert source.paths == tuple(paths)
    assert source.origin == ", ".join(map(str, paths))
    assert source.name == "b-and-2-more"


def test_a_folder_stands_for_its_visible_txt_files_sorted_by_path(tmp_path: Path) -> None:
    folder = tmp_path / "poems"
    expected = (
        write(folder / "1" / "z.txt", "one"),
        write(folder / "2.TXT", "two"),
        write(folder / "3.txt", "three"),
    )
    for unwanted in ("notes.md", "x.py", ".hidden.txt", ".git/a.txt", "1/.cache/a.txt"):
        write(folder / unwanted, "unwanted")
    source = read_texts([folder], arrangement=Arrangement("last"))
    assert source.paths == expected
    assert source.text == "one␃two␃three␃"
    assert (source.name, source.origin) == ("poems", str(folder))


def test_a_folder_without_txt_stands_for_its_md_files(tmp_path: Path) -> None:
    pages = write(tmp_path / "docs" / "page.md", "# Page"), write(tmp_path / "docs" / "x.rst", "x")
    assert read_texts([tmp_path]).paths == pages[:1]


def test_a_folder_without_texts_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "photo.png", "no")
    assert refusal(tmp_path) == (
        f"{tmp_path} contains no text",
        "there is no .txt, .md or .jsonl file in it or its subfolders, nor a page or book",
        "give another folder, or the files themselves",
    )


def test_every_encoding_is_listed_once_and_every_notice_names_its_file(tmp_path: Path) -> None:
    chinese = "老人每天早上都在河边钓鱼，傍晚才慢慢走回家。\n"
    paths = [
        write(tmp_path / "1.txt", chinese),
        write(tmp_path / "2.txt", chinese.encode("gb18030")),
        write(tmp_path / "3.txt", chinese),
        write(tmp_path / "4.txt", chinese.replace("\n", "\r\n")),
    ]
    source = read_texts([tmp_path])
    assert sorted(source.text) == sorted(f"{chinese}␃" * 4)
    assert source.encoding == "UTF-8, GB18030"
    assert source.notices == (
        f"{paths[1]} is GB18030, not UTF-8: check that it reads correctly",
        f"{paths[3]}: 1 CRLF line endings converted to LF",
    )


def test_of_many_notices_the_first_eight_are_kept_and_the_rest_counted(tmp_path: Path) -> None:
    for number in range(20):
        write(tmp_path / f"{number:02}.txt", "windows\r\n")
    notices = read_texts([tmp_path]).notices
    assert notices[7] == f"{tmp_path / '07.txt'}: 1 CRLF line endings converted to LF"
    assert notices[8:] == ("... and 12 more notices like these",)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("book.txt", "book"),
        ("红楼梦 上.txt", "红楼梦-上"),
        ("a/b: 50% (v1.2)!.txt", "b-50-v1.2"),
        ("cafe\u0301.txt", "café"),
        ("....txt", "text"),
        ("!!!.txt", "text"),
        ("-.-draft-.-.txt", "draft"),
        ("字" * 80 + ".txt", "字" * 40),
    ],
)
def test_the_name_is_safe_in_a_folder_name(tmp_path: Path, file: str, name: str) -> None:
    source = read_texts([write(tmp_path / file, "text")])
    assert source.name == name
    assert re.fullmatch(r"\w([\w.-]*\w)?", source.name)


def test_the_current_folder_goes_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "my.poems" / "a.txt", "text")
    monkeypatch.chdir(tmp_path / "my.poems")
    source = read_texts([Path(".")])
    assert (source.name, source.origin, source.paths) == ("my.poems", ".", (Path("a.txt"),))


def test_nothing_given_is_refused() -> None:
    assert refusal() == (
        "no text was given",
        "there is nothing to learn from",
        "give a text file",
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "gone.txt") == (
        f"cannot read {tmp_path / 'gone.txt'}",
        "no such file or directory",
        "check the path and its permissions",
    )


@pytest.mark.parametrize("place", ["book.txt", "folder"])
def test_a_file_or_folder_without_permission_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    write(tmp_path / "folder" / "a.txt", "text")
    path = write(tmp_path / "book.txt", "text").with_name(place)

    def denied(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    # Not by chmod: root, as in a container, may read everything.
    monkeypatch.setattr(Path, "open", denied)
    monkeypatch.setattr(os, "scandir", denied)
    assert refusal(path) == (
        f"cannot read {path}",
        "permission denied",
        "check the path and its permissions",
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
@pytest.mark.parametrize("inside_a_folder", [True, False])
def test_a_pipe_is_refused_at_once(tmp_path: Path, inside_a_folder: bool) -> None:
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)
    assert refusal(tmp_path if inside_a_folder else pipe) == (
        f"{pipe} is not a regular file",
        "it is a pipe or a device, which may never end",
        "save the text to a file and give that, or pipe it: … | zigpt train -",
    )


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no such device")
def test_a_device_is_refused_at_once() -> None:
    assert refusal(Path("/dev/zero"))[0] == "/dev/zero is not a regular file"


def test_an_empty_file_in_a_folder_is_passed_over_and_a_dangling_link_named(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "text")
    empty = write(tmp_path / "b.txt", "")
    assert read_texts([tmp_path]).notices == (f"{tmp_path}: passed over: .txt 1",)
    assert refusal(empty)[0] == f"{empty} is empty"
    empty.unlink()
    empty.symlink_to(tmp_path / "gone.txt")
    assert refusal(tmp_path)[0] == f"cannot read {empty}"


def test_an_unprintable_path_is_shown_with_question_marks(tmp_path: Path) -> None:
    odd = tmp_path / "a\nb\udcff.txt"
    assert refusal(odd)[0] == f"cannot read {tmp_path}/a?b?.txt"
    assert read_texts([write(odd, "text")]).origin.encode()
    assert read_texts([odd]).name == "a-b"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda project: folder / project)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return folder / "zigpt"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Serve PLAY on this machine."""
    write(tmp_path / "www" / "play.txt", PLAY)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

    handler = partial(Quiet, directory=tmp_path / "www")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/play.txt"
        server.shutdown()
        thread.join()


# Nothing listens on port 9: a connection is refused at once.
NOWHERE = "http://127.0.0.1:9/play.txt"


def test_input_txt_in_the_folder_is_used_first_and_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "input.txt", "mine\r\n")
    source = default_text(tmp_path, url="never asked")
    assert (source.name, source.text, source.paths) == ("input", "mine\n", (path,))
    assert source.notices == (
        "no text given: using input.txt",
        f"{path}: 1 CRLF line endings converted to LF",
    )


def test_an_unreadable_input_txt_is_refused_rather_than_skipped(tmp_path: Path) -> None:
    (tmp_path / "input.txt").symlink_to(tmp_path / "gone.txt")
    with pytest.raises(TextError, match=r"cannot read .*input\.txt"):
        default_text(tmp_path)


def test_the_download_is_checked_saved_and_reported(tmp_path: Path, cache: Path, url: str) -> None:
    source = default_text(tmp_path, url, PLAY_SHA256)
    assert source == Source(
        name="tiny-shakespeare",
        origin="Tiny Shakespeare (downloaded)",
        paths=(cache / "tiny-shakespeare.txt",),
        text=PLAY.decode(),
        n_train=train_length(len(PLAY.decode())),
        held_out=HeldOut("last"),
        encoding="UTF-8",
        notices=(
            f"no text given: using Tiny Shakespeare, saved as {cache / 'tiny-shakespeare.txt'}",
        ),
    )
    assert source.sha256 == PLAY_SHA256
    assert default_text(tmp_path, NOWHERE, PLAY_SHA256) == source


def test_a_download_with_the_wrong_hash_is_discarded(tmp_path: Path, cache: Path, url: str) -> None:
    source = default_text(tmp_path, url, "0" * 64)
    assert source.name == "python-reference"
    assert source.notices == (
        "no text given and Tiny Shakespeare could not be downloaded (ValueError): "
        "using the Python language reference",
    )
    assert not list(cache.iterdir())


def test_a_server_that_never_answers_is_given_up_and_was_announced(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zigpt.data.source._PATIENCE", 0.3)
    announced: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and says nothing
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/play.txt"
        source = default_text(tmp_path, url, PLAY_SHA256, announced.append)
    assert announced == ["no text given: looking for Tiny Shakespeare (1 MB) on the network"]
    assert source.notices == (
        "no text given and Tiny Shakespeare could not be downloaded (TimeoutError): "
        "using the Python language reference",
    )


@pytest.mark.parametrize("where", [NOWHERE, "no address at all", "missing page"])
def test_without_a_network_the_python_reference_is_used_and_reported(
    tmp_path: Path, cache: Path, url: str, where: str
) -> None:
    source = default_text(tmp_path, where.replace("missing page", f"{url}/missing"), PLAY_SHA256)
    assert source.name == "python-reference"
    assert source.origin == "the Python language reference (part of every Python)"
    assert (source.paths, source.encoding) == ((), "UTF-8")
    assert len(source.text) > 300_000
    assert source.notices[0].startswith(
        "no text given and Tiny Shakespeare could not be downloaded ("
    )
    assert source.notices[0].endswith("): using the Python language reference")


def test_the_downloader_itself_logs_nothing(
    tmp_path: Path, cache: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[logging.LogRecord] = []
    logger = pooch.get_logger()
    monkeypatch.setattr(logger, "level", logging.INFO)
    monkeypatch.setattr(logger, "handle", logged.append)
    default_text(tmp_path, url, PLAY_SHA256)
    assert logged == []


def test_an_unwritable_cache_is_not_a_failure(tmp_path: Path, cache: Path) -> None:
    write(cache.parent, "a file where a folder should be")
    assert default_text(tmp_path, NOWHERE, PLAY_SHA256).name == "python-reference"


def test_a_python_without_its_reference_is_refused_with_a_remedy(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", ModuleType("empty"))
    with pytest.raises(TextError) as caught:
        default_text(tmp_path, NOWHERE, PLAY_SHA256)
    assert caught.value.what == "there is no text to learn from"
    assert caught.value.why == (
        "no text given and Tiny Shakespeare could not be downloaded (ConnectionError): "
        "this Python lacks its built-in reference"
    )
    assert caught.value.fix == "give a text file, or put one into this folder as input.txt"


def test_reading_a_given_text_never_imports_the_downloader() -> None:
    code = "import sys, zigpt.data.source; sys.exit('pooch' in sys.modules)"
    assert os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-c", code) == 0


BOOK = story(5000)


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, bz2.compress])
def test_a_compressed_text_is_the_text_itself(
    compress: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plain = read_texts([write(tmp_path / "book.txt", BOOK)])
    packed = read_texts([write(tmp_path / "book.packed", compress(BOOK.encode()))])
    assert packed.text[:] == plain.text
    assert packed.sha256 == plain.sha256


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, bz2.compress])
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_compressed_text_that_is_damaged_or_cut_is_refused(
    compress: Callable[[bytes], bytes],
    damage: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = bytearray(compress(BOOK.encode()))
    if damage == "cut":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2] ^= 0xFF
    what, why, fix = refusal(write(tmp_path / "book.packed", bytes(data)))
    assert what == f"{tmp_path / 'book.packed'} cannot be decompressed"
    assert why
    assert fix == "it is damaged or incomplete: get it again"


def test_what_a_folder_has_besides_its_texts_is_counted(tmp_path: Path) -> None:
    write(tmp_path / "book.txt", "text")
    for number in range(50):
        write(tmp_path / f"{number}.md", "text")
    for name in ("a.png", "b.png", "c.html", "README", "run.log"):
        write(tmp_path / name, "no")
    (tmp_path / "elsewhere").symlink_to(tmp_path.parent, target_is_directory=True)
    assert read_texts([tmp_path]).notices == (
        f"{tmp_path}: passed over: .md 50, .png 2, .html 1, …, linked folders 1",
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<!DOCTYPE html>\n<html><body><p>One day.</p></body></html>", "HTML"),
        ("<p class='a'>One day</p>\n<p>it <b>rained</b>.</p>\n" * 9, "HTML"),
        ("{\\rtf1\\ansi One day it rained.\\par}", "RTF"),
        ('<?xml version="1.0"?>\n<book>One day</book>', "XML"),
        ('{"text": "One day"}\n{"text": "it rained"}\n' * 9, "JSON"),
        ('[\n  {\n    "text": "One day"\n  }\n]\n', "JSON"),
        ("One day, if x < 3 and y > 4, it rained.\n" * 9, ""),
        ("1984\n1985\n", ""),
        ("", ""),
        (BOOK, ""),
    ],
)
def test_markup_is_told_from_plain_text(text: str, kind: str) -> None:
    assert markup_of(text) == kind


def test_standard_input_is_kept_and_read_again_by_a_resume(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "zigpt", "train"]
    data = gzip.compress(BOOK.encode())
    settings = [*SMALL, "--max-steps", "2", "--run", "run"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    first = subprocess.run(
        [*command, "-", *settings], cwd=tmp_path, input=data, env=environment, capture_output=True
    )
    assert first.returncode == 0, first.stderr
    (kept,) = (tmp_path / "texts").iterdir()
    assert kept.name == f"stdin-{hashlib.sha256(data).hexdigest()[:8]}.txt"
    assert kept.read_bytes() == data
    resumed = subprocess.run(
        [*command, "--resume", "--run", "run", "--max-steps", "3"],
        cwd=tmp_path, env=environment, capture_output=True,
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr


@pytest.mark.parametrize("given", [subprocess.DEVNULL, "closed"])
def test_standard_input_without_a_text_is_refused(given: int | str, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "zigpt", "train", "-"]
    shell = ["sh", "-c", '"$@" <&-', "sh"] if given == "closed" else []
    stdin = subprocess.DEVNULL if given == "closed" else given
    done = subprocess.run(
        [*shell, *words], cwd=tmp_path, stdin=stdin, capture_output=True, text=True
    )
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 3
