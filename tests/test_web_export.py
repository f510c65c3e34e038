"""What is handed out: one file that shows what the page showed, to whoever opens it anywhere."""

import base64
import re
import urllib.parse

import pytest
import torch
from playwright.sync_api import expect

from tests.serving import GOLDEN, Server, have_written, in_a_browser
from zigpt.formats.saved_model import SavedModel, save_model
from zigpt.gpt.config import GPTConfig
from zigpt.gpt.model import GPT
from zigpt.tokenizers.char import CharTokenizer

pytest_plugins = ["tests.browser"]
pytestmark = in_a_browser
TEXT = "the rive"
LARGEST = 2 << 20  # bytes of one file
EVIL = "</script></style><img src=x onerror=alert(1)>&lt;\n\"'-->"

# The texts that can be seen, one for each node. What cannot be done in a file is left out of it.
SEEN = """(root) => {
  const found = [], walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim(), parent = walker.currentNode.parentElement;
    if (!text || "☐☑".includes(text) || !parent.checkVisibility()) continue;
    if (parent.closest("textarea, select, .field, button:not([aria-pressed], .text)")) continue;
    if (!parent.closest("details:not(:has(td))")) found.push(text);
  }
  return found;
}"""
FIELDS = """(root) => [...root.querySelectorAll("input, textarea, select")].filter((field) =>
    field.checkVisibility() && !["range", "checkbox", "file"].includes(field.type)).map((field) =>
    field.selectedOptions ? field.selectedOptions[0].textContent : field.value)"""
COLOURS = """(root) => [...root.querySelectorAll(".letter, td, h2, .lead, .bar")].map((each) => {
  const { color, backgroundColor, fontSize } = getComputedStyle(each);
  return [color, backgroundColor, fontSize];
})"""


def train(page):
    page.wait_for_selector(".chart")


def write(page):
    have_written(page, "the ", 9)
    expect(page.locator("#copied")).to_have_text(re.compile("^[^…]+$"))  # no longer comparing
    page.locator(".letter").nth(3).click()
    page.wait_for_selector(".stages")


def looked(name, ready, text=TEXT):
    def look(page):
        address = urllib.parse.urlencode({"text": text})
        page.evaluate("(hash) => { location.hash = hash; }", f"/{name}?{address}")
        page.wait_for_selector(ready)

    return look


PANELS = {
    "train": train,
    "write": write,
    "predictions": looked("predictions", ".bars li"),
    "attention": looked("attention", "[data-moved]"),
    "layers": looked("layers", ".verdict"),
    "trace": looked("trace", ".terms"),
}


def export(page, folder):
    with page.expect_download() as download:
        page.click("#export")
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


