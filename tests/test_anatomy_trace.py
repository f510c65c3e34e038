"""Any number traced: its terms make it, its line stands there, its snippet makes it again."""

import ast
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

import zigpt
from tests import reference
from zigpt.anatomy.activations import inspect
from zigpt.anatomy.trace import SHAPES, source_line, trace
from zigpt.formats.saved_model import SavedModel, save_model
from zigpt.gpt.config import GPTConfig
from zigpt.gpt.model import GPT, Block
from zigpt.tokenizers.char import CharTokenizer

VOCABULARY = "\0\n\r\"'\\a{}\u2028字"  # what could end a string or break a line
TEXT = "字'\\\n\"{a}"
STATEMENTS = {
    "token": "x = self.token_embedding(ids)",
    "position": "x = x + self.position_embedding(positions)",
    "v": "q, k, v = (self._split_heads(part) for part in self.qkv(x).chunk(3, dim=-1))",
    "scores": "return q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))",
    "weights": "return F.softmax(hide_future(attention_scores(q, k)), dim=-1)",
    "heads": "return attention_weights(q, k) @ v",
    "hidden": "return self.dropout(self.project(gelu(self.expand(x))))",
    "logits": "return self.head(self.ln_f(x))",
    "probabilities": "return self.logits.softmax(-1)",
}

# Runs each snippet as a program of its own and keeps what it prints.
_RUN_ALL = """
import contextlib, io, json, sys
printed = []
for snippet in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(snippet, "snippet", "exec"), {"__name__": "__main__"})
    printed.append(out.getvalue())
json.dump(printed, sys.stdout)
"""


@pytest.fixture
def saved(tiny_model):
    return SavedModel(tiny_model, CharTokenizer(VOCABULARY), {})


@pytest.fixture
def seen(saved):
    return inspect(saved.model, saved.ids(TEXT))


def names(seen):
    return [name for name in SHAPES if getattr(seen, name) is not None]


def cells(seen, name):
    return itertools.product(*map(range, getattr(seen, name).shape))


def corners(seen, name):
    """The first and the last index of every dimension, in all combinations."""
    return list(itertools.product(*((0, size - 1) for size in getattr(seen, name).shape)))


def combined(found):
    values = [value for _, value in found.terms]
    if found.rule == "share":
        return dict(found.terms)[found.own] / math.fsum(values)
    total = math.fsum(values)
    return float(reference.gelu(torch.tensor(total))) if found.rule == "gelu" else total


def agree(a, b, tensor, tolerance):
    return abs(a - b) <= tolerance * max(1.0, float(tensor.abs().max()))


def run(snippets, folder):
    """Run snippets in a Python of their own, where a warning is an error."""
    command = [sys.executable, "-W", "error", "-c", _RUN_ALL]
    result = subprocess.run(
        command, input=json.dumps(snippets), cwd=folder, capture_output=True, text=True, check=True
    )
    return [float(printed) for printed in json.loads(result.stdout)]


@pytest.mark.parametrize("name", SHAPES)
def test_the_terms_of_every_cell_make_its_value(seen, name):
    if name not in names(seen):
        pytest.skip("the modern architecture has no learned positions")
    tensor = getattr(seen, name)
    for index in cells(seen, name):
        found = trace(seen, name, index, TEXT)
        assert found.value == float(tensor[index])
        assert agree(combined(found), found.value, tensor, 1e-4), (index, found)


def test_terms_are_sorted_by_size_and_each_has_a_label_of_its_own(seen):
    for name in names(seen):
        found = trace(seen, name, corners(seen, name)[-1], TEXT)
        sizes = [abs(value) for _, value in found.terms]
        assert sizes == sorted(sizes, reverse=True)
        assert len({label for label, _ in found.terms}) == len(found.terms)
        assert all(math.isfinite(value) for value in sizes)


def test_terms_are_counted_in_what_they_are_terms_of(seen):
    counts = {
        "token": 1, "position": 1, "v": 17, "scores": 8, "weights": 8, "heads": 8, "hidden": 17,
        "logits": 16, "probabilities": 11,
    }  # fmt: skip
    for name in names(seen):
        if name in counts:
            found = trace(seen, name, corners(seen, name)[-1], TEXT)
            assert len(found.terms) == counts[name], name


def test_a_share_says_whose_it_is_and_the_future_has_none(seen):
    past, future = (trace(seen, "weights", (1, 0, 3, column), TEXT) for column in (2, 5))
    assert past.own == ("position", 2)
    assert past.terms == future.terms
    assert past.value > future.value == 0
    assert dict(future.terms)[future.own] == 0
    assert trace(seen, "probabilities", (3, 7), TEXT).own == ("character", 7)
    assert trace(seen, "scores", (1, 0, 3, 2), TEXT).own is None


def test_every_snippet_makes_the_value_again_from_the_model_file(saved, seen, tmp_path):
    save_model(tmp_path / "model.safetensors", saved)
    asked = [(name, index) for name in names(seen) for index in corners(seen, name)]
    found = [trace(seen, name, index, TEXT) for name, index in asked]
    printed = run([one.snippet for one in found], tmp_path)
    for (name, index), one, value in zip(asked, found, printed, strict=True):
        assert agree(value, one.value, getattr(seen, name), 1e-5), (name, index, one.snippet)


