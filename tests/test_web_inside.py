"""The panels that look inside: every number they show is one that the model computed."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from playwright.sync_api import expect

import zigpt
from tests.runs import wait_for
from tests.serving import Server, in_a_browser, number
from zigpt.anatomy.predictions import influence
from zigpt.anatomy.trace import SHAPES, trace
from zigpt.formats.saved_model import SavedModel, load_model, save_model
from zigpt.gpt.config import GPTConfig
from zigpt.gpt.model import GPT
from zigpt.tokenizers.char import CharTokenizer

pytest_plugins = ["tests.browser"]
pytestmark = in_a_browser
TEXT = "a lamp,\nthe sea"  # shorter than the window
LENGTH = len(TEXT)
STEPS = ("scores", "masked", "weights")


def saved(seed, architecture="classic"):
    """A model whose weights are far from their small initial ones, so that errors show."""
    tokenizer = CharTokenizer.from_text(TEXT + "bcd .")
    shape = {"n_layer": 2, "n_head": 3, "n_embd": 24, "dropout": 0.0, "architecture": architecture}
    config = GPTConfig(len(tokenizer.vocabulary), 60, **shape)
    model = GPT(config, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed))
            parameter.add_(noise, alpha=0.3)
    return SavedModel(model.eval(), tokenizer, {})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with a model, and one of a moment before."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "snapshots").mkdir()
    save_model(folder / "model.safetensors", saved(1))
    save_model(folder / "snapshots" / "step-00000003.safetensors", saved(2))
    return folder


@pytest.fixture(scope="module")
def server(run):
    with Server(run) as server:
        yield server


@pytest.fixture(scope="module")
def seen(run):
    return zigpt.load(run, "cpu").inspect(TEXT)


def ask(server, question, **asked):
    body = json.dumps({"text": TEXT, "at": None, **asked}).encode()
    return server.ask("POST", f"/api/window/{question}", body)


def floats(answer):
    status, headers, body = answer
    assert status == 200
    assert headers["content-type"] == "application/octet-stream"
    return torch.from_numpy(np.frombuffer(body, "<f4").copy())


def shown_number(told):
    """The number at the end of what is told of a cell."""
    return number(re.split("[:：] ?", told)[-1])


def is_close(page, wanted):
    """Whether a number of Python's is what is told of the cell that was gone to."""
    told = shown_number(page.locator(".readout").first.inner_text())
    return told == pytest.approx(float(wanted), abs=1e-3)


def named(page, text):
    """A text with `query` and `key` in the language of the page."""
    if page.evaluate("document.documentElement.lang") == "en":
        return text
    return text.replace("query", "查询").replace("key", "键")


def go(page, panel, text=TEXT, **view):
    """Open a panel at a place, as somebody who was sent its address."""
    asked = "&".join(f"{name}={value}" for name, value in view.items())
    page.evaluate(
        "([panel, text, asked]) => { location.hash ="
        " `#/${panel}?text=${encodeURIComponent(text)}&${asked}`; }",
        [panel, text, asked],
    )
    page.wait_for_selector(f"#tab-{panel}[aria-selected=true]")
    page.wait_for_selector("canvas.heatmap")


