"""D11: one training run, and its server, its trainer and its page killed again and again.

ZIGPT_KILLS says how often each is; `python -m pytest -s` shows what came of it.
"""

import json
import os
import random
import shutil
import signal
import time

from playwright.sync_api import expect

from stress.crashes import outcome
from tests.runs import SMALL, pid_of, saved_steps, train, wait_for
from tests.serving import SOON, Server, in_a_browser, strings
from tests.texts import story
from zigpt.cli.main import main
from zigpt.runs.control import Request, send_request
from zigpt.web.watch import state_of

pytest_plugins = ["tests.browser"]
pytestmark = in_a_browser
KILLS = int(os.environ.get("ZIGPT_KILLS", "1"))
STRIDE = 25  # steps between two kills
LAST = STRIDE * (3 * KILLS + 1)
SETTINGS = [
    *SMALL, "--max-steps", str(LAST), "--eval-interval", "5", "--patience", "0", "--dropout", "0.2",
    "--eval-chars", "40",
]  # fmt: skip


class Watched:
    """A training run with a server and a page, each of which can die."""

    def __init__(self, browser, run):
        self.browser, self.run = browser, run
        self.server = Server(run)
        self.port = self.server.port
        self.began = None
        self.open_page()

    def open_page(self):
        self.context = self.browser.new_context(locale="en-US")
        self.page = self.context.new_page()
        self.page.goto(self.server.address)
        self.page.wait_for_selector(".facts")

    def kill_server(self):
        """And start another one at the same address: the page finds it by itself."""
        self.server.process.kill()
        self.server.process.communicate()
        expect(self.page.locator("#panel .trouble").first).to_be_visible()
        self.server = Server(self.run, port=self.port)
        expect(self.page.locator("#panel .trouble").first).to_be_hidden()

    def kill_trainer(self):
        """And have the page resume the training, once it shows that."""
        os.kill(pid_of(self.run), signal.SIGKILL)
        wait_for(lambda: state_of(self.run) == "stopped")
        stopped = strings("en")["state.stopped"]
        expect(self.page.locator(".facts dd").first).to_have_text(stopped)
        self.page.click("#control-resume", timeout=SOON)
        wait_for(lambda: state_of(self.run) != "stopped")

    def kill_page(self):
        """And open another."""
        self.context.close()
        self.open_page()

    def shows(self):
        """The state and the step of the page."""
        return self.page.locator(".facts dd").all_inner_texts()[:2]

    def close(self):
        self.context.close()
        self.server.process.kill()
        self.server.process.communicate()
        pid = pid_of(self.run)
        if pid and state_of(self.run) != "stopped":
            os.kill(pid, signal.SIGKILL)


def test_the_others_survive_a_kill_and_the_result_is_the_same(browser, tmp_path):
    began, choose = time.monotonic(), random.Random(7)
    book, run, whole = tmp_path / "book.txt", tmp_path / "run", tmp_path / "whole"
    book.write_text(story(3000), encoding="utf-8")
    assert main(["train", str(book), *SETTINGS, "--run", str(whole)]) == 0
    # It starts as the other did, and waits: at the first kill all of its steps are still to come.
    trainer = train(str(book), *SETTINGS, "--run", str(run))
    wait_for(lambda: pid_of(run) is not None)
    send_request(run, Request(until=1))
    wait_for(lambda: saved_steps(run))
    watched = Watched(browser, run)
    victims = ["server", "trainer", "page"] * KILLS
    choose.shuffle(victims)
    lost = 0
    try:
        for number, victim in enumerate(victims, 1):
            send_request(run, Request(until=number * STRIDE))
            time.sleep(choose.uniform(0, 0.4))
            saved = saved_steps(run)[-1]
            getattr(watched, f"kill_{victim}")()
            if victim == "trainer":
                lost += saved < number * STRIDE
                trainer.poll()  # it was ours, the first time
                send_request(run, Request(until=number * STRIDE))
            else:
                assert state_of(run) != "stopped"
            wait_for(lambda: state_of(run) == "waiting")
            step = saved_steps(run)[-1]
            assert step >= max(saved, number * STRIDE)
            facts = watched.page.locator(".facts dd")
            expect(facts.nth(0)).to_have_text(strings("en")["state.waiting"])
            expect(facts.nth(1)).to_have_text(f"{step:,} / {LAST:,}")
            measured = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"]
            assert step - measured <= 5  # it waits before it measures
        send_request(run, Request())
        expect(facts.nth(1)).to_have_text(f"{LAST:,} / {LAST:,}")
        wait_for(lambda: state_of(run) == "stopped")
    finally:
        watched.close()
        trainer.kill()
        trainer.communicate()
    assert outcome(run) == outcome(whole)
    print(
        f"{KILLS} kills each of server, trainer and page; {lost} of the trainer's within a "
        f"step; {LAST} steps, the same end; {time.monotonic() - began:.0f} s"
    )
    shutil.rmtree(run)
