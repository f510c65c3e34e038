"""What the page is told of a run: read by the one reader, judged by the trainer's own rules."""

import asyncio
import json
import shutil

import pytest
import torch

from tests.serving import GOLDEN
from tests.texts import story
from zigpt.cli.web import spell_training
from zigpt.data.batches import Corpus
from zigpt.gpt.config import PRESETS, GPTConfig, TrainConfig
from zigpt.training.loop import TrainState, train
from zigpt.training.verdict import is_out_of_patience
from zigpt.web.app_state import AppState
from zigpt.web.handlers.requests import StartRequest, parse
from zigpt.web.watch import Watcher

LADDER = {"uniform": 3.0, "unigram": 2.5, "bigram": 2.0, "trigram": 2.2, "5-gram": 1.5}


@pytest.fixture
def run(tmp_path):
    """A run of three evaluations, ten steps apart, with patience 2 and 40 steps."""
    shutil.copytree(GOLDEN, tmp_path / "run")
    return change(tmp_path / "run", patience=2, max_steps=40, losses=[3.1, 2.4, 2.1])


def change(run, losses, **training):
    info = json.loads((run / "run.json").read_text())
    info["training"] |= training
    info["ladder"] = LADDER
    (run / "run.json").write_text(json.dumps(info))
    rows = [row(10 * at, loss) for at, loss in enumerate(losses)]
    (run / "metrics.jsonl").write_text("".join(rows))
    return run


def row(step, val_loss, **other):
    measured = {"train_loss": 2.0, "learning_rate": 0.1, "chars_per_second": None, "seconds": 1.0}
    return json.dumps({"step": step, "val_loss": val_loss, **measured, **other}) + "\n"


def news(watcher, **now):
    """What is new, by kind."""
    return {event["kind"]: event["value"] for event in watcher.news(now)}


def test_each_row_names_the_best_baseline_that_it_beats(run):
    rows = news(Watcher(run))["rows"]
    assert [row["beats"] for row in rows] == [None, "unigram", "unigram"]
    change(run, [3.1, 1.9, 1.4])
    assert [row["beats"] for row in news(Watcher(run))["rows"]] == [None, "bigram", "5-gram"]


def test_only_what_was_added_is_reported_and_all_of_it_when_the_file_was_cut(run):
    watcher = Watcher(run)
    assert len(news(watcher)["rows"]) == 3
    assert news(watcher) == {}
    assert not watcher.is_due({})
    with (run / "metrics.jsonl").open("a") as file:
        file.write(row(30, 2.2) + row(33, None)[:20])
    assert watcher.is_due({})
    assert [row["step"] for row in news(watcher)["rows"]] == [30]
    change(run, [3.1, 2.3])
    (event,) = [event for event in watcher.news({}) if event["kind"] == "rows"]
    assert event["again"]
    assert [row["step"] for row in event["value"]] == [0, 10]


def test_a_training_ends_at_its_last_step_or_without_patience_and_can_else_be_resumed(run):
    watcher = Watcher(run)
    assert news(watcher)["end"] is None
    with (run / "metrics.jsonl").open("a") as file:
        file.write(row(30, 2.2) + row(35, 2.3))
    assert news(watcher)["end"] == {"early": True, "best_step": 20}
    with (run / "metrics.jsonl").open("a") as file:
        file.write(row(40, 2.4))
    assert news(watcher)["end"] == {"early": False, "best_step": 20}
    change(run, [3.1, 2.4, 2.1], max_steps=50)
    assert news(watcher)["end"] is None


def test_the_trainer_runs_out_of_patience_when_the_page_says_so():
    corpus = Corpus.from_text(story(2000))
    shape = {"n_layer": 1, "n_head": 1, "n_embd": 8, "block_size": 8, "dropout": 0.0}
    model = GPTConfig(corpus.tokenizer.vocab_size, **shape)
    config = TrainConfig(
        batch_size=2, learning_rate=3.0, max_steps=60, eval_interval=1, eval_chars=16, patience=4
    )
    state, losses = TrainState.initialise(model, config, torch.device("cpu")), []
    for progress in train(state, corpus):
        if progress.evaluation:
            losses.append(progress.evaluation.val_loss)
            assert is_out_of_patience(losses, config.patience) == state.is_out_of_patience
    assert state.is_out_of_patience
    assert len(losses) > config.patience
    assert not is_out_of_patience(losses, 0)


def test_samples_are_reported_whole_with_their_steps(run):
    samples = "════ step 0 ════\nfirst\n\nline\n\n════ step 3 ════\nsecond\n\n"
    (run / "samples.txt").write_text(samples, encoding="utf-8")
    watcher = Watcher(run)
    expected = [{"step": 0, "text": "first\n\nline"}, {"step": 3, "text": "second"}]
    assert news(watcher)["samples"] == expected
    with (run / "samples.txt").open("a", encoding="utf-8") as file:
        file.write("════ step 10 ════\nthird\n\n")
    assert news(watcher)["samples"] == [*expected, {"step": 10, "text": "third"}]
    assert "samples" not in news(watcher)


@pytest.mark.parametrize(
    "odd",
    ["null", "[]", "7", "{}", "{", '"x"', "NaN", row(5, "x"), row(5, float("nan")),
     row(5, 10**400), row(5, 2.0, seconds=float("inf")), row("5", 2.0), row(5, [2.0])],
)  # fmt: skip
def test_rows_that_others_wrote_cannot_break_the_page(run, odd):
    with (run / "metrics.jsonl").open("a") as file:
        file.write(f"{odd.strip()}\n{row(30, 2.0)}")
    found = news(Watcher(run))
    json.dumps(found, allow_nan=False)
    assert [row["step"] for row in found["rows"]] == [0, 10, 20, 30]


def test_a_row_of_format_1_has_a_validation_loss(tmp_path):
    shutil.copytree(GOLDEN, tmp_path / "run")
    assert "test_loss" in (tmp_path / "run" / "metrics.jsonl").read_text()
    rows = news(Watcher(tmp_path / "run"))["rows"]
    assert all(2 < row["val_loss"] < 4 for row in rows)


def test_without_a_run_only_the_rest_is_reported(tmp_path):
    watcher = Watcher(tmp_path)
    assert news(watcher, state="starting") == {"state": "starting"}
    assert not watcher.is_due({"state": "starting"})
    shutil.copytree(GOLDEN, tmp_path / "run")
    watcher.path = tmp_path / "run"
    assert watcher.is_due({"state": "starting"})
    assert news(watcher, state="starting").keys() == {"rows", "end", "samples"}


def test_every_preset_that_is_offered_can_be_chosen():
    state = AppState(GOLDEN, torch.device("cpu"), spell_training)
    offered = asyncio.run(state.describe())["presets"]
    assert offered == ["auto", *PRESETS]
    for preset in offered:
        wanted = parse(StartRequest, json.dumps({"preset": preset}).encode())
        assert wanted.preset == preset
    state.worker.close()
    state.copy_worker.close()
