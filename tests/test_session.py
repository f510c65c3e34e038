"""A session: events come in order, and the folder is locked until the caller stops consuming."""

import threading
from contextlib import closing

import pytest

from stress.settings import shortened
from zigpt.data.batches import Corpus
from zigpt.errors import RunBusyError, StorageError
from zigpt.runs import session
from zigpt.runs.control import Request, send_request
from zigpt.runs.events import (
    Evaluated,
    Finished,
    LadderBuilt,
    Notice,
    NotSaved,
    Opened,
    Planned,
    Sampled,
    Stepped,
    Stopped,
    TextRead,
    Trained,
    Waiting,
)
from zigpt.runs.folder import RunFolder
from zigpt.runs.lock import require_unlocked
from zigpt.runs.request import TrainRequest
from zigpt.runs.session import train_run
from zigpt.runs.setup import _prompt

TEXT = "a stone in the river, a lamp on the old bridge\n" * 40
SETTINGS = {"n_layer": 1, "n_embd": 16, "block_size": 16, "batch_size": 4, "max_steps": 4,
            "eval_interval": 2, "eval_chars": 160}  # fmt: skip


@pytest.fixture(autouse=True)
def quick():
    with shortened():
        yield


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def request_of(book, tmp_path):
    def make(**changes):
        settings = SETTINGS | changes.pop("settings", {})
        usual = {"texts": (book,), "preset": "tiny", "run": tmp_path / "run", "device": "cpu"}
        return TrainRequest(**usual | changes, settings=settings)

    return make


def kinds(events):
    return [type(event) for event in events]


def train_to(step, request):
    """Train until a step is reported, then ask for a stop; return all events."""
    seen = []
    for event in train_run(request, lambda: any(is_step(e, step) for e in seen)):
        seen.append(event)
    return seen


def is_step(event, number):
    return isinstance(event, Stepped) and event.progress.step == number


def test_the_events_of_a_training_come_in_order_and_end_with_finished(request_of, capsys):
    events = list(train_run(request_of()))
    assert kinds(events) == [
        TextRead, Planned, LadderBuilt, Opened,
        Evaluated, Sampled,  # of step 0
        Stepped, Sampled,
        Stepped, Evaluated,
        Stepped, Sampled,
        Stepped, Sampled, Evaluated,
        Trained, Finished,
    ]  # fmt: skip
    steps = [event.progress.step for event in events if isinstance(event, Stepped | Evaluated)]
    assert steps == [0, 1, 2, 2, 3, 4, 4]
    assert capsys.readouterr() == ("", "")


def test_a_stop_is_saved_and_resumed_to_the_end(request_of, tmp_path):
    stopped = train_to(2, request_of())
    assert kinds(stopped)[-1] is Stopped
    assert stopped[-1].step == 2
    require_unlocked(tmp_path / "run")
    resumed = []
    for event in train_run(request_of(resume=True)):
        resumed.append(event)
        if isinstance(event, Opened):
            assert event.state.step == event.folder.saved_step == 2
    assert kinds(resumed)[:3] == [TextRead, LadderBuilt, Opened]
    assert [e.progress.step for e in resumed if isinstance(e, Stepped)] == [3, 4]
    assert kinds(resumed)[-1] is Finished


def test_a_resume_reports_damage_before_anything_else(request_of, tmp_path):
    train_to(3, request_of())
    newest = tmp_path / "run" / "checkpoints" / "step-00000003"
    (newest / "counters.json").write_text("{}")
    resumed = list(train_run(request_of(resume=True)))
    assert kinds(resumed)[:4] == [Notice, TextRead, LadderBuilt, Opened]
    assert "step-00000003 is damaged" in resumed[0].text


