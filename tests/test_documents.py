"""Documents: where they end, which are held out, in which order; in memory and on disk alike."""

import json
import shlex
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stress.settings import shortened
from tests.runs import SMALL, refusal
from tests.texts import story
from zigpt.cli.main import main
from zigpt.cli.options import take_arrangement
from zigpt.cli.spelling import train_words
from zigpt.data import documents, recognition
from zigpt.data import source as source_module
from zigpt.data.arrangement import END, Arrangement
from zigpt.data.documents import DocumentReader, arrange
from zigpt.data.encodings import AS_IT_IS
from zigpt.data.source import Source, read_texts
from zigpt.data.survey import advice, survey
from zigpt.errors import TextError, UsageError
from zigpt.runs.record import read_record
from zigpt.runs.request import TrainRequest
from zigpt.runs.training_text import find_again, fingerprint
from zigpt.training import loop

LAST = Arrangement("last")


@pytest.fixture(params=["in memory", "on disk"])
def _kept(request, tmp_path, monkeypatch):
    """Where a text is kept; on disk it is read in blocks of a few characters."""
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache")
    if request.param == "on disk":
        monkeypatch.setattr(source_module, "LARGEST_IN_MEMORY", 0)
        monkeypatch.setattr(recognition, "BLOCK", 7)
        monkeypatch.setattr("zigpt.data.decode.BLOCK", 7)


