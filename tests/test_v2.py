"""The textbook: its constants, that one file is all it takes, that it learns, and that its model
is the package's own."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from tests.texts import story
from zigpt.bench.plain import load_textbook
from zigpt.gpt.config import GPTConfig
from zigpt.gpt.model import GPT

V2 = Path(__file__).parent.parent / "v2.py"
SOURCE = V2.read_text(encoding="utf-8")
TREE = ast.parse(SOURCE)
CONSTANTS = {
    "N_EMBED": 384, "N_LAYERS": 6, "N_HEADS": 6, "BLOCK_SIZE": 256, "BATCH_SIZE": 64,
    "LEARNING_RATE": 3e-4, "DROP_OUT": 0.2, "EVAL_INTERVAL": 200, "MAX_STEPS": 5000,
}  # fmt: skip
# As the first lines of a program: nothing of ours can be imported, wherever it is installed.
WITHOUT_ZIGPT = "import sys; sys.modules['zigpt'] = None; import runpy; runpy.run_path"
SHAPE = GPTConfig(vocab_size=11, block_size=16, n_layer=2, n_head=2, n_embd=16, dropout=0.0)


def test_the_constants_are_the_lectures():
    found = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in TREE.body
        if isinstance(node, ast.Assign)
    }
    assert found == CONSTANTS
    assert list(found) == list(CONSTANTS)


def test_one_file_that_fits_in_the_head_needs_nothing_but_torch():
    imported = set()
    for node in ast.walk(TREE):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module.partition(".")[0])
    assert imported - sys.stdlib_module_names == {"torch"}
    assert len(SOURCE.splitlines()) <= 230


def test_importing_it_does_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    state = torch.get_rng_state()
    load_textbook(SHAPE)
    assert capfd.readouterr() == ("", "")
    assert torch.equal(torch.get_rng_state(), state)


def test_the_future_is_hidden_as_lectures_hide_it():
    assert 'self.register_buffer("tril", torch.tril(torch.ones(BLOCK_SIZE, BLOCK_SIZE)))' in SOURCE
    assert 'wei = wei.masked_fill(self.tril[:T, :T] == 0, float("-inf"))' in SOURCE


def run(folder, source):
    (folder / "v2.py").write_text(source, encoding="utf-8")
    program = f"{WITHOUT_ZIGPT}('v2.py', run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=120,
        check=False, encoding="utf-8",
    )  # fmt: skip


def small_source():
    small = {"N_EMBED": 16, "N_LAYERS": 1, "N_HEADS": 2, "BLOCK_SIZE": 16, "BATCH_SIZE": 10,
             "LEARNING_RATE": 3e-3, "EVAL_INTERVAL": 20, "MAX_STEPS": 50}  # fmt: skip
    source = SOURCE
    for name, value in small.items():
        source, count = re.subn(rf"^{name} = \S+", f"{name} = {value}", source, flags=re.MULTILINE)
        assert count == 1
    return source


def test_made_small_by_editing_it_runs_to_the_end_without_the_package_and_learns(tmp_path):
    (tmp_path / "input.txt").write_text(story(4000), encoding="utf-8")
    result = run(tmp_path, small_source())
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    out = result.stdout
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        estimate, sample = out.index("50 steps will take about 0 h 1 min"), out.index("writes:")
        assert estimate < out.index("zigpt train input.txt") < sample
    assert re.search(r"^[\d,]+ parameters on (cpu|cuda|mps) ", out, re.MULTILINE)
    losses = re.findall(r"^step (\d+): train loss (\S+), test loss (\S+)$", out, re.MULTILINE)
    assert [int(step) for step, _, _ in losses] == [0, 20, 40, 50]
    assert float(losses[-1][2]) < float(losses[0][2]) - 0.3
    before = re.search(r"The untrained model writes:[^\n]*\n(.*)\nstep 0:", out, re.DOTALL)[1]
    after = re.search(r"The trained model writes:[^\n]*\n(.*)\n", out, re.DOTALL)[1]
    assert len(before) == len(after) == 301  # the prompt is one character
    assert before[0] == after[0]
    assert before != after


LEAST = 10 * CONSTANTS["BLOCK_SIZE"] + 1
REFUSED = {
    "missing": None,
    "empty": b"",
    "too short": story(LEAST - 1).encode(),
    "not UTF-8": "自注意力".encode("gb18030") * 1000,
    "one distinct character": b"a" * LEAST,
}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED.keys())
def test_a_text_that_cannot_be_learned_is_refused_in_one_bilingual_line(
    tmp_path, monkeypatch, capfd, content
):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "input.txt").write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        load_textbook(GPTConfig()).main()
    # Python prints what it is told to exit with, and exits with 1.
    assert re.fullmatch(r"[^\n]*input\.txt[^\n]* / [^\n]*[\u4e00-\u9fff][^\n]*", stop.value.code)
    assert capfd.readouterr() == ("", "")


def test_a_refusal_is_one_line_on_stderr_and_exit_code_1(tmp_path):
    (tmp_path / "input.txt").write_bytes(REFUSED["not UTF-8"])
    result = run(tmp_path, SOURCE)
    assert (result.returncode, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert "UTF-8" in result.stderr


def test_the_shortest_text_it_takes_has_a_window_to_test(tmp_path, monkeypatch):
    (tmp_path / "input.txt").write_text(story(LEAST), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    v2 = load_textbook(GPTConfig())
    data = torch.tensor(v2.encode(v2.read_text(), sorted(set(story(LEAST)))))
    assert v2.get_batch(data[len(data) * 9 // 10 :])[0].shape == (64, 256)


def test_a_mark_of_utf_8_is_not_a_character_of_the_text(tmp_path, monkeypatch):
    (tmp_path / "input.txt").write_bytes(b"\xef\xbb\xbf" + story(LEAST).encode())
    monkeypatch.chdir(tmp_path)
    assert load_textbook(GPTConfig()).read_text() == story(LEAST)


def test_a_width_that_the_heads_cannot_share_is_refused_in_one_bilingual_line(monkeypatch):
    v2 = load_textbook(SHAPE)
    monkeypatch.setattr(v2, "N_HEADS", 3)
    with pytest.raises(SystemExit) as stop:
        v2.main()
    assert re.fullmatch(r"N_EMBED [^\n]* / [^\n]*[\u4e00-\u9fff][^\n]*", stop.value.code)


def test_targets_are_the_inputs_shifted_by_one():
    v2 = load_textbook(SHAPE)
    data = torch.arange(1000)
    inputs, targets = v2.get_batch(data)
    assert inputs.shape == targets.shape == (CONSTANTS["BATCH_SIZE"], SHAPE.block_size)
    assert torch.equal(targets, inputs + 1)
    assert torch.equal(inputs - inputs[:, :1], torch.arange(16).expand_as(inputs))
    assert inputs[:, 0].unique().numel() > 32  # cut anywhere


def test_characters_become_ids_and_come_back():
    v2 = load_textbook(SHAPE)
    text = "自注意力 attends\n"
    characters = sorted(set(text))
    assert v2.decode(v2.encode(text, characters), characters) == text


def pair():
    """Build the same model twice, the textbook's and the package's, with weights that matter."""
    v2 = load_textbook(SHAPE)
    ours, theirs = v2.GPT(SHAPE.vocab_size), GPT(SHAPE)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.3)
    weights = {name: x for name, x in ours.state_dict().items() if not name.endswith("tril")}
    theirs.load_state_dict(weights)
    return v2, ours, theirs


def test_its_model_is_the_packages_forwards_and_backwards():
    torch.manual_seed(0)
    _, ours, theirs = pair()
    ids, targets = torch.randint(11, (2, 3, 16))
    for model in (ours, theirs):
        F.cross_entropy(model(ids).flatten(0, 1), targets.flatten()).backward()
    torch.testing.assert_close(ours(ids), theirs(ids), rtol=0, atol=1e-5)
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad, rtol=1e-5, atol=1e-5)


def test_weights_come_back_from_the_package_and_count_the_same():
    torch.manual_seed(0)
    _, ours, theirs = pair()
    fresh = GPT(SHAPE)
    missing, unexpected = ours.load_state_dict(fresh.state_dict(), strict=False)
    assert all(name.endswith("tril") for name in missing)
    assert unexpected == []
    ids = torch.randint(11, (2, 5))
    torch.testing.assert_close(ours(ids), fresh(ids), rtol=0, atol=1e-5)
    assert sum(p.numel() for p in theirs.parameters()) == SHAPE.n_parameters


def test_weights_begin_as_the_packages_do():
    torch.manual_seed(0)
    config = GPTConfig(vocab_size=500, block_size=64, n_layer=2, n_head=2, n_embd=128)
    theirs = dict(GPT(config).named_parameters())
    for name, parameter in load_textbook(config).GPT(500).named_parameters():
        for statistic in (torch.mean, torch.std):
            ours, other = statistic(parameter), statistic(theirs[name])
            torch.testing.assert_close(ours, other, rtol=0.05, atol=0.001)


def test_a_later_character_changes_no_earlier_prediction():
    torch.manual_seed(0)
    _, model, _ = pair()
    ids = torch.randint(11, (1, 16))
    changed = ids.clone()
    changed[0, 9] = (ids[0, 9] + 1) % 11
    before, after = model(ids)[0], model(changed)[0]
    assert torch.equal(before[:9], after[:9])
    assert not torch.equal(before[9], after[9])


def test_a_batch_in_parts_is_learned_as_a_whole_one():
    torch.manual_seed(0)
    v2, model, _ = pair()
    x, y = torch.randint(11, (2, 10, 16))
    found = []
    for at_once in (10, 4):
        v2.train_step(model, torch.optim.AdamW(model.parameters(), lr=0.0), x, y, at_once)
        found.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


def test_a_rate_of_zero_changes_nothing():
    """What the steps that are only timed rely on."""
    torch.manual_seed(0)
    v2, model, _ = pair()
    before = [parameter.clone() for parameter in model.parameters()]
    ids = torch.randint(11, (4, 16))
    v2.train_step(model, torch.optim.AdamW(model.parameters(), lr=0.0), ids, ids, 4)
    assert all(map(torch.equal, before, model.parameters()))


def test_dropout_keeps_the_mean_and_is_off_while_writing():
    torch.manual_seed(0)
    v2 = load_textbook(GPTConfig(dropout=0.2))
    ones = torch.ones(100_000)
    dropped = v2.dropout(ones, training=True)
    assert dropped.unique().tolist() == pytest.approx([0.0, 1.25])
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.01)
    assert v2.dropout(ones, training=False) is ones
