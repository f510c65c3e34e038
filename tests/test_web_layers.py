"""Through the layers in a real browser: each number shown is the one that Python computes."""

import re

import pytest
import torch
from playwright.sync_api import expect

from tests.serving import GOLDEN, in_a_browser, number
from zigpt.anatomy.activations import inspect
from zigpt.anatomy.layers import lens, score_parts
from zigpt.formats.saved_model import load_model

pytest_plugins = ["tests.browser"]
pytestmark = in_a_browser
TEXT = "the rive"
SAVED = load_model(GOLDEN)


def look(target=None, at=None):
    """The lens of the text and the ids that are asked about; the last one is `target`."""
    name = "model" if at is None else f"snapshots/step-{at:08d}"
    saved = load_model(GOLDEN / f"{name}.safetensors")
    seen = inspect(saved.model, saved.ids(TEXT))
    last = saved.ids(target) if target else seen.logits[-1:].argmax(-1)
    targets = torch.cat([seen.ids[1:], last])
    return saved, seen, targets, lens(seen, targets)


def cells(page):
    return [row.locator("td").all() for row in page.locator(".grid tbody tr").all()]


on_the_map = pytest.mark.usefixtures("opened")


@pytest.fixture
def opened(page):
    page.click("#tab-layers")
    page.fill("#text", TEXT)
    expect(page.locator(".grid thead")).to_contain_text(TEXT.replace(" ", "␣"))


@on_the_map
@pytest.mark.parametrize("at", [None, 0])
def test_each_cell_is_the_best_guess_of_its_state_in_the_shade_of_the_target(page, at):
    for _ in range(0 if at is None else 4):
        page.locator("#moment").press("ArrowLeft")
    saved, _, _, wanted = look(at=at)
    first = page.locator(".grid tbody td").first
    expect(first).to_have_attribute(
        "data-probability", re.compile(f"^{float(wanted.probabilities[0, 0]):.5f}"[:-1])
    )
    shown = cells(page)
    for line, guesses, chances in zip(shown, wanted.guesses, wanted.probabilities, strict=True):
        texts = [cell.inner_text().replace("␣", " ").replace("⏎", "\n") for cell in line]
        assert "".join(texts) == saved.tokenizer.decode(guesses.squeeze(-1).tolist())
        found = [float(cell.get_attribute("data-probability")) for cell in line]
        assert found == pytest.approx(chances.tolist(), abs=1e-3)


@on_the_map
def test_arrows_walk_in_both_directions_and_the_place_is_in_the_address(page):
    page.locator(".grid tbody td").first.focus()
    for key in ("ArrowUp", "ArrowLeft", "ArrowRight", "ArrowRight", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    chosen = cells(page)[1][3]
    assert chosen.get_attribute("aria-selected") == "true"
    assert page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
    assert page.locator(".grid [tabindex='0']").count() == 1
    _, _, _, wanted = look()
    told = page.locator("#panel [aria-live=polite]").inner_text()
    assert f" {int(wanted.ranks[1, 3])}" in told
    shared = page.url
    assert "row=3" in shared
    assert "state=1" in shared
    page.reload()
    expect(page.locator(".grid [aria-selected=true]")).to_have_count(1)
    assert cells(page)[1][3].get_attribute("aria-selected") == "true"
    assert page.url == shared
    for _ in range(20):
        page.keyboard.press("ArrowRight")  # the focus is elsewhere: nothing moves
    assert page.url == shared


@on_the_map
@pytest.mark.parametrize("position", [0, 3, 7])
def test_what_each_part_adds_to_the_logit_is_shown_with_the_sum(page, position):
    cells(page)[2][position].click()
    _, seen, targets, wanted = look()
    parts = score_parts(seen, position, int(targets[position]))
    heading = page.locator(".halves h3").last
    told = page.locator(".verdict")
    score = f"{parts.score:.3f}".replace("-", "−")
    expect(told).to_contain_text(score)
    assert told.inner_text().count(score) == 2
    bars = page.locator(".addends li")
    shown = [number(bar.locator("span").last.inner_text()) for bar in bars.all()]
    *values, total = shown
    assert total == pytest.approx(parts.score, abs=1e-3)
    by_size = sorted(parts.values.tolist(), key=abs, reverse=True)
    assert values == pytest.approx(by_size, abs=1e-3)
    page.locator(".check input").check()
    shown = [float(bar.get_attribute("data-value")) for bar in bars.all()]
    assert shown == pytest.approx([*parts.values.tolist(), parts.score], abs=1e-3)
    course = page.locator(".halves .bars li")
    assert course.count() == 3
    for bar, rank, chance in zip(
        course.all(), wanted.ranks[:, position], wanted.probabilities[:, position], strict=True
    ):
        *_, share, note = bar.locator("span").all_inner_texts()
        assert str(int(rank)) in note
        assert number(share) == pytest.approx(100 * float(chance), abs=0.051)
    assert heading.inner_text()


@pytest.mark.both_languages
@on_the_map
def test_at_the_end_of_the_text_any_known_character_can_be_asked_about(page):
    cells(page)[2][7].click()
    page.fill("#target", "w")
    saved, seen, _, wanted = look("w")
    last = cells(page)[2][7]
    expect(page.locator(".grid tfoot th").last).to_have_text("w")
    assert float(last.get_attribute("data-probability")) == pytest.approx(
        float(wanted.probabilities[2, 7]), abs=1e-3
    )
    score = score_parts(seen, 7, int(saved.ids("w")[0])).score
    expect(page.locator(".verdict")).to_contain_text(f"{score:.3f}".replace("-", "−"))
    assert "target=w" in page.url
    page.fill("#target", "字")
    expect(page.locator("#panel .trouble").last).to_contain_text("字")
    expect(page.locator(".grid tfoot th").last).not_to_have_text("w")


@pytest.mark.both_languages
@on_the_map
def test_on_a_telephone_the_map_stays_within_the_edge(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_selector(".verdict")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@on_the_map
def test_where_nobody_knows_what_came_no_guess_is_right(page):
    last = page.locator(".grid tbody td:last-child")
    expect(last).to_have_count(3)
    expect(page.locator(".grid tbody td.hit")).not_to_have_count(0)
    expect(page.locator(".grid tbody td:last-child.hit")).to_have_count(0)
    _, _, targets, wanted = look()
    page.fill("#target", SAVED.tokenizer.decode(targets[-1:].tolist()))
    hits = int((wanted.guesses[:, -1, 0] == targets[-1]).sum())
    expect(page.locator(".grid tbody td:last-child.hit")).to_have_count(hits)


ODD = [
    {}, {"text": ""}, {"text": 7}, {"text": "字"}, {"text": "the river"}, {"target": "字"},
    {"target": ""}, {"target": "ab"}, {"target": 1}, {"at": -1}, {"at": "x"}, {"at": True},
]  # fmt: skip


@pytest.mark.parametrize("question", ["layers", "parts"])
def test_odd_questions_are_refused_in_words(server, question):
    good = {"text": TEXT, "position": 0, "target": None, "at": None}
    assert server.ask("POST", f"/api/window/{question}", good)[0] == 200
    odd = [{**good, **each} for each in ODD[1:]] + [{}, b"[]", b"null"]
    if question == "parts":
        odd += [{**good, "position": each} for each in (-1, 8, 1.5, "0", None, True, 10**30)]
    for body in odd:
        assert server.refuses(f"/api/window/{question}", body), body