@pytest.fixture
def reader(browser):
    """Opens a file as somebody else would; fails afterwards if it asked for anything."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    complaints, asked, opened = [], [], []

    def read(path):
        page = context.new_page()
        opened.append(path.as_uri())
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        return page

    yield read
    context.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith("data:")] == opened


def pictures(page):
    return page.evaluate("[...document.querySelectorAll('canvas')].map((each) => each.toDataURL())")


@pytest.mark.parametrize("name", PANELS)
def test_the_file_shows_what_the_page_shows(page, reader, server, tmp_path, name):
    PANELS[name](page)
    panel = page.locator("#panel")
    wanted = [panel.evaluate(each) for each in (SEEN, FIELDS, COLOURS)]
    drawn = pictures(page)
    about = page.locator("#about").inner_text()
    path = export(page, tmp_path)
    assert path.name == f"zigpt-{name}.html"

    source = path.read_text()
    assert len(source.encode()) < LARGEST
    for secret in (server.token, server.host, "http:", "https:", "<script", "<canvas", "<button"):
        assert secret not in source
    copy = reader(path)
    shown = copy.locator("main")
    assert shown.evaluate(SEEN) == wanted[0]
    assert shown.locator(".field").all_text_contents() == wanted[1]
    assert shown.evaluate(COLOURS) == wanted[2]
    assert [each.get_attribute("src") for each in shown.locator("img").all()] == drawn
    assert copy.locator("a, input, textarea, select, form, [tabindex], [onclick]").count() == 0
    assert copy.locator("#about").inner_text() == about
    assert copy.evaluate("document.documentElement.lang") == page.evaluate(
        "document.documentElement.lang"
    )
    assert page.locator("h2").inner_text() in copy.title()
    if name not in ("train", "write"):
        assert TEXT in copy.locator("#caption").inner_text()
    assert re.search(r"20\d\d", copy.locator("#caption").inner_text())


@pytest.mark.both_languages
def test_a_picture_is_told_to_who_cannot_see_it(page, reader, tmp_path):
    PANELS["attention"](page)
    page.locator("canvas.heatmap").focus()
    page.keyboard.press("ArrowDown")
    told = page.locator(".readout").first.inner_text()
    label = page.locator("canvas.heatmap").get_attribute("aria-label")
    thumbs = page.locator(".thumb").evaluate_all("all => all.map((each) => each.ariaLabel)")
    (drawn,) = page.locator("canvas.heatmap").evaluate_all(
        "all => all.map((each) => each.toDataURL())"
    )
    copy = reader(export(page, tmp_path))
    picture = copy.locator("img.heatmap")
    assert picture.get_attribute("alt") == f"{label} {told}"
    assert picture.get_attribute("src") == drawn
    assert base64.b64decode(drawn.partition(",")[2]).startswith(b"\x89PNG")
    shown = copy.locator(".thumb img")
    assert shown.evaluate_all("all => all.map((each) => each.alt)") == thumbs
    assert copy.locator("img:not([alt])").count() == copy.locator("img[alt='']").count() == 0
    assert copy.locator(".thumb[aria-current=true]").count() == 1


@pytest.mark.both_languages
def test_tables_stay_tables(page, reader, tmp_path):
    train(page)
    copy = reader(export(page, tmp_path))
    copy.locator("summary").click()
    rows = (GOLDEN / "metrics.jsonl").read_text().splitlines()
    assert copy.get_by_role("row").count() == len(rows) + 1
    PANELS["layers"](page)
    copy = reader(export(page, tmp_path))
    assert copy.get_by_role("columnheader").count() == 2 * len(TEXT)
    assert copy.locator("td[aria-current=true]").count() == 1


@pytest.mark.both_languages
@pytest.mark.parametrize("name", ["write", "attention"])
def test_it_has_the_theme_and_hangs_over_no_edge(page, reader, tmp_path, name):
    page.click("#theme")
    PANELS[name](page)
    copy = reader(export(page, tmp_path))
    paper = "getComputedStyle(document.body).backgroundColor"
    assert copy.evaluate(paper) == page.evaluate(paper)
    for width in (1280, 390):
        copy.set_viewport_size({"width": width, "height": 900})
        assert copy.evaluate("document.documentElement.scrollWidth") <= width


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """A model that can read and write markup."""
    folder = tmp_path_factory.mktemp("evil")
    tokenizer = CharTokenizer.from_text(EVIL)
    config = GPTConfig(len(tokenizer.vocabulary), 60, n_layer=1, n_head=1, n_embd=8, dropout=0.0)
    model = GPT(config, torch.Generator().manual_seed(1)).eval()
    save_model(folder / "model.safetensors", SavedModel(model, tokenizer, {}))
    with Server(folder) as server:
        yield server


def test_nothing_that_is_written_becomes_markup(browser, evil, reader, tmp_path):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(evil.address)
    have_written(page, EVIL, 5)
    expect(page.locator("#copied")).to_have_text(re.compile("^[^…]+$"))  # no longer comparing
    for go in (lambda page: None, looked("predictions", ".bars li", EVIL)):
        go(page)
        wanted = page.locator("#panel").evaluate(SEEN)
        copy = reader(export(page, tmp_path))
        assert copy.locator("main").evaluate(SEEN) == wanted
        assert copy.locator("main .field.text").text_content() == EVIL
        assert EVIL.replace("\n", "⏎") in copy.locator("#caption").inner_text()
        assert copy.locator("script, main img").count() == 0
        assert copy.locator("style").count() == 1
    context.close()
