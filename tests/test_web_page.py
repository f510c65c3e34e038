"""The page in a real browser: what a person sees is what the model says, and no more happens."""

import http.server
import itertools
import json
import re
import shutil
import threading
import time

import pytest
import torch
from playwright.sync_api import expect

import zigpt
from tests.runs import wait_for
from tests.serving import GOLDEN, SOON, STATIC, Server, have_written, in_a_browser, strings
from zigpt.formats.saved_model import load_model

pytest_plugins = ["tests.browser"]
pytestmark = in_a_browser


def test_both_languages_say_the_same_things():
    english, chinese = strings("en"), strings("zh")
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert text.strip()
        places = [sorted(set(re.findall(r"{\w+}", each))) for each in (text, chinese[key])]
        assert places[0] == places[1], key


LITERAL = re.compile(r"""(["'`])((?:(?!\1).)*)\1""")
HOLE = re.compile(r"\$\{.*?\}")


def literals():
    """The strings in the page's files, with `{}` where something is put in."""
    found = {
        HOLE.sub("{}", text)
        for file in (*STATIC.rglob("*.js"), STATIC / "index.html")
        for line in file.read_text().splitlines()
        for _, text in LITERAL.findall(line.partition("// ")[0])
    }
    return {text for text in found if re.search("[a-z]", text)}


def fits(text, name):
    """Whether a name is this string, whatever fills its holes; a dot does not."""
    return re.fullmatch(r"[\w -]+".join(map(re.escape, text.split("{}"))), name)


def test_each_string_is_said_somewhere_and_nothing_else_is_said():
    keys, found = set(strings("en")), literals()
    assert {key for key in keys if not any(fits(text, key) for text in found)} == set()
    named = {text for text in found if re.fullmatch(r"[a-z]+(\.[\w{}]+)+", text)}
    files = {"model.safetensors"} | {file.name for file in STATIC.iterdir()}
    assert {text for text in named if not any(fits(text, key) for key in keys | files)} == set()


def test_each_style_is_that_of_something_on_the_page():
    css = (STATIC / "page.css").read_text()
    rules = re.sub(r"\{[^{}]*\}|/\*.*?\*/", " ", css, flags=re.DOTALL)
    words = {word for text in literals() for word in text.split()} - {"{}"}
    names = set(re.findall(r"[.#]([a-z][\w-]*)", rules))
    assert {name for name in names if not any(fits(word, name) for word in words)} == set()


def test_the_token_leaves_the_address_and_survives_a_reload(page, server):
    assert server.token not in page.url
    page.reload()
    page.wait_for_selector("#panel")


def test_train_shows_the_losses_of_the_run_between_the_ladder(page):
    page.wait_for_selector(".chart")
    rows = [json.loads(line) for line in (GOLDEN / "metrics.jsonl").read_text().splitlines()]
    page.locator("summary").first.click()
    cells = page.locator("details tbody tr").all_inner_texts()
    assert len(cells) == len(rows)
    for shown, row in zip(cells, rows, strict=True):
        step, train, validation, _ = shown.split("\t")
        assert int(step) == row["step"]
        assert float(train) == pytest.approx(row["train_loss"], abs=1e-3)
        assert float(validation) == pytest.approx(row["test_loss"], abs=1e-3)  # in format 1
    ladder = json.loads((GOLDEN / "run.json").read_text())["ladder"]
    labels = page.locator(".chart text").all_text_contents()
    assert {f"{name} {loss:.2f}" for name, loss in ladder.items()} <= set(labels)
    assert page.locator(".samples li").count() == 4


