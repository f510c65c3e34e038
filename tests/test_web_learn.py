"""A training run from the page alone: started, watched, paused, stepped, stopped and resumed."""

import contextlib
import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.runs import saved_steps, wait_for
from tests.serving import GOLDEN, Server, in_a_browser, strings
from tests.texts import story
from zigpt.cli.web import spell_training
from zigpt.runs.control import Request, read_request, send_request
from zigpt.runs.lock import LOCK_FILE, locked
from zigpt.runs.paths import list_snapshots
from zigpt.web import guard, training
from zigpt.web.guard import Refused
from zigpt.web.handlers.requests import StartRequest, parse
from zigpt.web.training import Trainer
from zigpt.web.watch import describe_run, state_of

pytest_plugins = ["tests.browser"]
TEXT = story(4000)
MINUTES = "0.15"  # start included: some 60 steps


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An empty folder; training runs that are still running there at the end are killed."""
    folder = tmp_path_factory.mktemp("empty")
    yield folder
    for lock in folder.glob(f"runs/*/{LOCK_FILE}"):
        holder = re.match(r"pid (\d+) ", lock.read_text())
        if holder:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(holder[1]), signal.SIGKILL)


@pytest.fixture(scope="module")
def server(folder):
    with Server(cwd=folder) as server:
        yield server


def say(page, key):
    language = page.evaluate("document.documentElement.lang")[:2]
    return strings(language)[key]


def newest_run(folder):
    """The run that was started last."""
    return max(folder.glob("runs/*"), key=lambda run: run.stat().st_ctime, default=None)


def form(page):
    """The form that starts a training run, also where another one is shown."""
    page.wait_for_selector("#starter", state="attached")
    if page.locator("#another").count():
        page.locator("#another > summary").click()
    expect(page.locator("#starter")).to_be_visible()
    return page.locator("#starter")


class Pointer:
    """Somebody with a mouse, who pastes the text."""

    def __init__(self, page):
        self.page = page

    def press(self, selector):
        self.page.click(selector)

    def turn(self, to):
        self.page.click(f"#tab-{to}")

    def begin(self, file):
        shown = form(self.page)
        shown.locator("textarea").fill(file.read_text())
        shown.locator("select").select_option("tiny")
        shown.locator("[name=minutes]").fill(MINUTES)
        self.press("#starter button")

    def write(self, selector, text):
        self.page.fill(selector, text)


class Keys:
    """Somebody with nothing but keys, once the file is chosen."""

    def __init__(self, page):
        self.page = page

    def reach(self, selector):
        """Go from one thing to the next, until the wanted one has the focus."""
        self.page.wait_for_selector(selector)
        for _ in range(60):
            if self.page.evaluate("wanted => document.activeElement.matches(wanted)", selector):
                return
            self.page.keyboard.press("Tab")
        pytest.fail(f"{selector} is reached by no number of tabs")

    def press(self, selector):
        self.reach(selector)
        self.page.keyboard.press("Enter")

    def turn(self, to):
        """The arrow keys go from tab to tab."""
        self.reach("[role=tab][aria-selected=true]")
        while not self.page.locator(f"#tab-{to}:focus").count():
            self.page.keyboard.press("ArrowRight")
            self.page.wait_for_selector("[role=tab][aria-selected=true]:focus")

    def begin(self, file):
        shown = form(self.page)
        shown.locator("[type=file]").set_input_files(file)
        expect(shown.locator("textarea")).to_have_value(file.read_text())
        self.reach("#starter select")
        self.page.keyboard.press("ArrowDown")
        assert shown.locator("select").input_value() == "tiny"
        self.reach("#starter [name=minutes]")
        self.page.keyboard.type(MINUTES)
        self.page.keyboard.press("Enter")

    def write(self, selector, text):
        self.reach(selector)
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)


@pytest.mark.both_languages
@in_a_browser
def test_an_impossible_training_is_refused_beside_the_form(page, folder):
    shown, before = form(page), sorted(folder.rglob("*"))
    for odd in ("0", "-1", "100001"):
        shown.locator("[name=minutes]").fill(odd)
        shown.locator("button").click()
        assert page.locator("#starter [name=minutes]:invalid").count() == 1
    assert sorted(folder.rglob("*")) == before
    shown.locator("[name=minutes]").fill("")
    shown.locator("textarea").fill("abcab")
    shown.locator("button").click()
    began = {
        "en": ("error: 5 characters are too few", "why: ", "fix: give a text of at least"),
        "zh": ("错误：5 个字符太少", "原因：", "办法：给一份至少"),
    }[page.evaluate("document.documentElement.lang")[:2]]
    # The other language may have been refused on the same server before, and be shown at first.
    trouble = page.locator("#panel .trouble").filter(has_text=began[0])
    expect(trouble).to_be_visible()
    lead, *lines = trouble.inner_text().splitlines()
    assert lead == say(page, "trouble.3")
    assert [line.startswith(start) for line, start in zip(lines, began, strict=True)] == [True] * 3
    expect(page.locator("#starter")).to_be_visible()  # to try again


@pytest.mark.both_languages
@in_a_browser
def test_a_training_is_started_watched_and_controlled_from_the_page(page, folder):
    by = (Keys if say(page, "train.step") == strings("zh")["train.step"] else Pointer)(page)
    file = folder / "book.txt"
    file.write_text(TEXT, encoding="utf-8")
    older = newest_run(folder)
    by.begin(file)
    state = page.locator(".facts dd").first

    by.press("#control-pause")
    expect(state).to_have_text(say(page, "state.waiting"))
    run = newest_run(folder)
    assert run != older
    assert json.loads((run / "run.json").read_text())["preset"] == "tiny"
    assert page.locator(".chart polyline.val").get_attribute("points")
    before = saved_steps(run)[-1]
    by.press("#control-step")
    wait_for(lambda: saved_steps(run)[-1] > before)
    assert saved_steps(run)[-1] == before + 1
    expect(page.locator(".facts dd").nth(1)).to_contain_text(f"{before + 1} / ")

    by.turn("predictions")  # the other panels hear of the next step as well
    by.write("#text", "the ri")
    page.wait_for_selector("#panel .letter[data-loss]")
    slider = page.locator("#moment")
    expect(slider).to_have_attribute("max", str(len(list_snapshots(run))))
    send_request(run, Request(until=before + 2))  # from anywhere
    wait_for(lambda: before + 2 in list_snapshots(run))
    expect(slider).to_have_attribute("max", str(len(list_snapshots(run))))
    assert {before + 1, before + 2} <= set(list_snapshots(run))
    slider.press("ArrowLeft")
    expect(page.locator("output[for=moment]")).to_contain_text(str(before + 2))
    page.wait_for_selector("#panel .letter[data-loss]")

    by.turn("train")
    page.wait_for_selector(".chart")
    by.press("#control-resume")
    expect(state).to_have_text(say(page, "state.training"))
    by.press("#control-stop")
    expect(state).to_have_text(say(page, "state.stopped"))
    stopped = saved_steps(run)[-1]
    assert stopped >= before + 2  # the stop may come before the next step
    expect(page.locator(".facts dd").nth(1)).to_contain_text(f"{stopped} / ")
    shown = page.locator(".samples li").count()

    by.press("#control-resume")
    expect(state).to_have_text(say(page, "state.training"))
    expect(state).to_have_text(say(page, "state.finished"))
    expect(page.locator("#control-pause, #control-stop")).to_have_count(0)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] > stopped
    expect(page.locator("#panel tbody tr")).to_have_count(len(rows))
    assert page.locator(".samples li").count() > shown
    points = page.locator(".chart polyline.val").get_attribute("points")
    assert len(points.split()) == len(rows)
    assert (
        page.locator(".trouble:visible").all_inner_texts()
        == [""] * page.locator(".trouble:visible").count()
    )


@pytest.fixture(scope="module")
def idle(tmp_path_factory):
    """A server without a training run; refused requests start none."""
    folder = tmp_path_factory.mktemp("idle")
    with Server(cwd=folder) as server:
        yield server
    assert list(folder.iterdir()) == []


@in_a_browser
def test_a_new_run_is_shown_once_it_exists_and_with_its_own_text(browser, tmp_path):
    shutil.copytree(GOLDEN, tmp_path / "runs" / "old")
    with Server(cwd=tmp_path) as server:
        page = browser.new_page(locale="en-US")
        page.goto(server.address)
        page.click("#tab-predictions")
        page.fill("#text", "the song")
        expect(page.locator("#panel .letter[data-loss]")).to_have_count(7)
        about = page.locator("#about").inner_text()
        page.click("#tab-train")
        shown = form(page)
        shown.locator("textarea").fill("abc")
        shown.locator("button").click()
        trouble = page.locator("#panel .trouble").filter(has_text="error:")
        expect(trouble).to_be_visible()
        assert page.locator("#about").inner_text() == about  # the old one is still there
        assert shown.locator("textarea").input_value() == "abc"
        shown.locator("textarea").fill("清晨的河面很静，老灯还亮着。\n" * 400)
        shown.locator("select").select_option("tiny")
        shown.locator("[name=minutes]").fill(MINUTES)
        shown.locator("button").click()
        expect(page.locator("#about")).not_to_have_text(about)
        page.click("#tab-predictions")
        expect(page.locator("#panel .letter[data-loss]").first).to_be_visible()
        assert "song" not in page.input_value("#text")
        page.click("#tab-train")
        page.click("#control-stop")
        expect(page.locator(".facts dd").first).to_have_text("Stopped")
        page.close()


class TestTheRoute:
    """POST /api/train and /api/control"""

    @pytest.fixture
    def launched(self, tmp_path, monkeypatch):
        """In a folder of its own; command lines are collected, not run."""

        class Process:
            def __init__(self, command, **kinds):
                assert isinstance(command, list)  # no shell reads it
                assert not kinds.get("shell")
                commands.append(command[4:])

            def poll(self):
                return 0

        commands = []
        monkeypatch.chdir(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(training.subprocess, "Popen", Process)
            yield commands

    @pytest.fixture
    def trainer(self):
        trainer = Trainer(spell_training, None)
        yield trainer
        if trainer._stderr:
            trainer._stderr.close()

    @pytest.mark.parametrize(
        "odd",
        [
            {}, {"preset": "--help"}, {"preset": None}, {"preset": ["tiny"]}, {"preset": 7},
            {"preset": "tiny", "minutes": 0},
            {"preset": "tiny", "minutes": -1},
            {"preset": "tiny", "minutes": 1e308},
            {"preset": "tiny", "minutes": 10**400},
            {"preset": "tiny", "minutes": True},
            {"preset": "tiny", "minutes": "5; reboot"},
            {"preset": "tiny", "minutes": float("nan")},
            {"preset": "tiny", "minutes": float("inf")},
            {"preset": "tiny", "text": 7},
            {"preset": "tiny", "text": ["/etc/passwd"]},
        ],
    )  # fmt: skip
    def test_odd_values_are_refused_in_words(self, idle, odd):
        assert idle.refuses("/api/train", odd)

    @pytest.mark.parametrize(
        ("odd", "code"),
        [
            ({}, 422), ({"action": 7}, 422), ({"action": None}, 422), ({"action": ["stop"]}, 422),
            ({"action": "no such"}, 422), ({"action": "step 5"}, 422), ({"action": "start"}, 422),
            ({"action": "pause"}, 409), ({"action": "step"}, 409), ({"action": "stop"}, 409),
        ],
    )  # fmt: skip
    def test_an_idle_run_cannot_be_controlled(self, idle, odd, code):
        status, _, answer = idle.ask("POST", "/api/control", odd)
        assert status == code
        assert list(json.loads(answer)) == ["error"]

    def test_a_text_may_be_large_but_not_larger(self, idle):
        start = b'{"preset": "none", "text": "'
        for size, wanted in ((guard.MOST_TEXT, 422), (guard.MOST_TEXT + 1, 413)):
            body = start + b"a" * (size - len(start) - 2) + b'"}'
            assert idle.ask("POST", "/api/train", body)[0] == wanted
        large = b"{" + b" " * guard.MOST_BODY + b"}"
        assert idle.ask("POST", "/api/write", large)[0] == 413  # only there

    def test_a_text_is_only_ever_the_content_of_a_file(self, trainer, launched, tmp_path):
        for text in ("--help", "--run=/etc\n--resume", "; reboot", "$(reboot)", "/etc/passwd", ""):
            trainer.start(StartRequest(preset="tiny", text=text))
            first, *rest = launched[-1]
            assert os.path.isabs(first)
            assert os.path.dirname(first) == str(tmp_path / "texts")
            assert re.fullmatch(r"pasted-[0-9a-f]{8}\.txt", os.path.basename(first))
            assert Path(first).read_text(encoding="utf-8") == text
            assert rest[:2] == ["--preset", "tiny"]

    def test_no_path_is_taken_from_the_request(self, trainer, launched, tmp_path):
        evil = {name: "/etc/x" for name in ("run", "path", "name", "file", "resume", "--run")}
        wanted = json.dumps({"preset": "tiny", "text": "a", **evil}).encode()
        run = trainer.start(parse(StartRequest, wanted))
        (text,) = (tmp_path / "texts").iterdir()
        assert launched == [[str(text), "--preset", "tiny", "--run", str(run)]]
        trainer.start(StartRequest(preset="tiny", text="a"))
        assert list((tmp_path / "texts").iterdir()) == [text]  # it is kept once
        assert "/etc" not in str(launched)

    def test_a_text_that_is_named_like_an_option_is_not_one(self, trainer, launched, tmp_path):
        (tmp_path / "--help").write_text("a text")
        trainer._text = Path("--help")
        trainer.start(StartRequest(preset="auto", minutes=3.0))
        assert launched[0][:3] == [str(tmp_path / "--help"), "--minutes", "3.0"]

    def test_a_folder_that_cannot_be_written_to_is_reported(self, tmp_path):
        (tmp_path / "texts").write_text("no folder")
        with Server(cwd=tmp_path) as server:
            wanted = {"preset": "tiny", "text": "a"}
            status, _, answer = server.ask("POST", "/api/train", wanted)
        assert status == 507
        assert "texts" in json.loads(answer)["error"]
        assert list(tmp_path.iterdir()) == [tmp_path / "texts"]

    def test_a_second_training_is_refused_while_one_is_running(self, trainer, launched):
        trainer.start(StartRequest(preset="tiny"))
        trainer._process.poll = lambda: None
        with pytest.raises(Refused) as refused:
            trainer.start(StartRequest(preset="tiny"))
        assert refused.value.status == 409
        assert len(launched) == 1


def test_a_run_that_has_just_started_is_shown(tmp_path):
    """Its first sample is written after its first model."""
    shutil.copy(GOLDEN / "run.json", tmp_path)
    assert describe_run(tmp_path)["example"] == ""


def test_a_training_is_starting_until_it_is_in_its_folder_and_never_after(tmp_path, monkeypatch):
    """Not while its process, with nothing left to do, only ends."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(GOLDEN, "old")

    class Process:
        def __init__(self, *what, **kinds):
            self.code = None

        def poll(self):
            return self.code

        def wait(self, timeout):
            self.code = 0

    trainer, old = Trainer(spell_training, None), Path("old")
    monkeypatch.setattr(training.subprocess, "Popen", Process)
    run = trainer.start(StartRequest(preset="tiny", text="a"))
    assert (trainer.state(old), trainer.state(run)) == ("starting", "starting")
    assert trainer.started_run() is None
    run.mkdir(parents=True)
    with locked(run):
        assert trainer.started_run() is None
        shutil.copy(GOLDEN / "run.json", run)
        assert trainer.started_run() == run
        assert trainer.started_run() is None
        assert (trainer.state(old), trainer.state(run)) == ("stopped", "training")
        with pytest.raises(Refused, match="in progress"):
            trainer.start(StartRequest(preset="tiny", text="b"))
    assert trainer.state(run) == "stopped"
    trainer.control(run, "resume")  # waits until the process before it has ended
    assert trainer.started_run() is None
    assert trainer.state(run) == "starting"
    with locked(run):
        assert trainer.started_run() == run
        assert trainer.state(run) == "training"
    trainer._stderr.close()


def test_a_training_waits_only_once_it_says_so(tmp_path):
    """Until then it may be within a step, and its newest checkpoint an older one."""
    send_request(tmp_path, Request(until=0))
    assert state_of(tmp_path) == "stopped"
    with locked(tmp_path) as lock:
        assert state_of(tmp_path) == "training"
        lock.report_waiting(5)
        assert state_of(tmp_path) == "waiting"
        Trainer(spell_training, None).control(tmp_path, "step")
        assert read_request(tmp_path) == Request(until=6)
        assert state_of(tmp_path) == "training"
