"""The command line as a person meets it: real runs, real refusals, exit codes."""

import contextlib
import inspect
import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, fields
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest
import torch

from stress.settings import shortened
from tests.runs import SMALL, wait_for_line, zigpt
from tests.texts import story
from zigpt import __version__
from zigpt.cli import commands, spelling
from zigpt.cli.main import guarded, main
from zigpt.cli.sample import SampleRequest
from zigpt.cli.screen import Screen
from zigpt.cli.spelling import option, program
from zigpt.data.encodings import Decoding
from zigpt.formats.saved_model import load_model, save_model
from zigpt.gpt.config import PRESETS, GPTConfig, SampleConfig, TrainConfig, configure
from zigpt.runs.checkpoint import list_checkpoints
from zigpt.tokenizers.base import Unknown

LONG = ["--max-steps", 250, "--eval-interval", 100, "--dropout", 0.2]  # enough to be stopped in


def lines_of(text):
    return text.strip().splitlines()


@pytest.fixture
def refused(capsys):
    """Run a command that must be refused: the exit code, three lines, no traceback."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        error = capsys.readouterr().err
        what, why, fix = lines_of(error)
        assert what.startswith("error: ")
        assert why.startswith("why: ")
        assert fix.startswith("fix: ")
        assert len(max(lines_of(error), key=len)) < 300
        return code, what.removeprefix("error: "), why.removeprefix("why: "), fix

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run folder that `zigpt train` has written, and what it printed."""
    folder = tmp_path_factory.mktemp("trained")
    text = folder / "book.txt"
    text.write_text(story(6000) + "\n", encoding="utf-8")
    with (folder / "out").open("w+") as out, contextlib.redirect_stdout(out):
        code = main(["train", str(text), *SMALL, "--max-steps", "60", "--run", str(folder / "run")])
    assert code == 0
    return folder / "run", (folder / "out").read_text(), text


def test_a_training_says_what_it_does_from_the_text_to_the_next_command(trained):
    run, out, text = trained
    for part in (
        f"text    {text}: 6,001 characters, {len(set(text.read_text()))} distinct, UTF-8",
        "split   5,400 characters to learn from, 601 held out for validation: the last tenth",
        "preset  tiny: layers 1, heads 2, width 16, block 16, batch 4: 64 predictions per step",
        "plan    60 steps, 0.7 times through the text, dropout 0, about",
        f"ladder  uniform {math.log(len(set(text.read_text()))):.3f} > unigram",
        "step      0  train ",
        "step     10  train",
        "step     30  writes: ",
        "exact over the whole split",
        "verdict   ",
        f"sample {run} --prompt=",
        f"eval {run}",
    ):
        assert part in out


def test_a_run_folder_holds_what_the_design_says(trained):
    run, _, _ = trained
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    parts = ("weights.safetensors", "optimizer.safetensors", "counters.json", "MANIFEST.json")
    steps = [path.name for path in list_checkpoints(run / "checkpoints")]
    assert len(steps) == 2  # the last one, and one before it that the clock chose
    assert steps[-1] == "step-00000060"
    assert names == {
        "run.json", "metrics.jsonl", "samples.txt", "loss.png", "model.safetensors",
        *(f"checkpoints/{step}/{part}" for step in steps for part in parts),
        *(f"snapshots/step-000000{n}.safetensors" for n in ("00", "01", "03", "10", "30", "60")),
    }  # fmt: skip
    rows = [json.loads(line) for line in lines_of((run / "metrics.jsonl").read_text())]
    assert [row["step"] for row in rows] == [0, 10, 20, 30, 40, 50, 60]
    keys = ["step", "train_loss", "val_loss", "learning_rate", "chars_per_second", "seconds"]
    assert all(list(row) == keys for row in rows)
    assert rows[0]["chars_per_second"] is None
    assert rows[-1]["val_loss"] < rows[0]["val_loss"] - 0.3
    heads = [line for line in (run / "samples.txt").read_text().splitlines() if "════" in line]
    assert heads == [f"════ step {step} ════" for step in (0, 1, 3, 10, 30, 60)]
    info = json.loads((run / "run.json").read_text())
    assert info["text"]["characters"] == 6001
    assert info["training"]["seed"] == 1337