def test_write_colours_each_character_by_the_probability_the_model_gave_it(page):
    have_written(page, "the ", 6)
    expect(page.locator(".letter")).to_have_count(6)
    saved = load_model(GOLDEN, torch.device("cpu"))
    text = "the "
    for letter in page.locator(".letter").all():
        ids = torch.tensor([saved.tokenizer.encode(text[-8:]).tolist()])
        shown = float(letter.get_attribute("data-probability"))
        character = letter.text_content()
        with torch.no_grad():
            chances = saved.model(ids)[0, -1].softmax(-1)
        wanted = chances[saved.tokenizer.encode(character)[0]]
        if len(text) <= 8:  # beyond, the window moves in half blocks
            assert shown == pytest.approx(float(wanted), abs=1e-3)
        text += character


def test_predictions_shows_what_each_character_cost_at_any_moment_of_training(page):
    page.click("#tab-predictions")
    text = "the river"[:8]
    page.fill("#text", text)
    for step in (None, 4, 3, 1, 0):  # the slider begins at its right end
        name = "model" if step is None else f"snapshots/step-{step:08d}"
        seen = zigpt.load(GOLDEN / f"{name}.safetensors", "cpu").inspect(text)
        wanted = -seen.logits.log_softmax(-1)[:-1].gather(-1, seen.ids[1:, None])[:, 0]
        first = page.locator("#panel .letter[data-loss]").first
        expect(first).to_have_attribute("data-loss", re.compile(f"^{float(wanted[0]):.5f}"[:-1]))
        shown = [
            float(letter.get_attribute("data-loss"))
            for letter in page.locator(".letter[data-loss]").all()
        ]
        assert shown == pytest.approx(wanted.tolist(), abs=1e-3)
        page.locator("#moment").press("ArrowLeft")
    page.locator("#panel .letter").nth(2).click()
    page.keyboard.press("ArrowRight")
    assert page.locator(".letter.context").count() == 4
    assert page.locator(".letter.target").text_content() == "r" or text[4] == " "
    assert page.locator(".bars li").count() == 8
    shared = page.url
    page.reload()
    page.wait_for_selector(".letter.context")
    assert page.locator(".letter.context").count() == 4
    assert page.url == shared


@pytest.mark.both_languages
def test_everything_is_reached_by_keys_alone(page):
    page.locator("#tab-train").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#tab-write[aria-selected=true]:focus")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "length":
            break
    page.keyboard.type("5")
    page.keyboard.press("Control+A")
    page.keyboard.type("5")
    page.keyboard.press("Enter")
    expect(page.locator(".letter")).to_have_count(5)
    page.locator(".letter").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    expect(page.locator("#panel [aria-live=polite]")).not_to_be_empty()
    expect(page.locator("#announcement")).not_to_be_empty()


@pytest.mark.parametrize("focused", ["tab-predictions", "text"])
def test_the_focus_outlives_a_redrawing(page, focused):
    page.click("#tab-predictions")
    page.wait_for_selector("#text")
    page.evaluate(
        """id => {
            const old = document.getElementById(id);
            old.focus();
            old.className += " old";
            dispatchEvent(new Event("hashchange"));
        }""",
        focused,
    )
    assert page.locator(".old").count() == 0
    assert page.evaluate("document.activeElement.id") == focused


def test_who_types_faster_than_the_model_reads_sees_the_last_text(page):
    page.click("#tab-predictions")
    page.fill("#text", "the rive")
    page.locator("#panel .letter").last.click()
    for delay, word in itertools.product((0, 15), ("a", "old lamp", "the song")):
        page.locator("#text").press("Control+A")
        page.locator("#text").press_sequentially(word, delay=delay)
    expect(page.locator("#panel .letter")).to_have_count(8)
    expect(page.locator("#panel .letter").nth(4)).to_have_text("s")


@pytest.mark.both_languages
def test_what_cannot_be_asked_is_said_in_the_language_of_the_page(page):
    texts = strings(page.evaluate("document.documentElement.lang")[:2])
    unknown = texts["subject.unknown"].replace("{character}", "字")
    for tab in ("write", "predictions", "attention", "layers", "trace"):
        page.click(f"#tab-{tab}")
        page.fill("#prompt" if tab == "write" else "#text", "the 字")
        if tab == "write":
            page.click("button.main")
        expect(page.locator("#panel .trouble").filter(has_text=unknown)).to_be_visible()
        if tab != "write":
            page.fill("#text", "")
            empty = page.locator("#panel .trouble").filter(has_text=texts["subject.empty"])
            expect(empty).to_be_visible()