class TestAttention:
    def test_the_bytes_are_the_tensors(self, server, seen):
        for layer in range(2):
            for head in range(3):
                answer = floats(ask(server, "attention", layer=layer, head=head))
                steps = answer.view(3, LENGTH, LENGTH)
                for step, name in zip(steps, STEPS, strict=True):
                    assert step == pytest.approx(getattr(seen, name)[layer, head], abs=1e-6)

    def test_the_small_pictures_show_the_largest_of_the_weights(self, run, server, seen):
        assert torch.equal(floats(ask(server, "heads")), seen.weights.flatten())
        text = (TEXT * 4)[:55]
        small = floats(ask(server, "heads", text=text)).view(2, 3, 48, 48)
        weights = zigpt.load(run, "cpu").inspect(text).weights
        for row, column in ((0, 0), (20, 11), (47, 30), (47, 47)):
            part = [slice(n * 55 // 48, -(-(n + 1) * 55 // 48)) for n in (row, column)]
            wanted = weights[:, :, part[0], part[1]].amax((-2, -1))
            assert small[:, :, row, column] == pytest.approx(wanted)

    def test_each_cell_tells_its_number(self, page, seen):
        go(page, "attention")
        told = page.locator(".readout").first
        for layer, head in ((0, 2), (1, 0), (1, 2)):
            page.locator(".thumb").nth(3 * layer + head).click()
            for step, name in enumerate(STEPS):
                page.locator(".steps button").nth(step).click()
                expect(page.locator(".steps button").nth(step)).to_have_attribute(
                    "aria-pressed", "true"
                )
                for row, column in ((0, 0), (5, 3), (7, 14), (14, 7)):
                    page.locator("canvas.heatmap").click(position=at(page, row, column))
                    wanted = float(getattr(seen, name)[layer, head, row, column])
                    told_now = told.inner_text()
                    assert named(page, f"query {row} ") in told_now
                    assert named(page, f"key {column} ") in told_now
                    assert shown_number(told_now) == pytest.approx(wanted, abs=1e-3)

    def test_pointer_and_keys_walk_the_cells(self, page, seen):
        go(page, "attention", layer=1, head=1, row=5, column=3)
        told, canvas = page.locator(".readout").first, page.locator("canvas.heatmap")
        chosen = told.inner_text()
        assert named(page, "query 5 p → key 3 a") in chosen
        canvas.hover(position=at(page, 9, 1))
        expect(told).to_contain_text(named(page, "query 9 h → key 1 ␣"))
        page.mouse.move(0, 0)
        expect(told).to_have_text(chosen)
        canvas.focus()
        for key, row, column in (
            ("ArrowRight", 5, 4), ("ArrowDown", 6, 4), ("ArrowLeft", 6, 3), ("ArrowUp", 5, 3),
            ("End", 5, 14), ("Home", 5, 0), ("Control+End", 14, 14), ("ArrowRight", 14, 14),
            ("PageUp", 4, 14), ("Control+Home", 0, 0), ("ArrowUp", 0, 0), ("PageDown", 10, 0),
        ):  # fmt: skip
            page.keyboard.press(key)
            assert named(page, f"query {row} ") in told.inner_text()
            assert named(page, f"key {column} ") in told.inner_text()
        assert "row=10" in page.url
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") != "heatmap"

    def test_heads_are_walked_with_the_arrow_keys(self, page, seen):
        go(page, "attention", row=9, column=4)
        page.locator(".thumb").first.focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        expect(page.locator(".thumb:focus")).to_have_attribute("aria-pressed", "true")
        expect(page.locator("details")).to_have_count(1)
        wait_for(lambda: is_close(page, seen.weights[1, 1, 9, 4]))
        assert page.locator(".thumb[tabindex='0']").count() == 1

    def test_a_row_is_also_bars_and_a_table(self, page, seen):
        go(page, "attention", layer=0, head=1, row=9, column=2)
        page.locator("summary").click()
        expect(page.locator("tbody tr")).to_have_count(LENGTH)
        rows = page.locator("tbody tr").all_inner_texts()
        weights = []
        for line in rows:
            key, score, masked, weight = line.split("\t")
            column = int(key.split()[0])
            weights.append(number(weight))
            for name, told in zip(STEPS, (score, masked, weight), strict=True):
                wanted = float(getattr(seen, name)[0, 1, 9, column])
                assert number(told) == pytest.approx(wanted, abs=1e-3)
        assert weights == sorted(weights, reverse=True)
        assert page.locator(".bars li").count() == 10

    @pytest.mark.both_languages
    def test_a_changed_character_moves_nothing_before_it(self, page, run, server):
        model = load_model(run)
        go(page, "attention", column=6)
        for position in (6, 7, 8):
            letters = page.locator(".influence .letter")
            expect(letters.nth(position)).to_have_attribute("aria-pressed", "true")
            wanted = influence(model.model, model.ids(TEXT), position)
            told = page.locator(".readout").last
            expect(told).to_contain_text(re.compile(f"(Before|位置) {position}"))
            expect(told.locator("span").nth(1)).to_contain_text(re.compile("exactly 0|恰好为 0"))
            shown = [float(letter.get_attribute("data-moved")) for letter in letters.all()]
            assert shown[:position] == [0.0] * position
            assert shown == pytest.approx(wanted.tolist(), abs=1e-3)
            assert floats(ask(server, "influence", position=position)) == pytest.approx(wanted)
            letters.nth(position).focus()
            page.keyboard.press("ArrowRight")

    def test_the_moment_and_the_text_change_the_numbers(self, page, run):
        go(page, "attention", layer=1, head=2, row=6, column=4, tensor="scores")
        for step, text in ((3, TEXT), (3, "the lamp")):
            page.fill("#text", text)
            if step and "at=3" not in page.url:
                page.locator("#moment").press("ArrowLeft")
            folder = run / "snapshots" / "step-00000003.safetensors"
            wanted = zigpt.load(folder, "cpu").inspect(text).scores[1, 2, 6, 4]
            wait_for(lambda wanted=wanted: is_close(page, wanted))


ODD = [-1, 2**31, 10**40, 1.5, float("nan"), float("inf"), "0", None, True, [], {}, [0]]
CELLS = {
    "token": (6, 9), "position": (4, 23), "stream": (3, 8, 5), "q": (1, 2, 7, 3),
    "k": (0, 1, 9, 7), "v": (1, 0, 2, 0), "scores": (1, 2, 9, 4), "weights": (0, 2, 11, 6),
    "heads": (1, 1, 14, 2), "hidden": (1, 3, 90), "logits": (14, 12), "probabilities": (6, 3),
}  # fmt: skip


def place(name, cell):
    """A cell as the address of the page names it."""
    first = {4: ["layer", "head"], 3: ["state" if name == "stream" else "layer"], 2: []}[len(cell)]
    return {"tensor": name, **dict(zip([*first, "row", "column"], cell, strict=True))}


def heading(name, cell):
    return re.compile(re.escape(f"{name}[{', '.join(map(str, cell))}] = "))


class TestTrace:
    def test_every_tensor_is_offered_with_its_shape(self, server, seen):
        status, _, body = ask(server, "tensors")
        offered = json.loads(body)
        assert status == 200
        assert offered.keys() == SHAPES.keys() == CELLS.keys()
        for name, about in offered.items():
            assert f"({', '.join(about['letters'])})" == SHAPES[name]
            assert tuple(about["sizes"]) == getattr(seen, name).shape

    def test_the_bytes_are_the_tensors(self, server, seen):
        for name, cell in CELLS.items():
            before = list(cell[:-2])
            wanted = getattr(seen, name)[tuple(before)]
            shown = floats(ask(server, "cells", tensor=name, index=before)).view(wanted.shape)
            assert shown == pytest.approx(wanted, abs=1e-6)

    @pytest.mark.parametrize("name", CELLS)
    def test_the_terms_make_the_number(self, server, seen, name):
        status, _, body = ask(server, "trace", tensor=name, index=CELLS[name])
        told = json.loads(body)
        found = trace(seen, name, CELLS[name], TEXT)
        assert status == 200
        assert told["made"] == pytest.approx(told["value"], abs=1e-4)
        assert told["value"] == pytest.approx(found.value, abs=1e-6)
        assert len(told["terms"]) == min(20, told["count"])
        listed = sum(value for _, value in told["terms"])
        assert listed + told["rest"] == pytest.approx(told["total"], abs=1e-5)
        assert told["source"]["code"] == found.source.code

    @pytest.mark.both_languages
    def test_a_number_is_shown_with_its_terms_its_line_and_a_program(self, page, run, seen):
        for name in ("stream", "weights", "hidden", "logits"):
            cell = CELLS[name]
            go(page, "trace", **place(name, cell))
            expect(page.locator(".trace h3").first).to_have_text(
                re.compile(heading(name, cell).pattern + r"[−\d.e]+$")
            )
            wanted = float(getattr(seen, name)[cell])
            found = trace(seen, name, cell, TEXT)
            title = page.locator(".trace h3").first.inner_text()
            assert number(title.split(" = ")[1]) == pytest.approx(wanted, abs=1e-3)
            assert shown_number(page.locator(".readout").first.inner_text()) == pytest.approx(
                wanted, abs=1e-3
            )
            shown = [number(text) for text in page.locator(".terms .value").all_inner_texts()]
            terms = [value for _, value in found.terms]
            assert shown[:20] == pytest.approx(terms[:20], abs=1e-3)
            if len(terms) > 20:
                assert shown[20:] == pytest.approx([sum(terms[20:])], abs=1e-3)
            assert re.search("is rounding|舍入", page.locator(".sum").inner_text())
            source = page.locator(".source").inner_text()
            assert f"{found.source.path}:{found.source.number}" in source
            assert found.source.code in source
        assert printed(page, run) == pytest.approx(wanted, abs=1e-4)  # each takes seconds

    def test_the_program_names_the_file_of_the_moment(self, page, run):
        go(page, "trace", at=3, **place("scores", (1, 0, 9, 4)))
        expect(page.locator("pre")).to_contain_text("snapshots/step-00000003.safetensors")
        earlier = zigpt.load(run / "snapshots" / "step-00000003.safetensors", "cpu").inspect(TEXT)
        assert printed(page, run) == pytest.approx(float(earlier.scores[1, 0, 9, 4]), abs=1e-4)

    def test_pointer_keys_and_fields_lead_to_other_cells(self, page, seen):
        go(page, "trace", tensor="scores")
        page.locator("canvas.heatmap").click(position=at(page, 9, 4))
        page.fill("[name=layer]", "1")
        page.keyboard.press("Tab")
        page.fill("[name=head]", "2")
        page.keyboard.press("Tab")
        title = page.locator(".trace h3").first
        expect(title).to_have_text(heading("scores", (1, 2, 9, 4)))
        page.locator("canvas.heatmap").focus()
        page.keyboard.press("ArrowUp")
        expect(title).to_have_text(heading("scores", (1, 2, 8, 4)))
        page.select_option("#tensor", "stream")
        expect(title).to_have_text(heading("stream", (0, 8, 4)))
        page.fill("[name=state]", "77")
        page.keyboard.press("Tab")
        expect(title).to_have_text(heading("stream", (4, 8, 4)))
        told = page.locator(".readout").first.inner_text()
        assert shown_number(told) == pytest.approx(float(seen.stream[4, 8, 4]), abs=1e-3)
        shared = page.url
        page.reload()
        expect(page.locator(".trace h3").first).to_have_text(heading("stream", (4, 8, 4)))
        assert page.url == shared

    def test_a_term_leads_to_the_numbers_it_was_made_from_and_back(self, page):
        go(page, "trace", **place("heads", (1, 1, 14, 2)))
        title = page.locator(".trace h3").first
        way = ["heads", "weights", "scores", "q"]
        for name in way[1:]:
            link = page.locator(".terms button", has_text=name).first
            target = link.inner_text()
            link.click()
            expect(title).to_contain_text(f"{target} = ")
        assert page.locator(".terms button").count() == 0
        for name in reversed(way[:-1]):
            page.go_back()
            expect(page.locator(".trace h3").first).to_contain_text(f"{name}[1, 1, 14")

    def test_attention_leads_to_the_origin_of_its_numbers(self, page):
        for step, name in enumerate(("scores", "scores", "weights")):
            go(page, "attention", layer=1, head=2, row=9, column=4)
            page.locator(".steps button").nth(step).click()
            page.locator("canvas.heatmap ~ button").click()
            page.wait_for_selector("#tab-trace[aria-selected=true]")
            expect(page.locator(".trace h3").first).to_have_text(heading(name, (1, 2, 9, 4)))

    @pytest.mark.parametrize("name", ["toString", "__proto__", "model"])
    def test_a_tensor_that_there_is_not_is_the_usual_one(self, page, name):
        go(page, "trace", tensor=name)
        expect(page.locator(".trace h3").first).to_contain_text("weights[0, 0, ")

    @pytest.mark.both_languages
    def test_the_program_can_be_copied(self, page):
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        go(page, "trace")
        page.locator("pre + button").click()
        expect(page.locator("pre + button")).to_have_text(re.compile("Copied|已复制"))
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == page.locator("pre").text_content()

    @pytest.mark.parametrize("index", [*ODD, [0, 0, 0], [2, 0, 0, 0], [0, 3, 0, 0], [0, 0, 15, 0]])
    def test_no_other_index_is_answered(self, server, index):
        for question in ("trace", "cells"):
            status, _, body = ask(server, question, tensor="scores", index=index)
            assert status in (400, 422)
            assert list(json.loads(body)) == ["error"]
        if not isinstance(index, list):
            assert ask(server, "trace", tensor="scores", index=[0, 0, 0, index])[0] in (400, 422)
            assert ask(server, "cells", tensor="scores", index=[0, index])[0] in (400, 422)

    @pytest.mark.parametrize("name", ["", "masked", "model", "__class__", 7, None, ["q"], True])
    def test_no_other_tensor_is_answered(self, server, name):
        for question, index in (("trace", [0, 0, 0, 0]), ("cells", [0, 0])):
            assert ask(server, question, tensor=name, index=index)[0] == 422

    def test_the_modern_architecture_offers_no_position_embedding(self, tmp_path):
        save_model(tmp_path / "odd 'name'.safetensors", saved(3, "modern"))
        server = Server(tmp_path / "odd 'name'.safetensors")
        try:
            assert json.loads(ask(server, "tensors")[2]).keys() == SHAPES.keys() - {"position"}
            assert ask(server, "cells", tensor="position", index=[])[0] == 422
            assert ask(server, "trace", tensor="position", index=[0, 0])[0] == 422
            told = json.loads(ask(server, "trace", tensor="q", index=[1, 0, 5, 6])[2])
        finally:
            server.close()
        assert run_program(told["snippet"], tmp_path) == pytest.approx(told["value"], abs=1e-4)


def printed(page, folder):
    """What the program on the page prints in the run folder."""
    return run_program(page.locator("pre").text_content(), folder)


def run_program(program, folder):
    command = [sys.executable, "-c", program]
    return float(subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout)


def at(page, row, column):
    """Where a cell of the map is, in pixels of the canvas."""
    width = page.locator("canvas.heatmap").evaluate("canvas => canvas.clientWidth")
    size = int(min((width - 24) / LENGTH, 40, 560 / LENGTH))
    return {"x": 24 + (column + 0.5) * size, "y": 24 + (row + 0.5) * size}


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize(
    ("question", "name", "rest"),
    [
        ("attention", "layer", {"head": 0}),
        ("attention", "head", {"layer": 0}),
        ("influence", "position", {}),
    ],
)
def test_what_is_no_place_in_the_model_is_refused(server, question, name, rest, value):
    status, _, body = ask(server, question, **{**rest, name: value})
    assert status in (400, 422)
    assert list(json.loads(body)) == ["error"]


@pytest.mark.parametrize(
    "question", ["heads", "attention", "influence", "tensors", "cells", "trace"]
)
def test_questions_without_a_text_or_at_no_moment_are_refused(server, question):
    place = {"layer": 0, "head": 0, "position": 0, "tensor": "token"}
    place["index"] = [0, 0] if question == "trace" else []
    for text in ("", "a" * 61, "字", 7, None, ["a"]):
        assert ask(server, question, **{**place, "text": text})[0] == 422
    for moment, status in ((4, 404), (-1, 422), (0.5, 422), ("3", 422)):
        assert ask(server, question, **{**place, "at": moment})[0] == status
    for body in (b"", b"[]", b"null", b'{"text": "a"}', b'{"text": "a", "at": NaN}'):
        status = server.ask("POST", f"/api/window/{question}", body)[0]
        assert status in (200, 400, 422)


@pytest.mark.both_languages
def test_on_a_telephone_nothing_hangs_over_the_edge(page):
    page.set_viewport_size({"width": 390, "height": 844})
    for panel in ("attention", "trace"):
        go(page, panel)
        for details in page.locator("summary").all():
            details.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
