"""Bad texts, prompts and names: three lines and an exit code each, at once, and nothing else.

docs/faults.md lists the promises. Every case goes through the command line's own `main`.
"""

import contextlib
import io
import itertools
import json
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import zigpt.cli.eval
import zigpt.cli.explain
import zigpt.cli.follow
import zigpt.cli.plan
import zigpt.cli.sample  # all of them: no refusal is to wait for an import  # noqa: F401
from stress import names, texts
from stress.model_files import good_file
from stress.settings import outcome, shortened
from tests.limits import bounded, campaign_alone
from tests.texts import story
from zigpt.cli.main import main
from zigpt.cli.spelling import program
from zigpt.data.batches import Corpus
from zigpt.data.source import read_texts
from zigpt.errors import TextError
from zigpt.formats.safetensors import read_lazily
from zigpt.generate.sampling import next_probabilities
from zigpt.gpt.config import GPTConfig, SampleConfig, TrainConfig
from zigpt.runs.paths import free_path
from zigpt.tokenizers.char import CharTokenizer
from zigpt.training.loop import TrainState, train

SMALL = ["--preset", "tiny", "--n-layer", "1", "--n-embd", "16", "--block-size", "8",
         "--batch-size", "2", "--max-steps", "1", "--eval-chars", "40"]  # fmt: skip