LISTENING = """
window.sources = [];
window.EventSource = class extends EventSource {
  constructor(...what) { super(...what); sources.push(this); }
};
"""


def test_a_page_that_nobody_sees_leaves_its_connection_to_others(browser, server):
    context = browser.new_context()
    context.add_init_script(LISTENING)
    page = context.new_page()
    page.goto(server.address)
    page.wait_for_selector(".chart")

    def turn(is_hidden):
        page.evaluate(
            """is => {
                Object.defineProperty(document, "hidden", {value: is, configurable: true});
                dispatchEvent(new Event("visibilitychange"));
            }""",
            is_hidden,
        )
        return page.evaluate("sources.map(source => source.readyState === EventSource.CLOSED)")

    assert turn(True) == [True]
    assert turn(False) == [True, False]
    wait_for(lambda: page.evaluate("sources[1].readyState === EventSource.OPEN"))
    expect(page.locator("#panel tbody tr")).to_have_count(3)
    context.close()


def test_where_the_server_is_gone_every_panel_says_so_until_it_is_back(browser):
    server = Server(GOLDEN)
    context = browser.new_context(locale="en-US")
    page, mistakes = context.new_page(), []
    page.on("pageerror", lambda error: mistakes.append(str(error)))
    page.goto(server.address)
    page.click("#tab-predictions")
    page.fill("#text", "the song")
    page.locator("#moment").press("ArrowLeft")  # not the newest model: nothing new is told of it
    expect(page.locator("#panel .letter[data-loss]")).to_have_count(7)
    server.process.kill()
    server.process.communicate()
    lost = page.locator("#panel .trouble").filter(has_text=strings("en")["lost"])
    expect(lost.first).to_be_visible()
    page.fill("#text", "the lamp")
    expect(lost).to_have_count(2)
    page.click("#language")
    expect(page.locator("#panel .trouble").first).to_have_text(strings("zh")["lost"])
    page.click("#language")
    page.click("#tab-train")
    page.click("#another summary")
    page.click("#starter button")
    expect(lost).to_have_count(2)
    page.click("#tab-write")
    page.click("button.main")
    expect(lost).to_have_count(2)
    page.click("#tab-predictions")
    with Server(GOLDEN, port=server.port):
        expect(page.locator("#panel .letter").nth(4)).to_have_text("l")
        expect(page.locator("#panel .trouble:visible:not(:empty)")).to_have_count(0)
    context.close()
    assert mistakes == []


def test_the_right_address_helps_in_the_tab_of_a_wrong_one(browser, server):
    context = browser.new_context(locale="en-US")
    page, mistakes = context.new_page(), []
    page.on("pageerror", lambda error: mistakes.append(str(error)))
    base = server.address.partition("#")[0]
    about = page.locator("#about")
    for wrong in (base, f"{base}#wrong"):
        page.goto("about:blank")  # else only the hash changes, and the page reloads a moment later
        page.goto(wrong)
        for language in ("en", "zh"):
            expect(about).to_have_text(strings(language)["refused.401"])
            page.click("#theme")
            page.click("#language")
    page.goto(server.address)
    page.wait_for_selector("#panel .chart")
    assert server.token not in page.url
    context.close()
    assert mistakes == []


