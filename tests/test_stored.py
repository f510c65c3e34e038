"""Large texts: read in blocks, stored as ids on disk, and otherwise the same as small ones."""

import errno
import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import platformdirs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.runs import SMALL
from tests.texts import story
from zigpt import storage
from zigpt.cli.main import main
from zigpt.data import documents, recognition
from zigpt.data import source as source_module
from zigpt.data import stored as stored_module
from zigpt.data import survey as survey_module
from zigpt.data.batches import Corpus
from zigpt.data.decode import decode
from zigpt.data.source import Source, read_texts
from zigpt.data.stored import StoredText, encode
from zigpt.data.survey import advice, survey
from zigpt.errors import StorageError, TextError, VocabularyError
from zigpt.tokenizers.char import CharTokenizer
from zigpt.training import loop as train_module

CHINESE = "老人每天早上都在河边钓鱼，傍晚才慢慢走回家。他说，河里的鱼认得他。\n"
CODECS = ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030", "utf-16-le"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every text is large, blocks are short, and the cache is a folder of this test."""
    monkeypatch.setattr(
        platformdirs, "user_cache_path", lambda project: tmp_path / "cache" / project
    )
    monkeypatch.setattr(source_module, "LARGEST_IN_MEMORY", 0)
    use_blocks(monkeypatch, 64)
    return tmp_path / "cache" / "zigpt"


def use_blocks(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(recognition, "BLOCK", size)
    monkeypatch.setattr(sys.modules["zigpt.data.decode"], "BLOCK", size)


def in_memory(*paths: Path) -> Source:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_module, "LARGEST_IN_MEMORY", 1 << 40)
        use_blocks(patch, 1 << 30)
        return read_texts(paths)


def assert_same(large: Source, small: Source) -> None:
    expected = Corpus.from_text(small.text)
    corpus = Corpus.from_text(large.text)
    assert isinstance(large.text, StoredText)
    assert isinstance(small.text, str)
    assert corpus.tokenizer.vocabulary == expected.tokenizer.vocabulary
    for mine, theirs in ((corpus.train, expected.train), (corpus.validation, expected.validation)):
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)
    assert large.text[:] == small.text
    assert len(large.text) == len(small.text)
    for name in ("name", "origin", "paths", "sha256", "encoding", "notices"):
        assert getattr(large, name) == getattr(small, name)


def book(path: Path, text: str = CHINESE * 20, codec: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(codec))
    return path


@pytest.mark.parametrize("size", [2, 4, 6, 64, 1000])
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("text", [CHINESE * 20, CHINESE.replace("\n", "\r\n") * 20])
def test_a_large_text_is_the_same_as_a_small_one(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, codec: str, text: str
) -> None:
    path = book(tmp_path / "book.txt", text, codec)
    small = in_memory(path)
    use_blocks(monkeypatch, size)
    assert_same(read_texts([path]), small)


def test_plain_ascii_and_a_last_foreign_phrase_are_the_same(cache: Path, tmp_path: Path) -> None:
    for name, text, codec in (
        ("a", story(5000), "ascii"),
        ("b", story(5000) + "café\n", "latin-1"),
        ("c", story(5000) + "“no” – I won’t\n", "cp1252"),
        ("d", story(5000) + "café\n", "utf-8"),
        ("e", story(5000), "utf-16-le"),
    ):
        path = book(tmp_path / name, text, codec)
        assert_same(read_texts([path]), in_memory(path))


def test_files_and_folders_are_joined_in_the_same_way(cache: Path, tmp_path: Path) -> None:
    book(tmp_path / "folder" / "1.txt", CHINESE.strip())
    book(tmp_path / "folder" / "2.txt", CHINESE, "gb18030")
    last = book(tmp_path / "last.txt", "a\r\nb\r\r\n" + "\r" * 63)
    paths = [tmp_path / "folder", last, last, tmp_path / "folder" / "1.txt"]
    assert_same(read_texts(paths), in_memory(*paths))


def outcome(data: bytes, size: int) -> object:
    """Decode these bytes in blocks of this size: the result or the refusal."""
    with pytest.MonkeyPatch.context() as patch:
        use_blocks(patch, size)
        try:
            return decode(data, "book.txt")
        except TextError as error:
            return str(error)


@given(
    st.text(
        st.characters(exclude_categories=["Cs"]) | st.sampled_from("\r\n\r\x1a字𠀀"), max_size=80
    ),
    st.sampled_from([*CODECS, "big5hkscs", "cp1252"]),
    st.integers(1, 5),
)
@example("a\r\n字\r", "utf-16", 1)
def test_where_blocks_are_cut_changes_nothing(text: str, codec: str, half: int) -> None:
    data = text.encode(codec, "ignore")
    assert outcome(data, 2 * half) == outcome(data, 1 << 20)