def sample(capsys, *arguments):
    assert main(["sample", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_a_sample_of_a_training_can_be_had_again_from_its_snapshot(trained, capsys):
    run, _, _ = trained
    prompt = json.loads((run / "run.json").read_text())["prompt"]
    kept = (run / "samples.txt").read_text()
    for step in (0, 1, 3, 10, 30, 60):
        snapshot = run / "snapshots" / f"step-{step:08}.safetensors"
        text = sample(capsys, snapshot, "--prompt", prompt, "--chars", 200, "--seed", 1337)
        assert f"════ step {step} ════\n{text}\n" in kept


def test_the_text_alone_goes_to_stdout_and_one_seed_gives_one_text(trained, capsys):
    run, _, _ = trained
    first = sample(capsys, run, "--prompt", "river", "--chars", 100, "--seed", 3)
    assert first.startswith("river")
    assert len(first) == len("river") + 100 + 1
    assert first == sample(capsys, run, "--prompt", "river", "--chars", 100, "--seed", 3)
    assert first != sample(capsys, run, "--prompt", "river", "--chars", 100, "--seed", 4)
    alone = sample(
        capsys, run / "model.safetensors", "--prompt", "river", "--chars", 100, "--seed", 3
    )
    assert alone == first


def test_several_texts_are_those_of_the_following_seeds(trained, capsys):
    run, _, _ = trained
    each = [sample(capsys, run, "--prompt", "a", "--chars", 30, "--seed", s) for s in (7, 8, 9)]
    together = sample(capsys, run, "--prompt", "a", "--chars", 30, "--seed", 7, "--count", 3)
    assert together == "---\n".join(each)


def test_writing_ends_before_a_stop(trained, capsys):
    run, _, _ = trained
    whole = sample(capsys, run, "--chars", 200)
    stopped = sample(capsys, run, "--chars", 200, "--stop", "e", "--stop", " t")
    cut = min(whole.find(stop) for stop in ("e", " t") if stop in whole)
    assert stopped == whole[:cut] + "\n"


def test_a_stop_that_can_never_be_reached_is_refused(trained, refused):
    run, _, _ = trained
    code, what, why, fix = refused("sample", run, "--stop", "e", "--stop", r"\n")
    assert code == 3
    assert what.startswith(r"--stop '\\n' can never be reached")
    assert r"'\\' (U+005C) at 0" in why
    assert fix.endswith(r"a line break is typed as $'\n' in bash")


def test_an_unseen_character_is_refused_by_name_unless_told_otherwise(trained, refused, capsys):
    run, _, _ = trained
    code, what, _, fix = refused("sample", run, "--prompt", "riv字er")
    assert code == 3
    assert "'字' (U+5B57) at 3" in what
    assert "set --unknown to drop or replace" in fix
    dropped = sample(capsys, run, "--prompt", "riv字er", "--unknown", "drop", "--chars", 20)
    assert dropped == sample(capsys, run, "--prompt", "river", "--chars", 20)


def test_eval_prints_the_exact_loss_first_and_agrees_with_itself(trained, capsys):
    run, out, text = trained
    assert main(["eval", str(run)]) == 0
    shown = capsys.readouterr().out
    loss = float(shown.split()[0])
    assert shown.split()[1:4] == ["nats", "per", "character"]
    assert f"validation loss {loss:.4f} nats per character" in out
    assert main(["eval", str(run), str(text), "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["nats_per_char"] == pytest.approx(loss, abs=1e-6)
    assert numbers["bits_per_char"] == pytest.approx(loss / math.log(2), abs=1e-5)
    assert numbers["perplexity"] == pytest.approx(math.exp(loss), rel=1e-5)
    assert numbers["characters"] == 600


def test_another_text_is_scored_whole(trained, capsys, tmp_path, refused):
    run, _, _ = trained
    other = tmp_path / "other.txt"
    other.write_text(story(500, seed=9), encoding="utf-8")
    assert main(["eval", str(run), str(other), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["characters"] == 499
    other.write_text("字" * 50, encoding="utf-8")
    assert refused("eval", run, other)[0] == 3
    assert refused("eval", run, other, "--unknown", "drop")[1].endswith("has nothing to score")


@pytest.fixture(params=["file", "folder"])
def moved(request, tmp_path, capsys):
    """A run whose text has moved: the run, where the text was, where it is."""
    books, run = tmp_path / "my books", tmp_path / "the run"
    books.mkdir()
    for name in ("one.txt", "two.txt"):
        (books / name).write_text(story(2000) + name, encoding="utf-8")
    text = books if request.param == "folder" else books / "one.txt"
    with shortened():
        assert main(["train", str(text), *SMALL, "--max-steps", "3", "--run", str(run)]) == 0
    away = books.rename(tmp_path / "elsewhere")
    capsys.readouterr()
    return run, books, away if request.param == "folder" else away / "one.txt"


@pytest.mark.parametrize("command", ["eval", "train --resume --run"])
def test_a_text_that_has_moved_can_be_named_or_put_back(moved, refused, capsys, command):
    run, books, away = moved
    code, what, why, fix = refused(*command.split(), run)
    assert code == 3
    assert what.startswith(f"cannot read {books / 'one.txt'}")
    assert why == "the training text is no longer there"
    assert fix.startswith("fix: put it back there, or name ")
    _, *spelled = shlex.split(fix[fix.index("zigpt ") :])
    assert main([str(away) if word == "TEXT" else word for word in spelled]) == 0
    words = capsys.readouterr().out
    assert "the validation split of" in words or "resuming at step 3" in words
    if not command.startswith("train"):  # which has noted where the text is now
        (away.parent if away.is_file() else away).rename(books)
    assert main([*command.split(), str(run)]) == 0


def test_verify_says_where_a_text_is_missing(moved, capsys):
    run, books, _ = moved
    assert main(["verify", "--json", str(run)]) == 0
    detail = json.loads(capsys.readouterr().out)["checks"][1]["detail"]
    assert detail.startswith(f"cannot read {books / 'one.txt'}")
    assert detail.endswith("To have it checked, put it back there.")


def test_plan_tells_people_and_programs_the_same(trained, capsys):
    _, _, text = trained
    assert main(["plan", str(text), *SMALL]) == 0
    shown = capsys.readouterr().out
    assert main(["plan", str(text), *SMALL, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["survey"]["characters"] == 6001
    assert plan["advised_preset"] == "tiny"
    assert plan["model"]["n_embd"] == 16
    assert f"{plan['plan']['parameters']:,}" in shown
    assert "time    about" in shown
    assert "rarest  " in shown


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("model", "position embedding 16 x 16"),
        ("window", "One window gives 16 training examples"),
        ("mask", "changes the scores before it by 0,"),
        ("batch", "64 windows x 256 characters = 16,384 predictions"),
        ("characters", "50,257"),
    ],
)
def test_every_idea_is_shown_on_the_readers_own_model(trained, capsys, topic, expected):
    run, _, _ = trained
    assert main(["explain", topic, str(run)]) == 0
    assert expected in capsys.readouterr().out


def test_the_tables_are_given_the_share_that_they_have_in_this_model(trained, capsys):
    run, _, _ = trained
    assert main(["explain", "characters", str(run)]) == 0
    table = load_model(run, torch.device("cpu")).model.config.parameter_table()
    share = (table["token embedding"] + table["head"]) / sum(table.values())
    assert f"they hold {share:.1%} of all parameters" in capsys.readouterr().out


def test_the_modern_architecture_is_trained_kept_and_written_with(trained, tmp_path, capsys):
    _, _, text = trained
    run = tmp_path / "modern"
    settings = [*SMALL, "--architecture", "modern", "--max-steps", "3"]
    with shortened():
        assert main(["train", str(text), *settings, "--run", str(run)]) == 0
    assert main(["explain", "model", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "x = x + attention(shift(LayerNorm(x)))" in shown
    assert "position embedding" not in shown
    quick = sample(capsys, run, "--temperature", 0, "--chars", 40)
    assert quick == sample(capsys, run, "--temperature", 0, "--chars", 40, "--device", "cpu")


def test_the_window_table_has_one_row_for_each_position_of_the_text_given(trained, capsys):
    run, _, _ = trained
    assert main(["explain", "window", str(run), "--text", "stone"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if " -> " in line][1:]
    assert [row.split()[1:4] for row in rows] == [
        ["s", "->", "t"], ["st", "->", "o"], ["sto", "->", "n"], ["ston", "->", "e"],
    ]  # fmt: skip


def test_a_text_with_unknown_characters_cannot_be_explained(refused, trained):
    run, _, _ = trained
    code, what, _, fix = refused("explain", "mask", run, "--text", "日本")
    assert (code, fix) == (3, "fix: give a --text without them")
    assert "'日' (U+65E5)" in what


def test_bad_texts_are_refused_each_for_its_own_reason(refused, tmp_path):
    def file(name, data):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    train = ["train", *SMALL, "--max-steps", "5", "--run", tmp_path / "run"]
    short = story(100).encode()
    for path, words in [
        (tmp_path / "missing.txt", "missing.txt"),
        (file("empty.txt", b""), "empty"),
        (file("binary.txt", bytes(range(256)) * 20), "binary"),
        (file("same.txt", b"a" * 500), "fewer than two distinct"),
        (file("short.txt", short), "100 characters are too few for block size 16"),
    ]:
        code, what, why, fix = refused(*train, path)
        assert code == 3
        assert words in f"{what} {why}", what
        assert not (tmp_path / "run").exists()
    assert "use a --block-size of 9 or less" in fix


def test_a_time_and_a_number_of_steps_cannot_both_decide(refused, trained, tmp_path):
    _, _, text = trained
    code, what, _, _ = refused("train", text, "--minutes", 1, "--max-steps", 5)
    assert code == 2
    assert "--minutes cannot be combined" in what


def test_a_model_that_scores_nothing_is_refused_by_eval(refused, trained, tmp_path):
    run, _, text = trained
    saved = load_model(run, torch.device("cpu"))
    with torch.no_grad():
        saved.model.head.weight.fill_(float("nan"))
    save_model(tmp_path / "model.safetensors", saved)
    code, what, _, _ = refused("eval", tmp_path, text)
    assert code == 3
    assert "the loss is not finite" in what


def test_a_text_of_white_space_trains_to_the_end(tmp_path, capsys):
    text = tmp_path / "b\udcff d.txt"
    text.write_text(" \t \n" * 500, encoding="utf-8")
    assert (
        main(["train", str(text), *SMALL, "--max-steps", "3", "--run", str(tmp_path / "r n")]) == 0
    )
    assert f"sample '{tmp_path}/r n'" in capsys.readouterr().out


def test_impossible_settings_are_all_named_at_once(refused, trained, tmp_path):
    _, _, text = trained
    code, what, why, fix = refused(
        "train", text, "--n-embd", 100, "--n-head", 6, "--batch-size", 0, "--dropout", 1.5,
        "--run", tmp_path / "run",
    )  # fmt: skip
    assert code == 2
    assert "3 problems" in what
    assert "n_embd (100) must be divisible by 2 x n_head (12)" in why
    assert "batch_size (0)" in why
    assert "dropout (1.5)" in why
    assert "try --n-embd 96 or 108" in fix
    assert not (tmp_path / "run").exists()


def test_a_model_larger_than_the_machine_is_refused_before_it_is_built(refused, trained, tmp_path):
    _, _, text = trained
    code, what, why, _ = refused("train", text, "--n-embd", 10**6, "--run", tmp_path / "run")
    assert code == 7
    assert "parameters do not fit into" in what
    assert "needs about" in why
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--n-layr", "3"], "--n-layr"),
        (["train", "--n-layer", "three"], "--n-layer: 'three' is not a valid integer"),
        (["sample", "x", "--chars", "1.5"], "--chars: '1.5' is not a valid integer"),
        (["sample", "x", "--temperature", "hot"], "--temperature: 'hot' is not a valid float"),
        (["bench", "--rounds", "it's"], '--rounds: "it\'s" is not a valid integer'),
        (["train", "--preset", "huge"], "huge"),
        (["train", "--minutes", "-1"], "--minutes"),
        (["train", "--device", "abacus"], "abacus"),
        (["nonsense"], "nonsense"),
        (["train", "--preset"], "--preset"),
        (["train", "--resume=yes"], "--resume"),
        (["train", "--help=yes"], "--help"),
        (["sample"], "zigpt sample needs RUN"),
        (["sample", "x", "y"], "unexpected extra argument (y)"),
        (["bench", "limitz"], "'limitz'"),
        (["sample", "x", "--temperature", "-1"], "impossible settings"),
        (["sample", "x", "--top-p", "nan"], "impossible settings"),
        (["sample", "x", "--count", "0"], "cannot write 0 texts"),
    ],
)
def test_a_command_that_makes_no_sense_is_a_usage_error(refused, arguments, words):
    code, what, _, _ = refused(*arguments)
    assert code == 2
    assert words in what


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["train", "--n-layr", "3"], "--n-layer"),
        (["train", "--n-layers", "3"], "--n-layer"),
        (["train", "--presett", "tiny"], "--preset"),
        (["train", "--runs", "x"], "--run"),
        (["sample", "x", "--promptt", "a"], "--prompt"),
        (["train", "--preset", "lapto"], "laptop"),
        (["explain", "windw"], "window"),
        (["bench", "text", "limitz"], "limits"),
        (["sampel", "x"], "sample"),
    ],
)
def test_a_misspelled_word_is_answered_with_the_nearest(refused, arguments, meant):
    assert f"fix: did you mean {meant}? see " in refused(*arguments)[3]


def test_where_nothing_is_near_nothing_is_guessed(refused):
    assert refused("train", "--zzz", "3")[3] == f"fix: see {program()} train --help"


@pytest.mark.parametrize("name", commands.command_line().commands)
def test_each_command_takes_what_the_command_line_gives_it(name):
    run = import_module(f"zigpt.cli.{name}").run
    named = {
        part.name
        for part in inspect.signature(run).parameters.values()
        if part.kind != part.VAR_KEYWORD
    }
    given = {
        param.name for param in commands.command_line().commands[name].params if param.expose_value
    }
    settings = {
        field.name for config in (GPTConfig, TrainConfig, SampleConfig) for field in fields(config)
    }
    settings |= {field.name for field in fields(Decoding)}
    settings |= {"validation", "separator", "shuffle_documents"}  # see `take_arrangement`
    if name == "bench":
        settings = set()  # its parts are others
    if name == "sample":
        settings |= {field.name for field in fields(SampleRequest)}
    assert named == given - settings
    assert get_args(Unknown) == commands.UNKNOWN


def test_a_resume_says_what_of_the_machine_has_changed(tmp_path, trained, capsys):
    run, text = tmp_path / "run", trained[2]
    assert main(["train", str(text), *SMALL, "--max-steps", "2", "--run", str(run)]) == 0
    again = ["train", "--resume", "--run", str(run), "--max-steps"]
    assert "last digits" not in capsys.readouterr().out
    assert main([*again, "3"]) == 0
    assert "last digits" not in capsys.readouterr().out
    file = run / "run.json"
    record = json.loads(file.read_bytes())
    assert record["threads"] == torch.get_num_threads()
    file.write_text(json.dumps({**record, "threads": 64, "torch": "1.0"}))
    assert main([*again, "4"]) == 0
    assert (
        f"this run was made with PyTorch 1.0, 64 threads; with PyTorch {torch.__version__}, "
        f"1 thread the last digits of its numbers will differ\n"
    ) in capsys.readouterr().out
    del record["threads"], record["cpu"]  # as runs were recorded before
    file.write_text(json.dumps(record))
    assert main([*again, "5"]) == 0
    assert "last digits" not in capsys.readouterr().out


def test_a_learning_rate_rises_only_where_that_is_wanted(tmp_path, trained, capsys):
    run, text = tmp_path / "run", trained[2]

    def rates(*words):
        assert main(["train", *words, "--run", str(run)]) == 0
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return {row["step"]: row["learning_rate"] for row in rows}, capsys.readouterr().out

    now, told = rates(str(text), *SMALL, "--max-steps", "20")
    assert now[20] < 0.0012
    assert "learning rate stays" not in told
    now, told = rates("--resume", "--max-steps", "40")
    assert now[30] == now[40] == 0.001
    assert ("the learning rate stays at 0.001 until step 40; --learning-rate changes it\n") in told
    now, told = rates("--resume", "--max-steps", "60", "--learning-rate", "0.01")
    assert 0.01 >= now[50] > 0.005 > now[60] > 0.001
    assert "the learning rate falls from 0.01 to 0.001 at step 60\n" in told
    now, told = rates("--resume", "--max-steps", "60", "--learning-rate", "0.01")  # typed again
    assert "no step is left" in told
    now, told = rates("--resume", "--max-steps", "80", "--learning-rate", "0.01")
    assert now[70] > 0.005 > now[80]


def test_a_folder_that_exists_is_never_overwritten(refused, trained):
    run, _, text = trained
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    code, what, _, fix = refused("train", text, *SMALL, "--run", run)
    assert code == 4
    assert "exists already" in what
    assert "--resume" in fix
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert refused("train", text, *SMALL, "--run", text)[3] == "fix: choose another name as --run"


def test_a_damaged_or_missing_model_is_refused(refused, tmp_path):
    assert refused("sample", tmp_path / "nothing")[0] == 3
    (tmp_path / "model.safetensors").write_bytes(b"\x10" + bytes(100))
    code, what, _, _ = refused("sample", tmp_path)
    assert code == 3
    assert "damaged" in what


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryError(), 7, "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), 7, "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory."), 7, "out of memory"),
        (KeyError("x"), 1, "internal error: KeyError"),
    ],
)
def test_what_nobody_foresaw_still_ends_in_three_lines(capsys, error, code, words):
    def fail():
        raise error

    assert guarded(fail) == code
    assert words in capsys.readouterr().err
    assert guarded(lambda: None) == 0


def test_help_does_not_load_torch():
    code = (
        "import sys\nfrom zigpt.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert result.returncode == 0
    for command in (b"train", b"sample", b"eval", b"plan", b"explain"):
        assert command in result.stdout


@pytest.mark.parametrize("columns", ["80", "100"])
def test_help_shows_options_in_groups_and_what_each_preset_sets(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", columns)
    assert main(["train", "--help"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, lines_of(out))) <= int(columns)
    titles = [line for line in lines_of(out) if line.endswith(":") and line[0] != " "]
    assert titles == ["Positional arguments:", "Text and run:", "Model:", "Training:"]
    head, *rows = [line.split() for line in out[out.index("What is left out") :].splitlines()[1:]]
    assert head == list(PRESETS)
    table = {row[0]: dict(zip(PRESETS, row[1:], strict=True)) for row in rows}
    helps = {param.name: param.help for param in commands.command_line().commands["train"].params}
    for preset in PRESETS:
        model, training = configure(65, preset, {})
        for name, value in (asdict(model) | asdict(training)).items():
            if option(name) in table:
                assert type(value)(table[option(name)][preset]) == value
            elif name != "vocab_size":
                assert helps[name].endswith(f"[default: {value}]")


def test_a_printed_command_can_be_typed_back():
    words = ["sample", Path("-run"), "--prompt", "-it's", Path("a b")]
    _, *typed = shlex.split(spelling.command(*words).removeprefix(program()[:-5]))
    assert typed == ["sample", "./-run", "--prompt", "-it's", "a b"]


def test_on_windows_a_printed_command_is_quoted_for_powershell(monkeypatch):
    monkeypatch.setattr(spelling, "_POWERSHELL", True)
    words = ["train", Path("C:\\my texts\\it's.txt"), Path("C:\\a_1.txt"), "--top-p=0.9", "--top-k",
             "3", "a@b,c;d$e", "", "字"]  # fmt: skip
    assert spelling.command(*words).removeprefix(program()) == (
        " train 'C:\\my texts\\it''s.txt' C:\\a_1.txt '--top-p=0.9' --top-k 3 'a@b,c;d$e' '' '字'"
    )
    monkeypatch.setattr(spelling.shutil, "which", lambda name: None)
    monkeypatch.setattr(spelling.sys, "argv", ["my tools/zigpt"])
    assert spelling.command("web") == "& 'my tools/zigpt' web"


def test_the_version_is_shown(capsys):
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A training run that nothing stops, and what it was asked for."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    (folder / "book.txt").write_text(story(6000), encoding="utf-8")
    settings = [folder / "book.txt", *SMALL, *LONG]
    assert main(["train", *map(str, settings), "--run", str(folder / "whole")]) == 0
    return folder / "whole", settings


def test_stopped_and_resumed_a_run_ends_bit_equal_to_an_uninterrupted_one(uninterrupted, tmp_path):
    whole, settings = uninterrupted
    with zigpt("train", *settings, "--run", tmp_path / "parts") as stopped:
        wait_for_line(stopped, "step     30  ")
        stopped.send_signal(signal.SIGINT)
        out, err = stopped.communicate(timeout=60)
    assert stopped.returncode == 130, err
    assert "stopped and saved at step" in out
    assert f"train --resume --run {tmp_path / 'parts'}" in out
    with zigpt("train", "--resume", "--run", tmp_path / "parts") as resumed:
        out, err = resumed.communicate(timeout=60)
    assert resumed.returncode == 0, err
    assert "resuming at step" in out
    weights = "checkpoints/step-00000250/weights.safetensors"
    for name in ("model.safetensors", weights, "samples.txt"):
        assert (tmp_path / "parts" / name).read_bytes() == (whole / name).read_bytes()


def test_resuming_a_run_that_has_made_its_steps_says_so(trained, tmp_path, capsys):
    run = shutil.copytree(trained[0], tmp_path / "run")
    assert main(["train", "--resume", "--run", str(run), "--max-steps", "1"]) == 0
    steps = json.loads(lines_of((run / "metrics.jsonl").read_text())[-1])["step"]
    assert f"no step is left to make: {steps} are made, 1 wanted\n" in capsys.readouterr().out


def test_resuming_refuses_other_settings_and_another_text(trained, refused, tmp_path):
    run, _, _ = trained
    before = (run / "run.json").read_bytes()
    going_on = ("train", "--resume", "--run", run)
    assert refused(*going_on, "--n-embd", 32)[0] == 2
    for preset in ("laptop", "gpu", "seed"):
        code, what, why, fix = refused(*going_on, "--preset", preset)
        assert (code, what) == (2, "impossible settings: 1 problem")
        assert (why, fix) == (f"preset is tiny in {run}, not {preset}", "fix: drop --preset")
    assert "2 problems" in refused(*going_on, "--preset", "gpu", "--seed", 2)[1]
    code, what, _, fix = refused(*going_on, "--minutes", 1)
    assert (code, fix) == (2, "fix: keep one of them")
    assert "--minutes cannot be combined" in what
    other = tmp_path / "other.txt"
    other.write_text(story(6000, seed=2), encoding="utf-8")
    assert refused("train", other, "--resume", "--run", run)[0] == 3
    assert refused("train", "--resume", "--run", tmp_path / "nothing")[0] == 3
    assert (run / "run.json").read_bytes() == before
    assert main([str(word) for word in (*going_on, "--preset", "tiny", "--max-steps", 60)]) == 0


def test_a_run_on_the_default_text_finds_it_again_whatever_has_come_since(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("zigpt.data.source._download", _no_network)
    assert main(["train", *SMALL, "--max-steps", "3", "--run", "run"]) == 0
    assert "the Python language reference" in capsys.readouterr().out
    (tmp_path / "input.txt").write_text(story(500), encoding="utf-8")
    assert main(["eval", "run"]) == 0
    assert main(["train", "--resume", "--run", "run", "--max-steps", "5"]) == 0


def _no_network(url, sha256, notify):
    raise ConnectionError


def test_a_training_whose_reader_goes_away_still_finishes(tmp_path):
    text = tmp_path / "book.txt"
    text.write_text(story(3000), encoding="utf-8")
    with zigpt("train", text, *SMALL, "--max-steps", 50, "--run", tmp_path / "run") as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""
    assert load_model(tmp_path / "run", torch.device("cpu")).about["step"] > 0
    assert (tmp_path / "run" / "checkpoints" / "step-00000050").is_dir()


@pytest.mark.parametrize("broken", ["reader", "disk"])
def test_a_screen_that_nobody_can_read_stops_no_work(monkeypatch, broken):
    if broken == "disk" and not os.path.exists("/dev/full"):
        pytest.skip("no device that is always full")
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer if broken == "reader" else "/dev/full", "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with Screen() as screen:
            for step in range(100):
                screen.say("a line " * 200)
                screen.show(step, "a status")
        stream.write("left for the end")


def test_a_sample_whose_reader_goes_away_ends_quietly(trained):
    run, _, _ = trained
    with zigpt("sample", run, "--chars", 5000) as process:
        process.stdout.read(5)
        process.stdout.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""


def test_a_full_disk_stops_with_storage_and_keeps_what_was_saved(tmp_path):
    resource = pytest.importorskip("resource")  # not on Windows
    text = tmp_path / "book.txt"
    text.write_text(story(3000), encoding="utf-8")
    with zigpt(
        "train", text, *SMALL, "--max-steps", 50, "--run", tmp_path / "run",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)),
    ) as process:  # fmt: skip
        _, err = process.communicate(timeout=60)
    assert process.returncode == 5
    assert len(lines_of(err)) == 3
    assert "cannot write" in err
    assert json.loads((tmp_path / "run" / "run.json").read_text())
    assert not list((tmp_path / "run").glob("*.tmp"))


PROSE = (
    "清晨的雾还没有散开，河边的石阶已经站满了等船的人。老人提着灯笼，慢慢走过木桥，"
    "桥下的水声很轻，像有人在低声说话。孩子们数着远处的帆，一只，两只，三只。\n"
) * 12


def test_one_text_in_any_encoding_gives_the_same_ids_and_a_model_that_writes_it(tmp_path, capsys):
    prints = set()
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "gb18030"):
        text = tmp_path / f"{encoding}.txt"
        text.write_bytes(PROSE.encode(encoding))
        run = tmp_path / encoding
        small = [*SMALL, "--max-steps", "5", "--run", str(run)]
        with shortened():
            assert main(["train", str(text), *small]) == 0
        saved = load_model(run, torch.device("cpu"))
        ids = saved.tokenizer.encode(PROSE)
        prints.add((saved.about["text"]["sha256"], saved.tokenizer.vocabulary, ids.tobytes()))
        out = capsys.readouterr().out
        assert ("not UTF-8" in out) == (not encoding.startswith("utf-8"))
    assert len(prints) == 1
    written = sample(capsys, tmp_path / "gb18030", "--prompt", "清晨", "--chars", 40)
    assert set(written) <= set(PROSE)
    assert sum("\u4e00" <= character <= "\u9fff" for character in written) > 20


def test_a_time_budget_decides_the_number_of_steps(trained, tmp_path):
    _, _, text = trained
    run = tmp_path / "run"
    assert main(["train", str(text), *SMALL, "--minutes", "0.03", "--run", str(run)]) == 0
    training = json.loads((run / "run.json").read_text())["training"]
    assert training["max_steps"] != 600
