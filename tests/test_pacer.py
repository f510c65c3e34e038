"""A time budget: the steps that its rest allows, and what a run records of it."""

import json
from dataclasses import replace

import pytest
import torch

from tests.runs import SMALL, saved_steps
from tests.texts import story
from zigpt.cli.main import main
from zigpt.data.batches import Corpus
from zigpt.gpt.config import GPTConfig, TrainConfig
from zigpt.runs import pacer as pacing
from zigpt.runs import session
from zigpt.runs.control import Request, send_request
from zigpt.runs.events import EndMoved, Finished, Opened, Stepped, Waiting
from zigpt.runs.pacer import Pacer
from zigpt.runs.record import read_record
from zigpt.runs.request import TrainRequest
from zigpt.training.loop import TrainState

CORPUS = Corpus.from_text(story(2000))
CONFIG = TrainConfig(max_steps=1000, decay_steps=400, warmup_steps=10, eval_interval=100)
EVALUATION, FINAL = 0.4, 2.0  # seconds


class Clock:
    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pacing, "time", clock)
    monkeypatch.setattr(pacing, "_time_final_loss", lambda *arguments: FINAL)
    return clock


def run_to_the_end(clock, seconds, pace, config=CONFIG):
    """Train on a clock: `pace` says how long a step takes. Returns the state and the time."""
    model = GPTConfig(CORPUS.tokenizer.vocab_size, 8, n_layer=1, n_head=1, n_embd=4, dropout=0.0)
    state = TrainState.initialise(model, config, torch.device("cpu"))
    clock.now += EVALUATION  # at step 0
    pacer = Pacer(seconds, 0)
    pacer.seconds_per_char = 1e-3
    moves = 0
    while state.step < state.config.max_steps:
        clock.now += pace(clock.now)
        state.step += 1
        if state.step % state.config.eval_interval == 0 and state.step < state.config.max_steps:
            clock.now += EVALUATION
            if new := pacer.fit(state, CORPUS, EVALUATION):
                state.config = new
                moves += 1
    clock.now += EVALUATION + FINAL + 0.9 + 1.0  # the final loss, the last texts, the picture
    return state, clock.now, moves


@pytest.mark.parametrize("per_step", [0.01, 0.06, 0.2])
@pytest.mark.parametrize("seconds", [30.0, 60.0, 180.0])
def test_on_a_steady_machine_the_time_is_kept_whatever_was_expected(clock, seconds, per_step):
    _, taken, _ = run_to_the_end(clock, seconds, lambda now: per_step)
    assert taken == pytest.approx(seconds, rel=0.05)


@pytest.mark.parametrize("change", [0.1, 0.3, 0.5, 0.7])
@pytest.mark.parametrize("factor", [2 / 3, 1.5])
def test_on_one_that_changes_its_pace_by_a_third_it_is_missed_by_a_tenth_at_most(
    clock, factor, change
):
    def pace(now):
        return 0.06 if now < change * 90 else 0.06 * factor

    _, taken, _ = run_to_the_end(clock, 90.0, pace)
    assert taken == pytest.approx(90, rel=0.1)


def test_a_plan_that_fits_is_left_alone(clock):
    config = replace(CONFIG, max_steps=1200, decay_steps=480)
    seconds = 1200 * 0.06 + 13 * EVALUATION + FINAL + 1.9
    state, taken, moves = run_to_the_end(clock, seconds, lambda now: 0.06, config)
    assert moves == 0
    assert state.config == config
    assert taken == pytest.approx(seconds)


def test_evaluations_planned_for_slow_steps_do_not_take_the_time_of_quick_ones(clock):
    slow = replace(CONFIG, max_steps=10, decay_steps=4, warmup_steps=1, eval_interval=1)
    state, taken, _ = run_to_the_end(clock, 30.0, lambda now: 0.02, slow)
    assert state.config.max_steps > 700
    assert taken == pytest.approx(30, rel=0.05)


def test_however_late_it_is_the_learning_rate_falls_in_a_few_steps(clock):
    state, _, _ = run_to_the_end(clock, 1.0, lambda now: 1.0)
    assert state.config.max_steps == 100 + 5
    assert state.config.decay_steps == 5