def refusal(*arguments):
    """Run a command that must be refused, at once: its exit code and the three lines."""
    out, error = io.StringIO(), io.StringIO()
    with bounded(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        code = main([str(argument) for argument in arguments])
    assert out.getvalue() == ""
    what, why, fix = error.getvalue().splitlines()
    heads = [what[:7], why[:5], fix[:5]]
    assert heads == ["error: ", "why: ", "fix: "]
    return code, what[7:], why[5:], fix[5:]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of 7 characters."""
    return good_file(tmp_path_factory.mktemp("model"), characters="\n ?abeé")


class TestWhatCannotBeRead:
    """C1"""

    @pytest.fixture(params=["train", "plan", "eval"])
    def command(self, request, model, tmp_path):
        return {
            "train": ["train", *SMALL, "--run", tmp_path / "run"],
            "plan": ["plan"],
            "eval": ["eval", model],
        }[request.param]

    def test_a_missing_file(self, command, tmp_path):
        assert refusal(*command, tmp_path / "gone.txt") == (
            3,
            f"cannot read {tmp_path}/gone.txt",
            "no such file or directory",
            "check the path and its permissions",
        )

    @pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000])
    def test_a_path_that_is_too_long(self, command, name):
        code, what, why, _ = refusal(*command, name)
        assert (code, why) == (3, "file name too long")
        assert what.startswith("cannot read x" if name[0] == "x" else "cannot read a/a/")
        assert len(what) < 2000

    def test_a_path_with_a_nul(self, command):
        assert refusal(*command, "a\0b")[:3] == (
            3,
            "cannot read a?b",
            "a path cannot contain a zero byte",
        )

    def test_a_folder_without_texts(self, command, tmp_path):
        (tmp_path / "empty").mkdir()
        assert refusal(*command, tmp_path / "empty") == (
            3,
            f"{tmp_path}/empty contains no text",
            "there is no .txt, .md or .jsonl file in it or its subfolders, nor a page or book",
            "give another folder, or the files themselves",
        )

    def test_a_pipe_or_device_is_not_even_opened(self, command, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "link").symlink_to("/dev/zero")
        for path in (tmp_path / "pipe", "/dev/zero", "/dev/stdin", tmp_path / "link"):
            assert refusal(*command, path) == (
                3,
                f"{path} is not a regular file",
                "it is a pipe or a device, which may never end",
                "save the text to a file and give that, or pipe it: … | zigpt train -",
            )

    def test_a_link_to_itself(self, command, tmp_path):
        (tmp_path / "loop.txt").symlink_to("loop.txt")
        code, what, why, _ = refusal(*command, tmp_path / "loop.txt")
        assert (code, what) == (3, f"cannot read {tmp_path}/loop.txt")
        assert why == "too many levels of symbolic links"

    def test_a_file_without_permission(self, command, tmp_path, monkeypatch):
        path = tmp_path / "secret.txt"
        path.write_text("secret")

        really_open = Path.open

        def deny(file, *arguments, **options):
            if file == path:
                raise PermissionError(13, "Permission denied", str(path))
            return really_open(file, *arguments, **options)

        # Not by chmod: root, as in a container, may read everything.
        monkeypatch.setattr(Path, "open", deny)
        assert refusal(*command, path)[:3] == (3, f"cannot read {path}", "permission denied")


class TestTooShort:
    """C2"""

    @pytest.mark.parametrize(
        ("text", "what", "why"),
        [
            ("", "book.txt is empty", "there is nothing to learn from"),
            ("a", "the text has fewer than two distinct characters", "nothing to predict"),
            ("a" * 500, "the text has fewer than two distinct characters", "nothing to predict"),
            ("ab", "2 characters are too few for block size 8", "the largest is"),
        ],
    )
    def test_texts_without_anything_to_learn(self, tmp_path, text, what, why):
        file = tmp_path / "book.txt"
        file.write_text(text)
        found = refusal("train", *SMALL, "--run", tmp_path / "run", file)
        assert found[0] == 3
        assert found[1].endswith(what)
        assert why in found[2]
        assert not (tmp_path / "run").exists()

    def test_every_length_trains_or_is_told_the_true_largest_block_size(self):
        """Exhaustive around every border of small blocks; the steps are real."""
        for length in range(1, 120):
            corpus = Corpus.from_text(("ab" * length)[: max(2, length)])
            largest = corpus.largest_block_size
            for block_size in range(1, 14):
                if block_size <= largest:
                    corpus.require(block_size)
                    continue
                with pytest.raises(TextError, match=f"the largest is {largest}\n") as caught:
                    corpus.require(block_size)
                assert f"{10 * block_size + 1} characters" in caught.value.fix
                Corpus.from_text("ab" * (5 * block_size + 5)).require(block_size)
        for length in (20, 21, 39, 40, 101):
            corpus = Corpus.from_text(("ab" * length)[:length])
            state = TrainState.initialise(
                GPTConfig(2, corpus.largest_block_size, 1, 1, 4),
                TrainConfig(batch_size=2, max_steps=1),
                torch.device("cpu"),
            )
            assert [progress.step for progress in train(state, corpus)][-1] == 1

    @given(length=st.integers(0, 200))
    @example(length=80)  # the last that is too short for a window of 8 characters
    @example(length=81)
    @settings(max_examples=10)
    def test_the_command_line_says_the_same(self, tmp_path_factory, length):
        folder = tmp_path_factory.mktemp("lengths")
        text = folder / "book.txt"
        text.write_text(("a stone " * 30)[:length])
        if length > 80:
            assert outcome(text, folder / "run", {}, {}) == "trained"
            return
        code, what, why, fix = refusal("train", *SMALL, "--run", folder / "run", text)
        assert code == 3
        if length > 1:
            assert what == f"{length} characters are too few for block size 8"
            largest = int(why.rsplit(" ", 1)[1])
            assert largest == min(length * 9 // 10, length - length * 9 // 10) - 1
            assert fix.endswith("text of at least 81 characters")
            if largest > 0:
                assert outcome(text, folder / "run", {"block_size": str(largest)}, {}) == "trained"


class TestEncodings:
    """C3 and C4: guessed on evidence, or named."""

    @pytest.mark.parametrize(
        ("data", "what", "why"),
        [
            (
                "brücke\n".encode() * 9 + b"\xff" + "brücke\n".encode() * 9,
                "is damaged: it looks like UTF-8 but is not quite",
                "these do not fit: byte 0xFF at offset 72 (line 10)",
            ),
            (
                "산과 바다\n".encode("johab") * 20,
                "is not recognised",
                "in none of those that zigpt knows it reads like text in one language",
            ),
            (b"words\0" * 99, "is not a text", "control character 0x00 at byte offset 5"),
            (b"plain words\n" * 100 + b"\0", "is not a text", "0x00 at byte offset 1,200"),
            (bytes(5000), "is not a text", "control character 0x00 at byte offset 0"),
            (b"\x89PNG\r\n\x1a\n" + bytes(99), "is not a text", "0x00 at byte offset 8"),
            (b"\xff\xfea\0\n\0\x00\xd8b\0", "looks like UTF-16", "at offset 6 (line 2)"),
        ],
    )
    def test_what_is_no_text_is_refused_where_it_goes_wrong(self, tmp_path, data, what, why):
        file = tmp_path / "book.txt"
        file.write_bytes(data)
        code, *lines = refusal("train", *SMALL, "--run", tmp_path / "run", file)
        assert code == 3
        assert str(file) in lines[0]
        assert what in lines[0]
        assert why in lines[1]
        assert "--encoding" in lines[2] or "plain text" in lines[2]

    def test_marks_and_line_ends_are_made_one_and_said(self, tmp_path, capsys):
        """The ids are those of the plain file; U+2028 is a character like any other."""
        plain = "eine Brücke\nüber den Fluß\u2028und weiter\n" * 9
        shas = set()
        for number, data in enumerate([
            plain.encode(), plain.encode("utf-8-sig"), plain.encode("utf-16"),
            plain.replace("\n", "\r\n").encode(), plain.replace("\n", "\r").encode(),
        ]):  # fmt: skip
            file = tmp_path / f"{number}.txt"
            file.write_bytes(data)
            assert main(["plan", str(file), *SMALL[:10], "--json"]) == 0
            options = json.loads(capsys.readouterr().out)["text"]
            notice = ("", "", "is UTF-16, not UTF-8", "18 CRLF line endings", "18 CR line")
            assert notice[number] in " ".join(options["notices"])
            assert bool(options["notices"]) == bool(notice[number])
            source = read_texts([file])
            shas.add((source.sha256, CharTokenizer.from_text(source.text).vocabulary))
        assert len(shas) == 1


class TestUnicode:
    """C5 and C6"""

    def test_ten_thousand_texts_come_back_and_every_unknown_character_is_named(self):
        report = campaign_alone("texts", seed=5, cases=10_000)
        assert report["failures"] == []
        assert report["cases"] == 10_000
        assert set(report["outcomes"]) == {"uint8", "uint32"}

    def test_an_alphabet_of_more_than_sixteen_bits_is_learned_kept_and_written(self, tmp_path):
        rare = [chr(c) for c in range(0x100, 0x25000) if chr(c).isprintable()][:70_000]
        text = tmp_path / "book.txt"
        text.write_text("".join(rare), encoding="utf-8")
        assert len(set(rare)) == 70_000
        corpus = Corpus.from_text(read_texts([text]).text)
        assert corpus.train.dtype == "uint32"
        path = good_file(tmp_path, characters=corpus.tokenizer.vocabulary)
        assert read_lazily(path).tokenizer.vocabulary == "".join(sorted(rare))
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert main(["sample", str(path), "--prompt", rare[-1], "--chars", "3"]) == 0
        assert out.getvalue()[0] == rare[-1]
        assert len(out.getvalue()) == 5

    def test_an_unseen_character_is_named_with_its_code_point_and_place(self, model):
        assert refusal("sample", model, "--prompt", "a字b字\x1b") == (
            3,
            "not in this model's 7 characters: '字' (U+5B57) at 1, '\\x1b' (U+001B) at 4",
            "the model never saw them in training, so they have no id",
            "leave them out, or set --unknown to drop or replace",
        )

    @pytest.mark.parametrize(
        ("prompt", "place", "hint"),
        [
            ("abe\u0301", "'\u0301' (U+0301) at 3", "; near misses: 'e\u0301' -> 'é'"),
            ("ａ", "'ａ' (U+FF41) at 0", "; near misses: 'ａ' -> 'a'"),
            ("a\udcff", "'\\udcff' (U+DCFF) at 1", "set --unknown to drop or replace"),
            ("b\0", "'\\x00' (U+0000) at 1", "set --unknown to drop or replace"),
        ],
    )
    def test_what_was_probably_meant_is_offered(self, model, prompt, place, hint):
        code, what, _, fix = refusal("sample", model, "--prompt", prompt)
        assert code == 3
        assert what.endswith(f"characters: {place}")
        assert fix.endswith(hint)

    def test_every_composed_character_is_offered_to_whoever_types_its_parts(self):
        pairs = texts.composed_and_not()
        assert len(pairs) > 10_000
        for composed, parts in pairs[::29]:
            known = CharTokenizer.from_text(f"x{composed}")
            with pytest.raises(TextError) as caught:
                known.encode(f"x{parts}x")
            assert f"{parts!r} -> {composed!r}" in caught.value.fix
            known = CharTokenizer.from_text(f"x{parts}")
            with pytest.raises(TextError) as caught:
                known.encode(f"x{composed}")
            assert f"{composed!r} -> " in caught.value.fix

    @given(st.text(max_size=30), st.sampled_from(["drop", "replace"]))
    @settings(max_examples=20)
    def test_any_prompt_is_continued_without_its_unknown_characters(self, model, prompt, unknown):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            words = [f"--prompt={prompt}", "--unknown", unknown, "--chars", "2"]
            assert main(["sample", str(model), *words]) == 0
        kept = {"drop": "", "replace": "?"}[unknown]
        lines = prompt.replace("\r\n", "\n").replace("\r", "\n")
        expected = "".join(c if c in "\n ?abeé" else kept for c in lines)
        assert out.getvalue()[:-3] == expected


WRONG = {
    "--temperature": ("-1", "-1e-300", "inf", "-inf", "nan", "1e999"),
    "--top-k": ("-1", "-99999999999999999999"),
    "--top-p": ("0", "-1", "1.0000001", "inf", "nan"),
    "--min-p": ("-1", "-5e-324", "1.0000001", "inf", "nan"),
    "--repetition-penalty": ("0", "-1", "0.0099", "100.01", "1e300", "inf", "nan"),
    "--seed": ("-1", "9223372036854775808", "18446744073709551616"),
    "--chars": ("-1", "1000000001", "99999999999999999999"),
    "--count": ("0", "-1", "10001", "99999999999999999999"),
}
RIGHT = {
    "--temperature": ("0", "-0.0", "5e-324", "1e-300", "0.5", "1e308"),
    "--top-k": ("0", "1", "7", "8", "99999999999999999999"),
    "--top-p": ("5e-324", "1e-9", "0.5", "0.9999999999999999", "1"),
    "--min-p": ("0", "-0.0", "5e-324", "0.5", "1"),
    "--repetition-penalty": ("0.01", "1", "1.2", "100"),
    "--seed": ("0", "9223372036854775807"),
    "--chars": ("0", "1", "12"),
    "--count": ("1", "3"),
}
RANGE = {
    "--temperature": "must be 0 or more, and finite",
    "--top-k": "must be 0 or more",
    "--top-p": "must be above 0 and at most 1",
    "--min-p": "must be from 0 to 1",
    "--repetition-penalty": "must be from 0.01 to 100",
    "--seed": "must be from 0 to 2^63 - 1",
    "--chars": "--chars from 0 to 1,000,000,000",
    "--count": "--count goes from 1 to 10,000",
}
NO_NUMBERS = {
    "--temperature": ("", "hot", "0x1", "1,5"),
    "--top-k": ("1.5", "1e3", "", "nan", "9" * 5000),
    "--seed": ("0.0", "x"),
    "--chars": ("1e9", "ten"),
}


def pairs(table):
    return [(option, value) for option, values in table.items() for value in values]


class TestSampling:
    """C7"""

    @pytest.mark.parametrize(("option", "value"), pairs(WRONG))
    def test_a_value_out_of_range_is_told_the_range(self, model, option, value):
        code, _, why, fix = refusal("sample", model, f"{option}={value}")
        assert code == 2
        assert RANGE[option] in why
        assert "try " in fix

    @pytest.mark.parametrize(("option", "value"), pairs(NO_NUMBERS))
    def test_what_is_no_number_is_told_so(self, model, option, value):
        code, what, _, fix = refusal("sample", model, f"{option}={value}")
        assert (code, fix) == (2, f"see {program()} sample --help")
        assert option in what
        assert len(what) < 2000

    @pytest.mark.parametrize(("option", "value"), pairs(RIGHT))
    def test_at_every_edge_it_writes_what_the_model_knows(self, model, option, value):
        out = io.StringIO()
        words = {"--chars": "5", option: value}
        with bounded(), contextlib.redirect_stdout(out):
            options = [f"{name}={value}" for name, value in words.items()]
            assert main(["sample", str(model), *options]) == 0
        count = int(words.get("--count", "1"))
        assert len(out.getvalue()) == count * (int(words["--chars"]) + 1) + 4 * (count - 1)
        assert set(out.getvalue()) <= set("\n ?abeé-")

    @pytest.mark.parametrize(
        "scores", [[[0.0, 1, 2]], [[3e38, -3e38, 0]], [[1, 1, 1]], [[1e-45, 0, 0]]]
    )
    def test_all_edges_together_give_probabilities(self, scores):
        table = itertools.product(
            *(RIGHT[f"--{name}"] for name in ("temperature", "top-k", "top-p")),
            ("0", "5e-324", "1"),  # min-p
            ("0.01", "100"),  # repetition-penalty
        )
        context = np.array([[0, 2]])
        for temperature, top_k, *others in table:
            config = SampleConfig(float(temperature), int(top_k), *map(float, others))
            found = next_probabilities(np.array(scores, np.float32), config, context)
            assert np.all((found >= 0) & (found <= 1))
            assert found.sum() == pytest.approx(1)

    def test_all_that_is_wrong_is_said_at_once(self, model):
        code, what, why, _ = refusal(
            *("sample", model, "--temperature=nan", "--top-k=-1", "--top-p=2"),
            *("--min-p=2", "--repetition-penalty=0", "--seed=-1"),
        )
        assert (code, what) == (2, "impossible settings: 6 problems")
        names = ["temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed"]
        assert re.findall(r"\w+(?= \()", why) == names

    @given(st.floats(), st.floats(), st.integers(), st.integers())
    @settings(max_examples=40)
    def test_any_numbers_write_or_are_refused(self, model, temperature, top_p, top_k, seed):
        out, error = io.StringIO(), io.StringIO()
        words = [f"--temperature={temperature}", f"--top-p={top_p}", f"--top-k={top_k}"]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            code = main(["sample", str(model), *words, f"--seed={seed}", "--chars=3"])
        possible = (
            0 <= temperature < float("inf") and 0 < top_p <= 1 and top_k >= 0 and 0 <= seed < 2**63
        )
        assert code == (0 if possible else 2)
        assert len(error.getvalue().splitlines()) == (0 if possible else 3)


class TestDerivedNames:
    """C12: a folder of `--run` may have any name; those that zigpt makes up are tame."""

    def test_hundreds_of_odd_file_names_give_usable_folders(self, tmp_path):
        assert names.campaign(tmp_path, seed=12, cases=300).failures == []

    @pytest.mark.parametrize("name", names.ODD_NAMES)
    def test_every_odd_name_of_the_list(self, tmp_path, name):
        if not name.strip("."):
            name += "x"
        (tmp_path / name).write_text("text")
        derived = read_texts([tmp_path / name]).name
        (tmp_path / "runs").mkdir()
        assert names.wrong_about(f"{derived}-tiny", tmp_path / "runs") is None

    @pytest.mark.parametrize("name", ["-rf\x1b[31m\u202e.txt", "CON.x.txt", "字" * 80])
    def test_a_training_makes_that_folder_and_only_that(self, tmp_path, monkeypatch, name):
        monkeypatch.chdir(tmp_path)
        (tmp_path / name).write_text(story(200))
        expected = free_path(f"{read_texts([Path(name)]).name}-tiny")
        with shortened(), contextlib.redirect_stdout(io.StringIO()):
            assert main(["train", *SMALL, f"./{name}"]) == 0
        assert [path.name for path in (tmp_path / "runs").iterdir()] == [expected.name]

    def test_a_link_to_nowhere_is_not_taken_for_a_free_name(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "runs").mkdir()
        (tmp_path / "runs" / "book-tiny").symlink_to(tmp_path / "elsewhere")
        assert free_path("book-tiny") == Path("runs/book-tiny-2")


def test_the_forms_of_unicode_are_those_this_file_was_written_for():
    assert unicodedata.normalize("NFC", "e\u0301") == "é"


def test_a_refusal_of_a_process_is_the_same_three_lines(tmp_path):
    """What the other tests see from inside, once from outside."""
    command = [sys.executable, "-m", "zigpt", "sample", str(tmp_path / "gone\n\x1b[2J")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        f"error: no model at {tmp_path}/gone \\u001b[2J\n"
        "why: there is no such file or folder\n"
        "fix: give a run folder or a model.safetensors\n"
    )
