"""A training run is told through its folder to wait, to make a step, to resume or to stop."""

import itertools

import pytest
import torch

from stress.crashes import outcome
from tests.runs import SMALL, pid_of, saved_steps, train, wait_for
from tests.texts import story
from zigpt.cli.main import main
from zigpt.runs.control import CONTROL_FILE, Request, read_request, send_request
from zigpt.runs.folder import RunFolder
from zigpt.runs.paths import RUN_FILE, list_snapshots
from zigpt.training.loop import TrainState

SETTINGS = [*SMALL, "--max-steps", "150", "--eval-interval", "100", "--dropout", "0.2"]


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text(story(3000), encoding="utf-8")
    return path


def test_waits_steps_and_stops_on_request_do_not_change_the_result(book, tmp_path):
    run, whole = tmp_path / "run", tmp_path / "whole"
    training = train(str(book), *SETTINGS, "--run", str(run))
    wait_for(lambda: (run / RUN_FILE).exists())
    send_request(run, Request(until=7))
    wait_for(lambda: saved_steps(run)[-1:] == [7])
    send_request(run, Request(until=8))
    wait_for(lambda: saved_steps(run) == [7, 8])
    wait_for(lambda: {7, 8} <= set(list_snapshots(run)))
    assert training.poll() is None
    send_request(run, Request())
    wait_for(lambda: 30 in list_snapshots(run))
    send_request(run, Request(stop=True))
    printed, _ = training.communicate(timeout=60)
    assert training.returncode == 143
    assert f"paused at step 7 by {run / CONTROL_FILE}" in printed
    assert "stopped and saved at step" in printed
    assert main(["train", "--resume", "--run", str(run)]) == 0  # an old request does not count
    assert main(["train", str(book), *SETTINGS, "--run", str(whole)]) == 0
    assert outcome(run) == outcome(whole)


def test_a_waiting_training_can_be_stopped_and_killed_like_any_other(book, tmp_path):
    run = tmp_path / "run"
    training = train(str(book), *SETTINGS, "--run", str(run))
    for number, step in zip((15, 9, 2), itertools.count(5, 2), strict=False):
        wait_for(lambda pid=training.pid: saved_steps(run) and pid_of(run) == pid)
        send_request(run, Request(until=step))
        wait_for(lambda step=step: saved_steps(run)[-1] >= step)
        training.send_signal(number)
        training.communicate(timeout=60)
        assert training.returncode in (128 + number, -number)
        training = train("--resume", "--run", str(run))
    training.kill()
    training.communicate()


def test_a_request_does_not_keep_a_training_from_starting(book, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    send_request(run, Request(until=1))
    assert main(["train", str(book), *SMALL, "--max-steps", "2", "--run", str(run)]) == 0
    assert saved_steps(run)[-1] == 2


def test_an_old_request_is_ignored_and_one_made_since_counts(book, tmp_path):
    run = tmp_path / "run"
    assert main(["train", str(book), *SMALL, "--max-steps", "2", "--run", str(run)]) == 0
    send_request(run, Request(until=1))
    folder = RunFolder.open(run)
    state = TrainState.initialise(*folder.record.configs, torch.device("cpu"))
    assert folder.control.request == Request()
    send_request(run, Request(until=1))  # the same once more, while the training loads
    folder.restore(state, lambda line: None)
    assert folder.control.request == Request(until=1)
    assert RunFolder.open(run).control.request == Request()


@pytest.mark.parametrize("content", [b"", b"step", b"step -1", b"step x", b"\xff", b"1" * 10**6])
def test_what_cannot_be_understood_is_not_a_request(tmp_path, content):
    (tmp_path / CONTROL_FILE).write_bytes(content)
    assert read_request(tmp_path) == Request()


def test_a_request_is_read_as_it_was_sent(tmp_path):
    for request in (Request(), Request(until=0), Request(until=12), Request(stop=True)):
        send_request(tmp_path, request)
        assert read_request(tmp_path) == request