def test_a_pause_does_not_count(clock):
    state, _, _ = run_to_the_end(clock, 1e6, lambda now: 0.06, replace(CONFIG, max_steps=100))
    state.config = CONFIG
    ends = []
    for pause in (0.0, 1000.0):
        clock.now = 0.0
        pacer = Pacer(60.0, 0)
        clock.now = 6.0 + pause
        pacer.add_pause(pause)
        ends.append(pacer.fit(state, CORPUS, 0.0).max_steps)
    assert ends[0] == ends[1] == pytest.approx(100 + (60 - 6 - FINAL - 1) / 0.06, abs=1)


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text(story(3000), encoding="utf-8")
    return path


def test_a_run_with_a_time_budget_records_it_and_where_its_end_was_moved(book, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", str(book), *SMALL, "--minutes", "0.05", "--run", str(run)]) == 0
    record = read_record(run)
    assert record.minutes == 0.05
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    assert last == record.training.max_steps == saved_steps(run)[-1]
    shown = capsys.readouterr().out
    moved = [line for line in shown.splitlines() if "the time is enough for" in line]
    if moved:
        assert moved[-1].split()[-2] == f"{record.training.max_steps:,}"
    # More steps than asked for by a person: the clock has no say any more.
    steps = str(last + 5)
    assert main(["train", "--resume", "--run", str(run), "--max-steps", steps]) == 0
    assert (read_record(run).minutes, read_record(run).training.max_steps) == (None, last + 5)


def test_a_time_too_short_for_ten_steps_is_told_before(book, tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["train", str(book), *SMALL, "--minutes", "0.001", "--run", run]) == 0
    assert "10 steps, the fewest, take longer than was asked for" in capsys.readouterr().out


def test_steps_before_the_end_was_moved_are_saved_before_and_a_resumed_run_equals_the_other(
    book, tmp_path, monkeypatch
):
    """The clock decides the same both times; in between one is stopped and resumed."""

    def fit(self, state, corpus, evaluation_seconds):
        moves = {4: 21, 8: 15}
        end = moves.get(state.step)
        return end and pacing.move_end(state.config, state.step, end - state.step)

    monkeypatch.setattr(pacing.Pacer, "fit", fit)
    planned = {"max_steps": 30, "decay_steps": 12, "warmup_steps": 1}
    monkeypatch.setattr(
        "zigpt.runs.setup.fit_to_seconds", lambda config, *_: replace(config, **planned)
    )
    settings = {
        "n_layer": 1, "n_head": 1, "n_embd": 8, "block_size": 8, "batch_size": 2,
        "eval_interval": 4, "decay_steps": 6, "warmup_steps": 1, "learning_rate": 0.05,
        "optimizer": "muon", "windows": "shuffled", "patience": 0, "final_learning_rate": 1e-4,
    }  # fmt: skip

    def train(run, stop_after=(), resume=False):
        seen = []
        start = TrainRequest((book,), "tiny", settings, tmp_path / run, 0.2)
        request = TrainRequest(run=tmp_path / run, resume=True) if resume else start
        for event in session.train_run(request, lambda: seen[-1:] in [[n] for n in stop_after]):
            if isinstance(event, Opened):
                state = event.state
            if isinstance(event, Stepped):
                seen.append(event.progress.step)
            if isinstance(event, EndMoved):
                assert saved_steps(tmp_path / run)[-1] == event.step
            if isinstance(event, Finished):
                return state
        return None

    whole = train("whole")
    assert whole.step == 15
    assert train("parts", stop_after=(6,)) is None
    assert train("parts", stop_after=(11,), resume=True) is None
    parts = train("parts", resume=True)
    assert parts.config == whole.config
    assert parts.step == whole.step
    for one, other in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_pause_and_the_work_between_two_steps_are_no_part_of_an_evaluation(
    book, tmp_path, monkeypatch
):
    told = []
    fit = pacing.Pacer.fit

    def note(self, state, corpus, evaluation_seconds):
        told.append(evaluation_seconds)
        return fit(self, state, corpus, evaluation_seconds)

    monkeypatch.setattr(pacing.Pacer, "fit", note)
    monkeypatch.setattr(session, "_POLL", 1.0)
    run = tmp_path / "run"
    settings = {"n_layer": 1, "n_embd": 8, "n_head": 1, "block_size": 8, "eval_interval": 1}
    request = TrainRequest((book,), "tiny", settings, run, 0.1)
    for event in session.train_run(request):
        if isinstance(event, Stepped) and event.progress.step == 2:
            send_request(run, Request(until=2))
        if isinstance(event, Waiting):
            send_request(run, Request())
    assert len(told) > 2
    assert max(told) < 1.0