def test_a_snippet_is_a_program(saved, seen, tmp_path):
    save_model(tmp_path / "model.safetensors", saved)
    found = trace(seen, "q", (1, 1, 5, 3), TEXT)
    (tmp_path / "snippet.py").write_text(found.snippet, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "snippet.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert float(result.stdout) == pytest.approx(found.value, abs=1e-5)


def test_a_snippet_has_at_most_six_lines_that_fit_a_screen(seen):
    for name in names(seen):
        for index in corners(seen, name):
            lines = trace(seen, name, index, TEXT).snippet.splitlines()
            assert 4 <= len(lines) <= 6
            assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("name", ["q", "k", "v", "scores", "weights", "heads", "hidden"])
def test_a_snippet_does_not_read_the_tensor_that_it_explains(seen, name):
    assert f"seen.{name}[" not in trace(seen, name, corners(seen, name)[-1], TEXT).snippet


@given(st.text(st.characters(), min_size=8, max_size=8))
@example("\ud800" * 8)
@example("\u2028\u2029\x85\x1c\v\f\r\n")
@example("\"\"\"'''\\\\")
@example("{text!r}")
@example("\u202e\u2066\x1b[2J\0#")
def test_whatever_the_text_holds_stays_one_string_on_one_line(text):
    config = GPTConfig(11, 8, n_layer=1, n_head=1, n_embd=2)
    seen = inspect(GPT(config, torch.Generator().manual_seed(0)), torch.arange(8))
    snippet = trace(seen, "scores", (0, 0, 1, 0), text).snippet
    strings = [
        node.value
        for node in ast.walk(ast.parse(snippet))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert sorted(strings) == sorted(["model.safetensors", text])
    assert len(snippet.splitlines()) == 4
    assert all(line.isprintable() for line in snippet.splitlines())


def test_the_line_stands_in_the_source_where_the_trace_says(seen):
    for name in names(seen):
        for index in corners(seen, name):
            line = trace(seen, name, index, TEXT).source
            lines = (Path(zigpt.__file__).parent.parent / line.path).read_text("utf-8").splitlines()
            assert lines[line.number - 1].strip() == line.code


def test_the_line_is_the_one_that_makes_the_number(seen):
    turned = "return x * cos.to(x.dtype) + x.roll(half, dims=-1) * sin.to(x.dtype)"
    made = STATEMENTS["v"] if seen.position is not None else turned
    for name, statement in {**STATEMENTS, "q": made, "k": made}.items():
        if name in names(seen):
            line = trace(seen, name, corners(seen, name)[-1], TEXT).source
            assert line.code == statement
    first = STATEMENTS["token" if seen.position is None else "position"]
    states = [
        first,
        "x = x + self.attn(shift(2 * self.layer, self.ln_1(x)), attend)",
        "return x + self.ffn(shift(2 * self.layer + 1, self.ln_2(x)))",
    ]
    for state, statement in enumerate(states):
        assert trace(seen, "stream", (state, 3, 4), TEXT).source.code == statement


@pytest.mark.parametrize("statement", ["x = x * self.attn(", "self.layer"])
def test_a_line_that_is_gone_or_one_of_several_is_not_made_up(statement):
    with pytest.raises(LookupError, match=r"lines of Block\.forward"):
        source_line(Block.forward, statement)


def test_shapes_are_named_in_letters_that_hold(seen):
    size = {"T": 8, "C": 16, "S": 5, "L": 2, "H": 2, "D": 8, "F": 64, "V": 11}
    for name in names(seen):
        letters = trace(seen, name, corners(seen, name)[0], TEXT).shape.strip("()").split(", ")
        assert tuple(size[letter] for letter in letters) == getattr(seen, name).shape


@pytest.mark.parametrize("name", ["", "model", "__class__", "masked", "Q"])
def test_what_is_no_tensor_to_trace_is_refused(seen, name):
    with pytest.raises(ValueError, match=r"no tensor .* to trace: choose from token"):
        trace(seen, name, (0, 0), TEXT)


def test_positions_are_refused_where_none_are_learned(seen):
    if seen.position is None:
        with pytest.raises(ValueError, match="no position in a modern model"):
            trace(seen, "position", (0, 0), TEXT)


@pytest.mark.parametrize("name", SHAPES)
def test_an_index_outside_the_tensor_is_refused(seen, name):
    if name not in names(seen):
        pytest.skip("the modern architecture has no learned positions")
    shape = getattr(seen, name).shape
    last = tuple(size - 1 for size in shape)
    for index in ((), last[1:], (*last, 0)):
        with pytest.raises(ValueError, match=rf"expected {len(shape)} numbers, got \("):
            trace(seen, name, index, TEXT)
    for axis, size in enumerate(shape):
        for outside in (-1, size, 10**30):
            with pytest.raises(IndexError, match="there is no cell"):
                trace(seen, name, (*last[:axis], outside, *last[axis + 1 :]), TEXT)


@pytest.mark.parametrize("text", ["", TEXT[1:], TEXT + "a"])
def test_a_text_that_was_not_looked_at_is_refused(seen, text):
    with pytest.raises(ValueError, match=f"the text has {len(text)} characters, but 8"):
        trace(seen, "scores", (0, 0, 1, 0), text)


def test_at_the_size_of_the_textbook_run_terms_and_snippets_still_hold(tiny_config, tmp_path):
    config = GPTConfig(65, dropout=0.2, architecture=tiny_config.architecture)
    characters = "".join(map(chr, range(32, 97)))
    model = GPT(config, torch.Generator().manual_seed(0)).eval()
    saved = SavedModel(model, CharTokenizer(characters), {})
    save_model(tmp_path / "model.safetensors", saved)
    text = (characters * 4)[:256]
    seen = inspect(saved.model, saved.ids(text))
    asked = [(name, tuple(size - 2 for size in getattr(seen, name).shape)) for name in names(seen)]
    found = [trace(seen, name, index, text) for name, index in asked]
    printed = run([one.snippet for one in found], tmp_path)
    for (name, _), one, value in zip(asked, found, printed, strict=True):
        assert agree(combined(one), one.value, getattr(seen, name), 1e-4), name
        assert agree(value, one.value, getattr(seen, name), 1e-5), one.snippet