@given(
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\xff\xfe\0\0", b"\x84\x31\x95\x33"]),
    st.lists(
        st.binary(max_size=9) | st.just("字\r\n".encode()) | st.just("老人".encode("gb18030"))
    ),
    st.integers(1, 5),
)
@example(b"\x84\x31\x95\x33", [b"\0\x80\0"], 1)
def test_damage_is_found_at_the_same_byte_and_line_wherever_blocks_are_cut(
    mark: bytes, parts: list[bytes], half: int
) -> None:
    data = mark + b"".join(parts)
    assert outcome(data, 2 * half) == outcome(data, 1 << 20)


def test_a_second_start_reads_none_of_the_text(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = book(tmp_path / "book.txt", CHINESE.replace("\n", "\r\n") * 9)
    small, first = in_memory(path), read_texts([path])
    monkeypatch.chdir(tmp_path)

    def unreadable(*arguments: object) -> None:
        raise AssertionError("the text was read")

    monkeypatch.setattr(documents, "open_text", unreadable)
    assert_same(read_texts([path]), small)
    again = read_texts([Path("book.txt")])  # the same file by another name
    assert again.sha256 == first.sha256
    assert again.notices == ("book.txt: 9 CRLF line endings converted to LF",)
    os.utime(path, ns=(1, 1))
    with pytest.raises(AssertionError, match="the text was read"):
        read_texts([path])


def test_a_changed_text_is_read_again(cache: Path, tmp_path: Path) -> None:
    path = book(tmp_path / "book.txt")
    before = read_texts([path])
    book(path, CHINESE * 21)
    assert read_texts([path]).sha256 == in_memory(path).sha256 != before.sha256
    assert before.text[:] == CHINESE * 20  # what is mapped does not change


@pytest.mark.parametrize(
    "damage", ["cut ids", "ids too many", "no ids", "half a description", "another kind"]
)
def test_a_damaged_cache_is_not_used_but_rewritten(
    cache: Path, tmp_path: Path, damage: str
) -> None:
    path = book(tmp_path / "book.txt")
    read_texts([path])
    (ids,) = cache.glob("*.ids")
    (described,) = cache.glob("*.json")
    if damage == "cut ids":
        ids.write_bytes(ids.read_bytes()[:-1])
    elif damage == "ids too many":
        ids.write_bytes(ids.read_bytes() + b"\0\0")
    elif damage == "no ids":
        ids.unlink()
    elif damage == "half a description":
        described.write_bytes(described.read_bytes()[:-9])
    else:
        described.write_text(json.dumps([1, 2]))
    assert_same(read_texts([path]), in_memory(path))
    assert ids.stat().st_size == len(CHINESE) * 20


def test_only_the_newest_texts_are_kept(cache: Path, tmp_path: Path) -> None:
    for number in range(5):
        read_texts([book(tmp_path / f"{number}.txt", CHINESE * (number + 1))])
        for path in cache.glob("*.ids"):  # so that a coarse clock does not decide
            os.utime(path, (os.stat(path).st_mtime - 9,) * 2)
    left = sorted(json.loads(path.read_bytes())["characters"] for path in cache.glob("*.json"))
    assert left == [len(CHINESE) * times for times in (3, 4, 5)]
    assert len(list(cache.iterdir())) == 6


def test_a_full_disk_is_refused_and_leaves_nothing_behind(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError) as caught:
        read_texts([book(tmp_path / "book.txt")])
    assert caught.value.what == f"cannot write {cache}"
    assert re.fullmatch(r"No space left on device: [\d,.]+ MB free", caught.value.why)
    assert caught.value.fix == (
        "free some space for the ids of this text; on Linux, XDG_CACHE_HOME names another folder"
    )
    assert not list(cache.iterdir())


def test_two_programs_can_store_the_same_text_at_once(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = book(tmp_path / "book.txt")

    class Interrupted(storage.Disk):
        """Another program stores the whole text while this one is halfway through its ids."""

        pieces = 0

        def append(self, path: Path, start: int, data: bytes) -> None:
            super().append(path, start, data)
            self.pieces += 1
            if self.pieces == 5:
                other()

    def other() -> None:
        assert len([file for file in cache.iterdir() if storage.is_leftover(file)]) == 1
        assert_same(read_texts([path]), in_memory(path))

    monkeypatch.setattr(storage, "disk", Interrupted())
    assert_same(read_texts([path]), in_memory(path))
    assert sorted(file.suffix for file in cache.iterdir()) == [".ids", ".json"]


def test_what_a_killed_program_left_behind_is_deleted_after_a_day(
    cache: Path, tmp_path: Path
) -> None:
    cache.mkdir(parents=True)
    old, recent = cache / "text-old.ids.12345678.zigpt-tmp", cache / "text-new.ids.1.zigpt-tmp"
    for path, hours in ((old, 25), (recent, 23)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - hours * 3600,) * 2)
    read_texts([book(tmp_path / "book.txt")])
    assert not old.exists()
    assert recent.exists()


def test_a_text_that_changes_while_it_is_read_is_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = book(tmp_path / "book.txt")
    readers = iter([io.BytesIO(b"abc"), io.BytesIO(b"abd")])
    monkeypatch.setattr(documents, "open_text", lambda file: next(readers))
    with pytest.raises(TextError, match="changed"):
        read_texts([path])
    assert not list(cache.iterdir())


def test_invalid_bytes_deep_in_a_large_text_are_refused(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "book.txt"
    path.write_bytes(CHINESE.encode() * 3000 + b"\xff\n")
    assert main(["plan", str(path)]) == 3
    assert capsys.readouterr().err.splitlines() == [
        f"error: {path} is damaged: it looks like UTF-8 but is not quite",
        f"why: these do not fit: byte 0xFF at offset {len(CHINESE.encode()) * 3000:,} (line 3,001)",
        "fix: repair it in an editor, or read on with --damaged replace or drop; in another "
        "encoding, name it as --encoding",
    ]
    path.write_bytes(CHINESE.encode() * 3000 + b"\0")
    assert main(["plan", str(path)]) == 3
    assert f"{path} is not a text file" in capsys.readouterr().err
    assert not list(cache.iterdir())


def test_a_large_text_in_another_vocabulary_has_the_ids_of_a_small_one(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_module, "_PIECE", 7)
    text = read_texts([book(tmp_path / "book.txt")]).text
    tokenizer = CharTokenizer.from_text(CHINESE[:-3] + "?z")
    for unknown in ("drop", "replace"):
        expected = tokenizer.encode(CHINESE * 20, unknown)
        found = encode(text, tokenizer, unknown)
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)
    with pytest.raises(VocabularyError, match=rf"at {CHINESE.index(CHINESE[-3])}\b"):
        encode(text, CharTokenizer.from_text(CHINESE.replace(CHINESE[-3], "")))
    assert len(encode(text, CharTokenizer("xy"), "drop")) == 0


def test_a_small_text_leaves_the_cache_alone(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = book(tmp_path / "book.txt")
    monkeypatch.setattr(source_module, "LARGEST_IN_MEMORY", path.stat().st_size)
    assert isinstance(read_texts([path]).text, str)
    assert not cache.exists()


def test_every_command_works_on_a_large_text_and_reports_what_it_left_out(
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    use_blocks(monkeypatch, 1 << 12)
    monkeypatch.setattr(train_module, "FINAL_CHARS", 320)
    monkeypatch.setattr("zigpt.data.baselines.MAX_TRAIN", 3000)
    path, run = book(tmp_path / "book.txt", story(6000) + "\n"), tmp_path / "run"
    assert main(["train", str(path), *SMALL, "--max-steps", "4", "--run", str(run)]) == 0
    out = capsys.readouterr().out
    assert f"kept    as ids in {cache}/text-" in out
    assert (
        "counted on the last 3,000 train characters, scored on the first 601 validation characters"
        in out
    )
    assert "nats per character, estimated from 320 characters: " in out
    assert main(["train", "--resume", "--run", str(run)]) == 0
    assert main(["eval", str(run)]) == 0
    assert "exact over all 600 predictions of the validation split" in capsys.readouterr().out
    assert main(["eval", str(run), str(book(tmp_path / "other.txt", story(300)))]) == 0
    for topic in ("window", "characters"):
        assert main(["explain", topic, str(run)]) == 0
    assert main(["plan", str(path)]) == 0


def test_a_partial_survey_calls_no_character_rare(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = story(120_000) + "0123456789"
    stored = read_texts([book(tmp_path / "book.txt", text)]).text
    assert survey(stored, 100_000) == survey(text, 100_000)
    monkeypatch.setattr(survey_module, "MAX_COUNTED", 100_000)
    monkeypatch.setattr(survey_module, "MAX_EXAMINED", 64_000)
    seen = survey(stored, 100_000)
    assert (seen.characters, seen.examined, seen.is_counted) == (120_010, 64_000, False)
    assert advice(seen)[0] == (
        "only 64,000 of 120,010 characters were counted: there may be others that are rare or "
        "missing from the train split"
    )
    assert not any("occur only once" in line for line in advice(seen))


# Not by ru_maxrss: a child starts with its parent's.
_GROWTH = """
import re, sys
import numpy, platformdirs
from pathlib import Path
from zigpt.data.batches import Corpus
from zigpt.data.source import read_texts
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = peak()
platformdirs.user_cache_path = lambda project: Path(sys.argv[1])
corpus = Corpus.from_text(read_texts([Path(sys.argv[2])]).text)
print(len(corpus.train) + len(corpus.validation), peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    passage = (story(700_000) + CHINESE * 5000).encode()
    with path.open("wb") as file:
        for _ in range(200_000_000 // len(passage) + 1):
            file.write(passage)
    command = [sys.executable, "-c", _GROWTH, str(tmp_path / "cache"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    length, growth = map(int, done.stdout.split())
    assert length > 100_000_000
    assert growth < 60_000  # kB; measured: 3,000, and 740,000 where the text is held whole