def test_a_second_request_is_refused_until_the_first_generator_is_closed(request_of, tmp_path):
    first = train_run(request_of())
    for event in first:
        if isinstance(event, Opened):
            break
    for _ in range(2):  # a refusal must not unlock it
        with pytest.raises(RunBusyError):
            next(train_run(request_of(resume=True)))
    with pytest.raises(RunBusyError):
        list(train_run(request_of()))
    next(first)
    first.close()
    require_unlocked(tmp_path / "run")
    assert kinds(train_run(request_of(resume=True)))[-1] is Finished


@pytest.mark.parametrize("last", [TextRead, LadderBuilt, Opened, Stepped, Sampled])
def test_closing_the_generator_at_any_event_unlocks_the_folder(request_of, tmp_path, last):
    train_to(1, request_of())
    with closing(train_run(request_of(resume=True))) as events:
        event = next(event for event in events if isinstance(event, last))
        assert isinstance(event, last)
        with pytest.raises(RunBusyError):
            require_unlocked(tmp_path / "run")
    require_unlocked(tmp_path / "run")


def test_closing_the_generator_before_the_folder_is_made_makes_none(request_of, tmp_path):
    with closing(train_run(request_of())) as events:
        next(event for event in events if isinstance(event, LadderBuilt))
    assert not (tmp_path / "run").exists()


def test_an_error_of_the_caller_unlocks_the_folder_at_once(request_of, tmp_path):
    def consume():
        with closing(train_run(request_of())) as events:
            for event in events:
                if isinstance(event, Stepped):
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consume()
    require_unlocked(tmp_path / "run")


def test_it_works_in_a_thread_that_is_not_the_main_one(request_of, capsys):
    seen = []
    thread = threading.Thread(target=lambda: seen.extend(train_run(request_of())))
    thread.start()
    thread.join()
    assert kinds(seen)[-1] is Finished
    assert capsys.readouterr() == ("", "")


def test_a_refused_write_is_reported_and_tried_again(request_of, monkeypatch):
    monkeypatch.setattr(session, "save_interval", lambda seconds: 0.0)
    save, refused = RunFolder.save, []

    def refuse_once(folder, state):
        if state.step == 1 and not refused:
            refused.append(state.step)
            raise StorageError("cannot write it", "no space", "free some")
        save(folder, state)

    monkeypatch.setattr(RunFolder, "save", refuse_once)
    events = list(train_run(request_of()))
    (event,) = (event for event in events if isinstance(event, NotSaved))
    assert (event.what, event.why, event.saved_step) == ("step 1", "no space", 0)
    assert kinds(events)[-1] is Finished


def test_requests_through_the_folder_are_events_too(request_of, tmp_path):
    seen = []
    for event in train_run(request_of()):
        seen.append(event)
        if isinstance(event, Opened):
            send_request(tmp_path / "run", Request(until=1))
        elif isinstance(event, Waiting):
            assert event.step == 1
            send_request(tmp_path / "run", Request(stop=True))
    assert Waiting in kinds(seen)
    assert kinds(seen)[-1] is Stopped


def test_a_request_that_is_refused_makes_nothing(request_of, tmp_path):
    with pytest.raises(ValueError, match="divisible"):
        list(train_run(request_of(settings={"n_head": 3})))
    assert [path.name for path in tmp_path.iterdir()] == ["book.txt"]


@pytest.mark.parametrize(
    ("lines", "prompt"),
    [
        (["         [", "the lamp is on the bridge"], "the lamp is on the bridge\n"),
        (
            ["the example above shows part of the implementation"],
            "the example above shows part of the\n",
        ),
        (["床前明月光，疑是地上霜。" * 5], ("床前明月光，疑是地上霜。" * 5)[:40] + "\n"),
        (["| a | lamp |", "* * *", "the lamp"], "the lamp\n"),
        (["| " * 19 + "the bridge over the river", "a lamp"], "a lamp\n"),
        (["* * *", "- - -"], "* * *\n"),
    ],
)
def test_samples_continue_a_line_of_whole_words(lines, prompt):
    validation = "\n".join(["the end of another line", *lines, "more"])
    corpus = Corpus.from_text("x" * 9 * len(validation) + validation)
    assert _prompt(corpus) == prompt
