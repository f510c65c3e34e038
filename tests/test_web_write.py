"""Writing in the browser: how each character was drawn, what else it could be, what is copied."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.runs import wait_for
from tests.serving import (
    GOLDEN,
    PARAMETERS,
    Server,
    have_written,
    in_a_browser,
    number,
    strings,
)
from tests.texts import story
from zigpt.formats import safetensors
from zigpt.formats.saved_model import load_model, save_model
from zigpt.generate.loop import context_start, generate_text
from zigpt.generate.reference import ReferenceDecoder
from zigpt.generate.sampling import pick, stages
from zigpt.gpt.config import SampleConfig
from zigpt.web.copy_finder import LARGEST, CopyFinder

pytest_plugins = ["tests.browser"]
PROMPT, LENGTH, SEED = "the ", 120, 5
SETTINGS = {
    "temperature": 0.4, "top_k": 9, "top_p": 0.9, "min_p": 0.6, "repetition_penalty": 1.3,
}  # fmt: skip
CONFIG = SampleConfig(seed=SEED, **SETTINGS)
SAVED = load_model(GOLDEN)
BLOCK = SAVED.model.config.block_size


WRITTEN = "".join(
    generate_text(ReferenceDecoder(SAVED.model), SAVED.tokenizer, PROMPT, LENGTH, CONFIG)
)
LINE = 3  # of the training text: where the copied passage stands
COPIED = slice(40, 100)  # of what is written
TEXT = f"one\ntwo\nso {WRITTEN[COPIED]} it sings\n{story(8000)}"


def redraw(after, config=CONFIG):
    """The random number, the scores and the stages of what is drawn after some characters."""
    ids = SAVED.tokenizer.encode(PROMPT + after).astype(np.int64)
    scores = ReferenceDecoder(SAVED.model).next_logits(ids[None])
    number = np.random.default_rng(config.seed).random(len(after) + 1)[-1]
    context = np.array([ids[context_start(len(ids), BLOCK) :]])
    return number, scores[0], stages(scores, config, context)


def save_trained_on(path, text, **more):
    """The golden model, saying that it was trained on a text."""
    path.with_suffix(".txt").write_text(text)
    about = {
        "name": "crafted",
        "paths": [str(path.with_suffix(".txt"))],
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "characters": len(text),
        **more,
    }
    saved = replace(SAVED, about={"text": about, "step": 4})
    file = replace(saved.to_file(), about=saved.about)  # as older model files are: with the place
    safetensors.write(path, file)
    return saved


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = tmp_path_factory.mktemp("crafted") / "crafted.safetensors"
    save_trained_on(path, TEXT)
    with Server(path) as server:
        yield server


@pytest.fixture
def letters(page):
    """The page after it has written and compared."""
    page.click("#tab-write")
    page.fill("#prompt", PROMPT)
    for name, value in {"length": LENGTH, "seed": SEED, **SETTINGS}.items():
        page.fill(f"[name={name}]", str(value))
    page.click("button.main")
    expect(page.locator(".letter")).to_have_count(LENGTH)
    page.wait_for_selector(".copied")


after_writing = pytest.mark.usefixtures("letters")


def text_on(page):
    return "".join(page.locator(".letter").all_text_contents())


@in_a_browser
@after_writing
@pytest.mark.parametrize("at", [0, 7, 60])
def test_the_stages_shown_are_those_that_drew_the_character(page, at):
    assert text_on(page) == WRITTEN
    page.locator(".letter").nth(at).click()
    draw, scores, found = redraw(WRITTEN[:at])
    expect(page.locator(".cdf b")).to_have_text(f"{draw:.4f}")
    rows = page.locator(".stages tbody tr")
    best = (-found.penalised[0]).argsort(kind="stable")[:12].tolist()
    own = int(SAVED.tokenizer.encode(WRITTEN[at])[0])
    assert rows.count() == len({*best, own})
    for row in rows.all():
        i = int(SAVED.tokenizer.encode(row.get_attribute("data-character"))[0])
        logit, penalised, scaled, softmax, share = row.locator("td").all_inner_texts()
        assert number(logit) == pytest.approx(scores[i], abs=1e-3)
        assert number(penalised) == pytest.approx(found.penalised[0, i], abs=1e-3)
        assert number(scaled) == pytest.approx(found.scaled[0, i], abs=1e-3)
        if np.isinf(found.top_k[0, i]):
            assert "%" not in softmax + share
            continue
        assert number(softmax) / 100 == pytest.approx(found.softmax[0, i], abs=1e-3)
        if found.min_p[0, i] == 0:
            assert ("top-p" if found.top_p[0, i] == 0 else "min-p") in share
            assert "%" not in share
            continue
        wanted = found.probabilities[0, i]
        assert number(share) / 100 == pytest.approx(wanted, abs=1e-3)
    strip = page.locator(".cdf").bounding_box()
    part = page.locator(".cdf .drawn").bounding_box()
    ends = [(x - strip["x"]) / strip["width"] for x in (part["x"], part["x"] + part["width"])]
    assert ends[0] - 1e-3 <= draw <= ends[1] + 1e-3
    before = found.probabilities[0, :own].sum()
    assert ends == pytest.approx([before, before + found.probabilities[0, own]], abs=2e-3)
    assert f"{draw:.4f}" in page.locator("#falls").inner_text()


@in_a_browser
@after_writing
def test_another_candidate_begins_a_branch_and_the_old_one_is_gone_back_to(page):
    at = 20
    page.locator(".letter").nth(at).focus()
    page.wait_for_selector(".stages button")
    other = page.locator(".stages tr:has(button)").last.get_attribute("data-character")
    page.locator(".stages button").last.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".letter.forced")).to_have_text(other)
    expect(page.locator("#back")).to_be_visible()
    expect(page.locator(".letter")).to_have_count(LENGTH)
    branch = WRITTEN[:at] + other
    for _ in range(at + 1, LENGTH):  # with the random numbers that the first branch had
        number, _, found = redraw(branch)
        branch += SAVED.tokenizer.decode(pick(found.probabilities, np.array([number])).tolist())
    assert text_on(page) == branch
    assert page.evaluate("document.activeElement.textContent") == other
    page.click("#tab-predictions")
    page.wait_for_selector("#tab-predictions[aria-selected=true]")
    page.click("#tab-write")
    expect(page.locator(".letter")).to_have_count(LENGTH)
    assert text_on(page) == branch
    page.click("#back")
    assert text_on(page) == WRITTEN
    assert page.locator(".letter.forced").count() == 0
    assert not page.locator("#back").is_visible()
    page.wait_for_selector(".copied")


@in_a_browser
def test_who_branches_while_it_writes_goes_back_to_a_text_that_is_written_on(page):
    have_written(page, PROMPT, 10000)
    page.locator(".letter").nth(3).click()
    page.locator(".stages button").first.click()
    page.wait_for_selector(".letter.forced")
    page.click("#back")
    left = text_on(page)
    assert page.locator(".letter.forced").count() == 0
    wait_for(lambda: len(text_on(page)) > len(left) + 20)
    page.locator("form button:not(.main):not(#back)").click()
    expect(page.locator("button[disabled]")).to_have_count(1)  # nothing is left to stop
    stopped = text_on(page)
    assert stopped.startswith(left)
    expect(page.locator("#copied")).not_to_be_empty()
    page.click("#tab-train")
    page.wait_for_selector("#tab-train[aria-selected=true]")
    page.click("#tab-write")
    expect(page.locator(".letter")).to_have_count(len(stopped))
    assert text_on(page) == stopped


@in_a_browser
def test_a_text_that_a_dying_server_cut_off_is_written_on_by_the_next(browser):
    length = 1500
    server = Server(GOLDEN)
    page = browser.new_page(locale="en-US")
    page.goto(server.address)
    have_written(page, PROMPT, length)
    wait_for(lambda: page.locator(".letter").count() > 20)
    server.process.kill()
    server.process.communicate()
    lost = page.locator("#panel .trouble").filter(has_text=strings("en")["lost"])
    expect(lost.first).to_be_visible()
    assert page.locator(".letter").count() < length
    with Server(GOLDEN, port=server.port):
        expect(page.locator(".letter")).to_have_count(length, timeout=60_000)
        expect(lost).to_have_count(0)
        decoder = ReferenceDecoder(SAVED.model)
        text = generate_text(decoder, SAVED.tokenizer, PROMPT, length, SampleConfig(seed=1))
        assert text_on(page) == "".join(text)
        expect(page.locator("#copied")).not_to_be_empty()
        page.close()


@in_a_browser
@after_writing
def test_what_was_copied_is_underlined_with_its_source(page):
    held = page.eval_on_selector_all(
        ".letter", "all => all.map((each) => each.classList.contains('copied'))"
    )
    assert all(held[COPIED])
    assert held.count(True) < COPIED.stop - COPIED.start + 20
    page.locator(".letter").nth(COPIED.start + 30).click()
    source = page.locator(".passage")
    expect(source).to_have_count(1)
    assert f" {LINE}" in source.locator("figcaption").inner_text()
    assert "crafted" in source.locator("figcaption").inner_text()
    assert WRITTEN[COPIED] in source.locator("mark").text_content()
    assert source.locator("blockquote").text_content() in TEXT
    page.locator(".letter").nth(COPIED.start - 25).click()
    expect(source).to_have_count(0)


@pytest.mark.both_languages
@in_a_browser
@after_writing
def test_on_a_telephone_the_stages_stay_within_the_edge(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator(".letter").nth(COPIED.start + 30).click()
    page.wait_for_selector(".stages")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@in_a_browser
@after_writing
def test_what_was_written_is_in_the_address(page):
    page.reload()
    expect(page.locator(".letter")).to_have_count(LENGTH)
    assert text_on(page) == WRITTEN
    assert page.input_value("#prompt") == PROMPT
    assert page.input_value("[name=top_k]") == str(SETTINGS["top_k"])


@in_a_browser
def test_the_slider_leads_to_what_an_earlier_model_writes(browser):
    with Server(GOLDEN) as server:
        page = browser.new_page()
        page.goto(server.address)
        have_written(page, PROMPT, 30)
        for step in (None, 4, 3, 1):
            if step is not None:
                page.locator("#moment").press("ArrowLeft")
            name = "model" if step is None else f"snapshots/step-{step:08d}"
            saved = load_model(GOLDEN / f"{name}.safetensors")
            decoder = ReferenceDecoder(saved.model)
            text = "".join(
                generate_text(decoder, saved.tokenizer, PROMPT, 30, SampleConfig(seed=1))
            )
            expect(page.locator(".output")).to_have_text(PROMPT + text, use_inner_text=False)
            expect(page.locator(".letter")).to_have_count(30)
        page.close()


@in_a_browser
def test_whoever_turns_to_something_else_meanwhile_finds_the_text_written_on(page):
    length = 2500
    have_written(page, PROMPT, length)
    for turn in ("#theme", "#language", "#tab-train"):
        page.wait_for_selector(".letter")
        page.click(turn)
        assert page.locator(".letter").count() < length  # it was still being written
    page.click("#tab-write")
    expect(page.locator(".letter")).to_have_count(length)
    text = "".join(
        generate_text(
            ReferenceDecoder(SAVED.model), SAVED.tokenizer, PROMPT, length, SampleConfig(seed=1)
        )
    )
    assert text_on(page) == text


def test_of_a_text_that_repeats_itself_a_copy_is_one_all_the_same(tmp_path):
    path = tmp_path / "again.safetensors"
    saved = save_trained_on(path, story(3000) * 4)
    piece = story(3000)[500:700]
    found = CopyFinder().find(path, saved, f"so {piece} so")
    assert found["shortest"] == 60
    assert found["longest"] >= 200
    assert found["passages"]


def test_going_on_after_some_characters_is_the_same_as_never_having_stopped(server):
    asked = {"prompt": PROMPT, "seed": SEED, "at": None, **SETTINGS}
    for stop in (0, 1, 50, LENGTH):
        body = {**asked, "after": WRITTEN[:stop], "length": LENGTH - stop}
        status, _, lines = server.ask("POST", "/api/write", body)
        assert status == 200
        letters = [json.loads(line)["character"] for line in lines.splitlines()]
        assert WRITTEN[:stop] + "".join(letters) == WRITTEN


def test_without_a_choice_the_likeliest_is_drawn_and_the_rest_is_minus_infinity(server):
    asked = {**PARAMETERS, "temperature": 0, "after": "", "number": 0.5}
    status, _, answer = server.ask("POST", "/api/redraw", asked)
    assert status == 200
    found = json.loads(answer)
    best, *others = found["candidates"]
    assert found["drawn"] == best["character"]
    assert best["drawn_with"] == 1
    assert {each["dropped"] for each in others} == {"temperature"}
    assert found["parts"] == [[best["character"], 0, 1]]


def test_every_stage_shown_follows_from_the_one_before_and_what_is_left_adds_up(server):
    asked = {"prompt": PROMPT, "seed": SEED, "at": None, **SETTINGS}
    dropped_by = set()
    for at in range(0, LENGTH, 3):
        body = {**asked, "after": WRITTEN[:at], "number": 0.5}
        status, _, answer = server.ask("POST", "/api/redraw", body)
        assert status == 200
        rows = json.loads(answer)["candidates"]
        window = (PROMPT + WRITTEN[:at])[context_start(len(PROMPT) + at, BLOCK) :]
        largest = rows[0]
        for row in rows:
            is_repeated, penalty = row["character"] in window, SETTINGS["repetition_penalty"]
            factor = (penalty if row["logit"] < 0 else 1 / penalty) if is_repeated else 1
            assert row["penalised"] == pytest.approx(row["logit"] * factor)
            relative = row["penalised"] - largest["penalised"]
            assert row["scaled"] == pytest.approx(relative / SETTINGS["temperature"])
            if row["dropped"] != "top_k":
                share = row["softmax"] / largest["softmax"]
                assert share == pytest.approx(np.exp(row["scaled"]))
                assert row["dropped"] == "top_p" or (row["dropped"] is None) == (
                    share >= SETTINGS["min_p"]
                )
            dropped_by.add(row["dropped"])
        kept = [row for row in rows if not row["dropped"]]
        assert len([row for row in rows if row["dropped"] != "top_k"]) == SETTINGS["top_k"]
        assert sum(row["softmax"] for row in rows) == pytest.approx(1)
        assert sum(row["drawn_with"] for row in kept) == pytest.approx(1)
        for row in kept:
            share = row["softmax"] / sum(each["softmax"] for each in kept)
            assert row["drawn_with"] == pytest.approx(share)
    assert dropped_by == {None, "top_k", "top_p", "min_p"}


def test_settings_that_an_older_page_does_not_send_change_nothing(server):
    answers = [
        server.ask("POST", "/api/redraw", {**PARAMETERS, **more, "number": 0.5})[2]
        for more in ({}, {"min_p": 0, "repetition_penalty": 1})
    ]
    assert answers[0] == answers[1]


def test_a_text_that_is_not_there_any_more_is_left_out(tmp_path):
    path = tmp_path / "moved.safetensors"
    saved, finder = save_trained_on(path, TEXT), CopyFinder()
    text = path.with_suffix(".txt")
    text.unlink()
    assert finder.find(path, saved, WRITTEN) == {"absent": "missing"}
    text.write_text("another text\n" * 20)
    assert finder.find(path, saved, WRITTEN) == {"absent": "changed"}
    text.write_text(TEXT)
    assert finder.find(path, saved, WRITTEN)["passages"]
    text.unlink()
    assert finder.find(path, saved, WRITTEN)["passages"]  # it has been read
    large = save_trained_on(path, TEXT, characters=LARGEST + 1)
    assert CopyFinder().find(path, large, WRITTEN) == {"absent": "large"}
    for about in ({}, {"text": 7}, {"text": {"sha256": "x", "paths": ["\0"]}}):
        odd = replace(SAVED, about=about)
        assert CopyFinder().find(path, odd, WRITTEN) == {"absent": "missing"}


ODD = {
    "redraw": [
        ("number", -0.1), ("number", 1), ("number", "x"), ("number", None), ("after", 7),
        ("number", 10**400), ("temperature", 10**400), ("top_p", -(10**400)),
        ("after", "字"), ("after", "a" * 10_001), ("prompt", None), ("prompt", "字"),
        ("temperature", -1), ("top_k", -1), ("top_p", 0), ("seed", "x"), ("at", -1),
        ("min_p", -1), ("min_p", "x"), ("repetition_penalty", 0), ("repetition_penalty", None),
    ],
    "copies": [("text", None), ("text", 7), ("text", "a" * 10_001), ("at", -1), ("at", "x")],
    "write": [("after", 7), ("after", None), ("after", "字"), ("after", "a" * 10_001)],
}  # fmt: skip


@pytest.mark.parametrize("route", ODD)
def test_odd_questions_are_refused_in_words(server, route):
    good = {**PARAMETERS, "after": "the", "number": 0.5, "text": "the", "at": None}
    assert server.ask("POST", f"/api/{route}", good)[0] == 200
    odd = [{**good, name: value} for name, value in ODD[route]] + [b"[]", b"null", b"{", {}]
    for body in odd:
        assert server.refuses(f"/api/{route}", body), body


def test_scores_that_are_no_numbers_are_refused(tmp_path):
    saved = load_model(GOLDEN)
    for weight in saved.model.parameters():
        weight.data *= 1e30
    save_model(tmp_path / "huge.safetensors", saved)
    asked = {**PARAMETERS, "after": "", "number": 0.5, "text": "the", "position": 0}
    with Server(tmp_path / "huge.safetensors") as server:
        for question in ("redraw", "write", "window/predictions", "window/layers", "window/parts"):
            assert server.refuses(f"/api/{question}", asked), question
        assert server.close() == ("", "")