def test_a_panel_that_waits_for_the_first_model_shows_it(browser, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(GOLDEN, run, ignore=shutil.ignore_patterns("model.safetensors"))
    with Server(run) as server:
        page = browser.new_page(locale="en-US")
        page.goto(server.address)
        page.click("#tab-write")
        page.click("#tab-attention")
        expect(page.locator("#panel .lead").last).to_have_text(strings("en")["about.none"])
        shutil.copy(GOLDEN / "model.safetensors", run)
        expect(page.locator("canvas.heatmap")).to_be_visible()
        page.close()


@pytest.fixture
def live(browser, tmp_path):
    """A page and the run folder that it shows, to be changed under its eyes."""
    run = tmp_path / "run"
    shutil.copytree(GOLDEN, run)
    with Server(run) as server:
        page = browser.new_page(locale="en-US")
        page.goto(server.address)
        yield page, run
        page.close()


def replace_model(page, run, name):
    """As a training run does it; until what has the focus has been drawn again."""
    page.evaluate("document.activeElement.dataset.old = ''")
    shutil.copy(GOLDEN / f"{name}.safetensors", run / "new")
    (run / "new").replace(run / "model.safetensors")
    expect(page.locator("[data-old]")).to_have_count(0)


def test_a_better_model_takes_neither_the_focus_nor_an_open_table(live):
    page, run = live
    page.click("#tab-attention")
    page.click("summary")
    page.locator(".influence .letter").nth(2).click()
    for focused, name in (
        ("canvas.heatmap", "model"),
        (".influence .letter >> nth=2", "snapshots/step-00000003"),
        (".steps button >> nth=1", "model"),
    ):
        page.wait_for_selector(focused).focus()
        replace_model(page, run, name)
        assert page.evaluate(
            "found => document.activeElement === found", page.query_selector(focused)
        )
        expect(page.locator("details[open] tbody tr").first).to_be_visible()
        chosen = page.locator(".influence .letter").nth(2)
        expect(chosen).to_have_attribute("aria-pressed", "true")
    page.click("#tab-layers")
    page.focus("#chain")
    replace_model(page, run, "model")
    assert page.evaluate("document.activeElement.id") == "chain"


@pytest.mark.parametrize(("panel", "question"), [("attention", "heads"), ("trace", "tensors")])
def test_what_is_known_already_is_not_drawn_again(page, panel, question):
    asked = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    page.click(f"#tab-{panel}")
    page.wait_for_selector("canvas.heatmap")
    page.wait_for_timeout(300)  # for whatever comes without having been asked for
    with page.expect_response("**/api/watch"):
        page.reload()
    page.wait_for_selector("canvas.heatmap")
    page.wait_for_timeout(500)  # for what the watch tells first
    assert asked.count(question) == 2


class Held:
    """The first questions of a kind, held back until they are let go; the rest go their way."""

    def __init__(self, page, question, count):
        self._page, self._count, self.routes = page, count, []
        page.route(f"**/window/{question}", self._hold)

    def _hold(self, route):
        if len(self.routes) < self._count:
            self.routes.append(route)
        else:
            route.continue_()

    def wait_for(self, count):
        deadline = time.monotonic() + SOON / 1000
        while len(self.routes) < count:
            self._page.wait_for_timeout(20)  # lets what comes from the browser be heard
            assert time.monotonic() < deadline


def test_whoever_moves_through_time_sees_the_moments_between(page):
    page.click("#tab-attention")
    page.wait_for_selector("canvas.heatmap")
    held = Held(page, "heads", 2)
    page.evaluate("document.querySelector('canvas.heatmap').dataset.old = ''")
    page.locator("#moment").press("ArrowLeft")
    held.wait_for(1)
    page.locator("#moment").press("ArrowLeft")
    held.routes[0].continue_()
    held.wait_for(2)
    expect(page.locator("[data-old]")).to_have_count(0)  # while the second is not answered
    held.routes[1].continue_()


def test_whoever_goes_on_while_a_better_model_is_drawn_is_followed(live):
    page, run = live
    page.click("#tab-trace")
    title = page.locator(".trace h3").first
    page.select_option("#tensor", "heads")
    expect(title).to_contain_text("heads[")
    held = Held(page, "trace", 1)
    page.evaluate("document.querySelector('.trace').dataset.old = ''")
    shutil.copy(GOLDEN / "snapshots" / "step-00000003.safetensors", run / "new")
    (run / "new").replace(run / "model.safetensors")
    held.wait_for(1)
    link = page.locator(".terms button", has_text="weights").first
    target = link.inner_text()
    link.click()
    expect(title).to_contain_text(f"{target} = ")
    held.routes[0].continue_()
    expect(page.locator("[data-old]")).to_have_count(0)
    expect(title).to_contain_text(f"{target} = ")
    assert "tensor=weights" in page.url


def test_what_is_shown_stays_and_is_said_to_when_the_run_folder_goes(live):
    page, run = live
    elsewhere = run.with_name("elsewhere")
    page.wait_for_selector(".chart")
    stale = page.locator("#panel .trouble").filter(has_text=strings("en")["stale"])
    run.rename(elsewhere)
    expect(stale).to_be_visible()
    expect(page.locator("#panel .lead")).to_have_text(strings("en")["train.gone"])
    page.click("#tab-predictions")
    page.wait_for_selector("#panel .letter[data-loss]")
    elsewhere.rename(run)
    expect(stale).to_have_count(0)
    page.click("#tab-train")
    page.wait_for_selector(".chart")


def test_of_all_that_is_wished_for_meanwhile_only_the_last_is_done(page):
    done = page.evaluate(
        """async () => {
            const { latestOnly } = await import("/latest_only.js"), done = [];
            const work = latestOnly(async value => {
                done.push(value);
                await new Promise(wake => setTimeout(wake, 10));
                if (value === 6) throw new Error("a mistake");
            });
            for (const value of [1, 2, 3]) work(value);
            await work(4);
            await work(5);
            await work(6).catch(() => {});
            await work(7);
            return done;
        }"""
    )
    assert done == [1, 4, 5, 6, 7]


def test_whoever_types_a_new_text_finds_the_middle_of_it_chosen(page):
    page.click("#tab-predictions")
    page.click("#text")
    page.keyboard.press("Control+A")
    page.keyboard.type("the lamp")
    expect(page.locator(".letters")).to_have_text("the␣lamp")
    assert page.locator("#panel .letter[aria-pressed=true]").count() == 1
    assert page.locator("#panel .letter").first.get_attribute("aria-pressed") == "false"
    page.fill("#text", "a")
    expect(page.locator("#panel .letter")).to_have_count(1)
    page.fill("#text", "the lamp")
    expect(page.locator("#panel .letter").nth(4)).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize(
    ("character", "seen"),
    [("a", "a"), ("\n", "⏎"), (" ", "␣"), ("\u00a0", "⟨00A0⟩"), ("\u200b", "⟨200B⟩"),
     ("\ufffd", "\ufffd"), ("\x00", "⟨0000⟩"), ("🦊", "🦊")],
)  # fmt: skip
def test_characters_without_a_picture_can_be_told_apart(page, character, seen):
    shown = page.evaluate("async c => (await import('/i18n.js')).glyph(c)", character)
    assert shown == seen


def crafted(folder, losses, ladder, **training):
    """A run with these validation losses, ten steps apart."""
    shutil.copytree(GOLDEN, folder)
    info = json.loads((folder / "run.json").read_text())
    info["training"] |= training
    info["ladder"] = ladder
    (folder / "run.json").write_text(json.dumps(info))
    row = {"train_loss": 2.0, "learning_rate": 0.1, "chars_per_second": 9.0, "seconds": 1.0}
    rows = [{**row, "step": 10 * at, "val_loss": loss} for at, loss in enumerate(losses)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


LADDER = {"uniform": 2.83, "unigram": 2.80, "bigram": 2.829, "trigram": 3.14, "5-gram": 3.15}


def test_a_training_that_stopped_early_says_why_and_cannot_be_resumed(browser, tmp_path):
    run = crafted(tmp_path / "run", [3.0, 2.9, 2.95, 3.058], LADDER, patience=2, max_steps=31)
    with Server(run) as server:
        page = browser.new_page(locale="en-US", viewport={"width": 390, "height": 844})
        page.goto(server.address)
        expect(page.locator(".facts dd").first).to_have_text("Finished")
        early = page.locator("#panel p.lead").filter(has_text="in 2 evaluations")
        expect(early).to_contain_text("step 10.")
        assert page.locator("#control-resume").count() == 0
        beats = page.locator(".facts dd").nth(3)
        assert beats.inner_text() == strings("en")["train.nothing"]  # worse than knowing nothing
        labels = page.locator(".chart text").all()
        boxes = [label.bounding_box() for label in labels]
        assert min(box["height"] for box in boxes) > 10
        right = [box for box in boxes if box["x"] > 200 and box["y"] < max(b["y"] for b in boxes)]
        assert len(right) == 7
        tops = sorted(box["y"] for box in right)
        assert min(below - above for above, below in itertools.pairwise(tops)) > 10
        page.close()


@pytest.mark.both_languages
def test_language_and_theme_are_changed_and_kept(page):
    before = page.locator("h2").inner_text(), page.evaluate("getComputedStyle(document.body).color")
    page.click("#language")
    page.click("#theme")
    expect(page.locator("h2")).not_to_have_text(before[0])
    page.reload()
    page.wait_for_selector("#panel")
    after = page.locator("h2").inner_text(), page.evaluate("getComputedStyle(document.body).color")
    assert after[0] != before[0]
    assert after[1] != before[1]


@pytest.mark.both_languages
def test_on_a_telephone_nothing_hangs_over_the_edge(page):
    page.set_viewport_size({"width": 390, "height": 844})
    for name in ("train", "write", "predictions"):
        page.click(f"#tab-{name}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


ATTACK = """<!doctype html><body><script>
const target = "http://%s", tries = {};
const attempt = (name, work) => work().then(() => { tries[name] = "got through"; },
                                         () => { tries[name] = "refused"; });
const json = {"Content-Type": "application/json"}, text = {"Content-Type": "text/plain"};
Promise.all([
  attempt("get", () => fetch(target + "/api/run", {credentials: "include"})),
  attempt("json", () => fetch(target + "/api/write",
    {method: "POST", credentials: "include", headers: json, body: "{}"})),
  attempt("text", async () => { const answer = await fetch(target + "/api/write",
    {method: "POST", mode: "no-cors", credentials: "include", headers: text, body: "{}"});
    if (answer.type === "opaque") throw 0; }),
  attempt("script", () => new Promise((yes, no) => {
    const script = document.createElement("script");
    script.onload = yes; script.onerror = no; script.type = "module";
    script.src = target + "/main.js";
    document.body.append(script); })),
]).then(() => { document.title = JSON.stringify(tries); });
</script><iframe src="http://%s/"></iframe></body>"""


def test_another_page_in_the_same_browser_gets_nothing(browser, server):
    class Attacker(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write((ATTACK % (server.host, server.host)).encode())

        def log_message(self, *arguments):
            pass

    evil = http.server.HTTPServer(("127.0.0.1", 0), Attacker)
    threading.Thread(target=evil.serve_forever, daemon=True).start()
    context = browser.new_context()
    owner = context.new_page()
    owner.goto(server.address)  # the cookie is in this browser
    owner.wait_for_selector("#panel")
    page = context.new_page()
    page.goto(f"http://localhost:{evil.server_port}/")
    expect(page).to_have_title(re.compile("{.*}"))
    assert set(json.loads(page.title()).values()) == {"refused"}
    inside = page.frames[1]
    assert inside.query_selector("#panel") is None
    context.close()
    evil.shutdown()
    evil.server_close()
