"""Chinese and English: which is spoken, that nothing is left untranslated, and what stays."""

import contextlib
import io
import json
import re

import pytest
from rich.cells import cell_len

from tests.catalogue import collect, faults, stale
from tests.texts import story
from zigpt.cli.commands import command_line
from zigpt.cli.layout import folded, side_by_side
from zigpt.cli.main import main
from zigpt.errors import TextError
from zigpt.language import language, mark, speak, tr

CHINESE = re.compile(r"[\u4e00-\u9fff]")
# A sentence of English: four words in a row, but for lists of names.
ENGLISH = re.compile(r"(?:\b[A-Za-z]{2,} ){3,}[a-z]{2,}\b")
SMALL = ["--n-layer", "1", "--n-head", "1", "--n-embd", "16", "--block-size", "8"]


@pytest.fixture
def chinese(monkeypatch):
    monkeypatch.setenv("ZIGPT_LANG", "zh")


def test_every_sentence_is_translated_with_its_values_and_the_catalogue_is_up_to_date():
    catalogue = collect()
    assert len(catalogue) > 500
    assert faults(catalogue) + stale(catalogue) == []


def test_a_sentence_that_is_not_translated_or_lost_a_value_is_found():
    catalogue = collect()
    catalogue.add("{count} owls are new here")
    catalogue.add("{count} owls", "猫头鹰")
    assert [fault.partition(":")[0] for fault in faults(catalogue)] == [
        "not translated",
        "other values",
    ]