def write(folder: Path, **texts: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name.replace("_", ".") for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def parts(source: Source) -> tuple[str, str]:
    return source.text[: source.n_train], source.text[source.n_train :]


def held_out(source: Source) -> str:
    return source.held_out.sentence(source.arrangement.held_out)


@pytest.mark.usefixtures("_kept")
class TestWhereTheyEnd:
    def test_several_files_are_documents_and_one_is_none(self, tmp_path):
        paths = write(tmp_path, a_txt="one\n", b_txt="two")
        assert read_texts(paths, arrangement=LAST).text[:] == "one\n␃two␃"
        assert read_texts(paths[:1], arrangement=LAST).text[:] == "one\n"

    @pytest.mark.parametrize(
        ("separator", "text", "expected"),
        [
            ("\n---\n", "one\n---\ntwo\n", "one␃two\n␃"),
            ("\n\n", "one\n\n\n\ntwo\n\n", "one␃two␃"),
            ("<end>", "<end>one<end><end>two", "one␃two␃"),
            ("aab", "aaabb", "a␃b␃"),
        ],
    )
    def test_a_separator_ends_a_document_and_empty_ones_are_left_out(
        self, tmp_path, separator, text, expected
    ):
        how = Arrangement("last", separator=separator)
        assert read_texts(write(tmp_path, a_txt=text), arrangement=how).text[:] == expected

    @pytest.mark.parametrize("text", ["one", "one§", "§one"])
    def test_a_separator_that_divides_nothing_is_refused(self, tmp_path, text):
        with pytest.raises(TextError, match="'§' divides nothing"):
            read_texts(write(tmp_path, a_txt=text), arrangement=Arrangement(separator="§"))

    def test_an_empty_file_of_a_folder_is_passed_over(self, tmp_path):
        write(tmp_path / "f", a_txt="one", b_txt="", c_txt="two")
        source = read_texts([tmp_path / "f"], arrangement=LAST)
        assert source.text[:] == "one␃two␃"
        assert source.notices == (f"{tmp_path / 'f'}: passed over: .txt 1",)

    def test_each_line_of_jsonl_is_a_document(self, tmp_path):
        records = [
            "alone",
            {"text": "a\r\nb", "by": "me"},
            {"n": 1, "body": "字"},
            {"text": ""},
        ]
        lines = "\n\n".join(map(json.dumps, records))
        source = read_texts(write(tmp_path, a_jsonl=lines), arrangement=LAST)
        assert source.text[:] == "alone␃a\nb␃字␃"

    @pytest.mark.parametrize(
        ("line", "what", "why"),
        [
            ("{", "line 2 of {} is not JSON", "from column 2 on"),
            ('{"a": "x", "b": "y"}', "line 2 of {} has no text", "its fields are 'a', 'b'"),
            ('{"text": 3}', "line 2 of {} has no text", 'its field "text" is no string'),
            (
                '"\\ud800"',
                "line 2 of {} has half a character",
                "one half of a surrogate pair",
            ),
            ('"a␃"', "{} has ␃ (U+2403) in it", "at the end of every document"),
        ],
    )
    def test_a_line_that_is_no_text_is_refused_by_its_number(self, tmp_path, line, what, why):
        (path,) = write(tmp_path, a_jsonl=f'"fine"\n{line}\n')
        with pytest.raises(TextError) as refused:
            read_texts([path])
        assert refused.value.what == what.format(path)
        assert why in refused.value.why

    @pytest.mark.parametrize("lines", ['""\n', "\n", '{"text": ""}\n\n""'])
    def test_jsonl_without_any_text_is_refused(self, tmp_path, lines):
        (path,) = write(tmp_path, a_jsonl=lines)
        with pytest.raises(TextError, match="is empty"):
            read_texts([path])

    def test_a_text_that_has_the_mark_already_is_refused_only_where_it_would_be_put(self, tmp_path):
        paths = write(tmp_path, a_txt=f"a{END}b", b_txt="c")
        assert read_texts(paths[:1]).text[:] == f"a{END}b"
        with pytest.raises(TextError, match="has ␃"):
            read_texts(paths)


@given(st.text("ab-\n", max_size=60), st.text("ab-\n", min_size=1, max_size=3), st.integers(1, 9))
def test_cutting_at_a_separator_agrees_with_split_wherever_blocks_end(text, separator, size):
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    whole = [part.lstrip("\n") for part in text.split(separator)]
    # A separator's own line breaks may be those that begin a document.
    expected = "".join(part + END for part in whole if part)
    assert "".join(documents._cut(pieces, separator)).replace("\n", "") == expected.replace(
        "\n", ""
    )


@pytest.mark.usefixtures("_kept")
class TestWhatIsHeldOut:
    def folder(self, tmp_path: Path, count: int) -> Path:
        write(tmp_path / "f", **{f"d{i:03}_txt": f"{i:03} {'x' * (i % 7)}" for i in range(count)})
        return tmp_path / "f"

    def test_every_tenth_of_many_documents(self, tmp_path):
        source = read_texts([self.folder(tmp_path, 40)])
        learned, held = parts(source)
        assert [document[:3] for document in held.split(END)] == ["005", "015", "025", "035", ""]
        assert len(learned.split(END)) == 37
        assert held_out(source) == "every tenth of 40 documents"

    def test_a_tenth_of_each_of_few_but_not_how_they_end(self, tmp_path):
        paths = write(tmp_path, a_txt="A" * 80 + "a" * 19, b_txt="B" * 160 + "b" * 39, c_txt="ABC")
        learned, held = parts(source := read_texts(paths))
        assert learned == "A" * 80 + "a" * 9 + "␃" + "B" * 160 + "b" * 19 + "␃" + "ABC␃"
        assert held == "a" * 10 + "b" * 20
        assert held_out(source) == "from eight to nine tenths of each of 3 documents"

    def test_a_tenth_of_each_where_every_tenth_would_be_most_of_the_text(self, tmp_path):
        texts = {f"d{i}_txt": "x" * (500 if i == 5 else 9) for i in range(10)}
        source = read_texts(write(tmp_path, **texts))
        assert held_out(source) == "from eight to nine tenths of each of 10 documents"
        assert source.n_train / len(source.text) == pytest.approx(0.9, abs=0.01)

    def test_the_last_tenth_if_that_is_wanted(self, tmp_path):
        source = read_texts([self.folder(tmp_path, 40)], arrangement=LAST)
        text = "".join(f"{i:03} {'x' * (i % 7)}␃" for i in range(40))
        assert parts(source) == (text[: len(text) * 9 // 10], text[len(text) * 9 // 10 :])
        assert held_out(source) == "the last tenth"

    def test_one_text_can_be_spread_too(self, tmp_path):
        (path,) = write(tmp_path, a_txt="".join(f"{i:02}" for i in range(100)))
        source = read_texts([path], arrangement=Arrangement("spread"))
        assert parts(source)[1] == "".join(f"{i}8" for i in range(10))
        assert held_out(source) == "from eight to nine tenths of each of 10 stretches"

    def test_files_of_their_own(self, tmp_path):
        paths = write(tmp_path, a_txt="learned", b_txt="held", c_txt="out\n")
        how = Arrangement.of(paths[1])
        source = read_texts(paths[:1], arrangement=how)
        assert parts(source) == ("learned\n", "held")  # two files, but no documents
        assert held_out(source) == str(paths[1])
        folder = self.folder(tmp_path, 12)
        source = read_texts(paths[:2], arrangement=Arrangement.of(folder, is_shuffled=True, seed=1))
        assert set(parts(source)[0].split(END)) == {"learned", "held", ""}
        assert len(parts(source)[1].split(END)) == 13

    @pytest.mark.parametrize("validation", ["last", "spread"])
    def test_shuffled_documents_are_the_same_in_an_order_that_the_seed_decides(
        self, tmp_path, validation
    ):
        folder = self.folder(tmp_path, 40)
        plain = read_texts([folder]).text[:]
        one, again, other = (
            read_texts([folder], arrangement=Arrangement(validation, shuffle=seed))
            for seed in (1, 1, 2)
        )
        assert one.text[:] == again.text[:] != other.text[:] != plain
        assert sorted(one.text[:].split(END)) == sorted(plain.split(END))
        assert one.sha256 == again.sha256 != other.sha256

    def test_the_fingerprint_is_that_of_the_text_as_it_is_arranged(self, tmp_path):
        source = read_texts([self.folder(tmp_path, 40)])
        (path,) = write(tmp_path, whole_txt=source.text[:])
        assert read_texts([path]).sha256 == source.sha256

    @pytest.mark.parametrize("arrangement", [
        Arrangement(), LAST, Arrangement("spread", shuffle=3), Arrangement(separator=" "),
    ])  # fmt: skip
    def test_a_text_is_found_again_as_it_was_arranged(self, tmp_path, arrangement):
        source = read_texts([self.folder(tmp_path, 23)], arrangement=arrangement)
        again = find_again(json.loads(json.dumps(fingerprint(source))))
        assert (again.sha256, again.n_train) == (source.sha256, source.n_train)
        moved = find_again(fingerprint(source), [self.folder(tmp_path / "elsewhere", 23)])
        assert (moved.sha256, moved.n_train) == (source.sha256, source.n_train)

    def test_so_is_one_with_files_that_are_held_out(self, tmp_path):
        paths = write(tmp_path, a_txt="learned", b_txt="held")
        source = read_texts(paths[:1], arrangement=Arrangement.of(paths[1]))
        again = find_again(json.loads(json.dumps(fingerprint(source))))
        assert (parts(again), held_out(again)) == (parts(source), held_out(source))
        moved = write(tmp_path / "elsewhere", a_txt="learned", b_txt="held")
        again = find_again(fingerprint(source), moved[:1], (moved[1],))
        assert parts(again) == parts(source)

    def test_a_run_from_before_documents_is_read_as_it_was(self, tmp_path):
        paths = write(tmp_path, a_txt="one", b_txt="two")
        before = {**fingerprint(read_texts(paths))}
        del before["arrangement"]
        source = find_again(before)
        assert (source.text[:], source.n_train) == ("one\ntwo", 6)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.booleans(), st.booleans())
def test_every_character_is_used_exactly_once(lengths, is_spread, is_shuffled):
    reader = DocumentReader([Path("a")], AS_IT_IS, Arrangement())
    reader.lengths.extend(lengths)
    reader.n_learned = len(lengths)
    how = Arrangement("spread" if is_spread else "last", shuffle=7 if is_shuffled else None)
    order = arrange(reader, how)
    taken = np.concatenate([np.arange(start, end) for start, end in order.slices])
    assert sorted(taken) == list(range(sum(lengths)))
    assert 0 <= order.n_train <= sum(lengths)
    assert all(a[1] != b[0] for a, b in zip(order.slices, order.slices[1:], strict=False))


class TestAsTyped:
    def take(self, **typed):
        usual = {"validation": "auto", "separator": None, "shuffle_documents": False, "seed": None}
        return take_arrangement({**usual, **typed})

    def test_every_option_is_taken_and_spelled_again(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (held,) = write(tmp_path, held_txt="text")
        for arrangement, words in (
            (self.take(), []),
            (self.take(validation="spread"), ["--validation", "spread"]),
            (self.take(validation="held.txt"), ["--validation", str(held)]),
            (self.take(separator="\\n-\\t"), ["--separator=\\n-\\t"]),
            (self.take(shuffle_documents=True, seed=5), ["--shuffle-documents"]),
        ):
            spelled = train_words(TrainRequest((Path("a"),), arrangement=arrangement))
            assert spelled[2:] == words
        assert self.take(separator="\\n-\\t").separator == "\n-\t"
        assert self.take(shuffle_documents=True, seed=5).shuffle == 5
        assert self.take(shuffle_documents=True).shuffle == 1337

    def test_an_empty_separator_is_refused(self, tmp_path):
        with pytest.raises(UsageError, match="separator"):
            self.take(separator="")
        (path,) = write(tmp_path, a_txt="text")
        assert refusal("plan", path, "--separator", "")[:2] == (2, "--separator cannot be empty")

    def test_a_validation_file_that_is_missing_is_refused(self, tmp_path):
        (path,) = write(tmp_path, a_txt="text")
        gone = tmp_path / "gone.txt"
        assert refusal("plan", path, "--validation", gone)[:2] == (3, f"cannot read {gone}")


def test_a_folder_is_learned_and_resumed_document_by_document(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(40):
        write(tmp_path / "poems", **{f"p{i:02}_txt": story(200)[i:]})
    learn = ["train", "poems", *SMALL, "--shuffle-documents", "--seed", "3", "--run", "r"]
    assert main([*learn, "--max-steps", "100"]) == 0
    out = capsys.readouterr().out
    assert "every document ends with ␃, which the model learns" in out
    assert "held out for validation: every tenth of 40 documents" in out
    assert read_record(tmp_path / "r").text["arrangement"]["shuffle"] == 3
    assert main(["eval", "r"]) == main(["verify", "r"]) == 0
    Path("poems").rename("moved")
    assert main(["train", "moved", "--resume", "--run", "r", "--max-steps", "120"]) == 0
    assert main(["eval", "r"]) == 0  # it has noted where the text is now
    capsys.readouterr()
    assert main(["sample", "r", "--until-end", "--chars", "5000"]) == 0
    written = capsys.readouterr().out
    assert 1 < len(written) < 4000
    assert END not in written
    assert main(["sample", "r", "--count", "3", "--until-end", "--chars", "5000"]) == 0
    shown = capsys.readouterr()
    assert END not in shown.out
    assert "cut off" not in shown.err
    assert main(["sample", "r", "--count", "3", "--until-end", "--chars", "2"]) == 0
    assert "cut off after 2 characters, before their end: 3 of 3" in capsys.readouterr().err
    assert main(["sample", "r", "--until-end", "--chars", "0"]) == 0
    assert "before their end: 1 of 1" in capsys.readouterr().err
    write(tmp_path, one_txt=story(3000))
    assert main(["train", "one.txt", *SMALL, "--max-steps", "1", "--run", "plain"]) == 0
    code, what, why, _ = refusal("sample", "plain", "--until-end")
    assert (code, what) == (2, "this model cannot end a text by itself")
    assert "--separator" in why


def test_a_training_that_diverged_is_tried_again_on_the_same_documents(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (path,) = write(tmp_path, a_txt="\n---\n".join(story(300)[i:] for i in range(20)))
    (held,) = write(tmp_path, b_txt=story(600))
    true_loss = loop.next_character_loss

    def poisoned(logits, targets):
        loss = true_loss(logits, targets)
        return loss * float("nan") if torch.is_grad_enabled() else loss

    monkeypatch.setattr(loop, "next_character_loss", poisoned)
    how = ["--separator", "\\n---\\n", "--validation", held, "--shuffle-documents"]
    with shortened():
        code, _, _, fix = refusal("train", path, *SMALL, *how, "--max-steps", 3, "--run", "r")
    assert code == 6
    words = shlex.split(fix)
    spelled = [str(path), "--validation", str(held), "--separator=\\n---\\n", "--shuffle-documents"]
    assert words[words.index(str(path)) :][:5] == spelled


def test_two_kinds_of_text_are_told():
    prose, other = story(20_000), story(2_500).upper()
    assert not any("another kind" in line for line in advice(survey(prose, 18_000)))
    mixed = prose + other
    (told,) = (line for line in advice(survey(mixed, len(prose))) if "another kind" in line)
    assert "`validation` spread" in told