@pytest.mark.parametrize(
    ("variables", "spoken"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_TW.UTF-8", "LC_MESSAGES": "de_DE.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "zh_CN"}, "zh"),
        ({"LC_ALL": "zh_CN.UTF-8", "ZIGPT_LANG": "en"}, "en"),
        ({"LC_ALL": "C", "ZIGPT_LANG": "zh"}, "zh"),
        ({"LC_ALL": "zh_CN.UTF-8", "ZIGPT_LANG": "fr"}, "zh"),
    ],
)
def test_the_variable_counts_more_than_the_locale(monkeypatch, variables, spoken):
    for name in ("ZIGPT_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert language() == spoken


def test_what_is_spoken_for_a_while_counts_more_than_the_variable(chinese):
    with speak("en"):
        assert tr("no text was given") == "no text was given"
        with speak("zh"):
            assert tr("no text was given") == "没有给文本"
    assert tr("try `port` {port}", port=80) == "试试 `port` 80"
    assert mark("no text was given") == "no text was given"


@pytest.mark.parametrize(
    "arguments", [["--lang", "zh", "train"], ["train", "--lang=zh"], ["train", "--lang", "zh"]]
)
def test_the_option_counts_most_wherever_it_stands(tmp_path, capsys, arguments):
    assert main([*arguments, str(tmp_path / "missing.txt")]) == 3
    what, why, fix = capsys.readouterr().err.splitlines()
    assert what.startswith("错误：无法读取 ")
    assert (why, fix) == ("原因：文件或目录不存在", "办法：检查路径和权限")
    assert main(["train", str(tmp_path / "missing.txt")]) == 3
    assert capsys.readouterr().err.startswith("error: cannot read ")


def test_another_language_is_refused_like_any_wrong_word(capsys):
    assert main(["train", "--lang", "de"]) == 2
    assert "--lang: 'de' is not one of en, zh" in capsys.readouterr().err


@pytest.mark.parametrize("name", [None, *command_line().commands])
def test_help_is_all_chinese(chinese, capsys, name):
    assert main([*([name] if name else []), "--help"]) == 0
    out = capsys.readouterr().out
    assert CHINESE.search(out)
    assert not ENGLISH.search(out)


@pytest.mark.parametrize("columns", [60, 80])
def test_no_line_of_help_is_wider_than_the_terminal(chinese, monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    for name in command_line().commands:
        assert main([name, "--help"]) == 0
        options, _, _ = capsys.readouterr().out.partition("没有写明的设置")  # then a table
        assert max(map(cell_len, options.splitlines())) <= columns


@pytest.mark.parametrize(
    "arguments",
    [
        ["trian"],
        [],
        ["train", "--zzz"],
        ["train", "--n-layer", "three"],
        ["train", "--minutes", "0"],
        ["train", "--n-embd", "100", "--n-head", "6", "--preset", "tiny"],
        ["train", "--resume", "--run", "nowhere"],
        ["train", "--device", "tpu"],
        ["sample"],
        ["sample", "nowhere"],
        ["sample", "nowhere", "--temperature"],
        ["eval", "nowhere", "a", "b"],
        ["explain", "windw"],
        ["bench", "--rounds", "0"],
        ["web", "--port", "65536"],
    ],
)
def test_what_is_refused_is_refused_in_chinese(tmp_path, monkeypatch, chinese, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    code = main(arguments)
    shown = capsys.readouterr()
    assert code in ((2, 3) if arguments else (0,))
    for line in shown.err.splitlines() or shown.out.splitlines():
        assert CHINESE.search(line) or not re.search("[a-z]", line), line
        assert not ENGLISH.search(line), line


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """All that a first evening with zigpt shows, by command, in Chinese."""
    folder = tmp_path_factory.mktemp("chinese")
    (folder / "text.txt").write_text(story(20_000))

    def zigpt(*arguments):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert main(["--lang", "zh", *arguments]) == 0
        return out.getvalue()

    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        short = [*SMALL, "--max-steps", "20", "--eval-interval", "5"]
        shown = {"train": zigpt("train", "text.txt", *short, "--run", "r")}
        shown["plan"] = zigpt("plan", "text.txt", *short)
        shown |= {name: zigpt(name, "r") for name in ("eval", "verify")}
        for topic in ("model", "window", "mask", "batch", "characters"):
            shown[topic] = zigpt("explain", topic, "r")
    return shown


def test_nothing_that_a_run_shows_is_english(spoken):
    before, _, after = spoken["train"].partition("训练之前")
    shown = {**spoken, "train": before + after[after.index("接下来") :]}
    for name, text in shown.items():
        lines = [line for line in text.splitlines() if "续写" not in line]
        assert any(map(CHINESE.search, lines)), name
        assert [line for line in lines if ENGLISH.search(line)] == []


def test_columns_stay_aligned_where_characters_take_two_cells(spoken):
    labels = [
        line for line in spoken["train"].splitlines() if line.startswith(("文本", "划分", "计划"))
    ]
    assert len(labels) == 3
    assert {line[2:6] for line in labels} == {"    "}


def test_what_a_program_reads_is_the_same_in_both(tmp_path, chinese, capsys):
    book = tmp_path / "book.txt"
    book.write_text(story(3000), encoding="utf-8")
    assert main(["plan", str(book), *SMALL, "--json"]) == 0
    shown = capsys.readouterr().out
    assert json.loads(shown)["advice"]
    assert not CHINESE.search(shown)
    assert main(["--lang", "zh", "plan", str(book), *SMALL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["advice"] == json.loads(shown)["advice"]


def test_the_loss_comes_first_in_both(spoken):
    assert spoken["eval"].split()[0].replace(".", "").isdigit()


def test_a_refusal_is_in_the_language_in_which_it_was_made():
    with speak("zh"):
        error = TextError(tr("no text was given"), tr("there is nothing to learn from"), "…")
        assert str(error).splitlines()[1] == "原因：没有可以学习的内容"


def test_chinese_lines_break_anywhere_but_before_a_closing_mark():
    assert folded("一二三四，五六七八。", 8) == ["一二三", "四，五六", "七八。"]
    assert folded("one two  three\n\nabcdefghij", 7) == ["one two", "three", "", "abcdefg", "hij"]


def test_columns_of_two_texts_are_aligned_by_cells():
    assert side_by_side("床前明月光", "a lamp", 4) == ["床前  a", "明月  lamp", "光"]
