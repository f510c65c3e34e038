"""The textbook run: its constants, its plainness, and that it learns."""

import ast
import re
import subprocess
import sys
from pathlib import Path

from tests.texts import story

V2 = Path(__file__).parent.parent / "v2.py"
SOURCE = V2.read_text(encoding="utf-8")
CONSTANTS = {
    "N_EMBED": 384, "N_LAYERS": 6, "N_HEADS": 6, "BLOCK_SIZE": 256, "BATCH_SIZE": 64,
    "LEARNING_RATE": 3e-4, "DROP_OUT": 0.2, "EVAL_INTERVAL": 200, "MAX_STEPS": 5000,
}  # fmt: skip


def constants():
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(SOURCE).body
        if isinstance(node, ast.Assign)
    }


def test_the_constants_are_the_textbooks():
    assert constants() == CONSTANTS


def test_it_holds_no_class_and_no_tensor_maths_and_fits_on_a_page():
    tree = ast.parse(SOURCE)
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    imported = {
        alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names
    }
    assert imported == {"sys"}
    assert "torch" not in SOURCE
    assert len(SOURCE.splitlines()) <= 80


def run(folder, source):
    script = folder / "v2.py"
    script.write_text(source, encoding="utf-8")
    return subprocess.run(
        [sys.executable, script], cwd=folder, capture_output=True, text=True, timeout=120,
        check=False, encoding="utf-8",
    )  # fmt: skip


def test_made_small_by_editing_it_runs_to_the_end_and_the_test_loss_falls(tmp_path):
    small = {"N_EMBED": 16, "N_LAYERS": 1, "N_HEADS": 2, "BLOCK_SIZE": 16, "BATCH_SIZE": 8,
             "LEARNING_RATE": 3e-3, "EVAL_INTERVAL": 20, "MAX_STEPS": 50}  # fmt: skip
    source = SOURCE
    for name, value in small.items():
        source = re.sub(rf"^{name} = \S+", f"{name} = {value}", source, flags=re.MULTILINE)
    (tmp_path / "input.txt").write_text(story(4000), encoding="utf-8")
    result = run(tmp_path, source)
    assert result.returncode == 0, result.stderr
    out = result.stdout
    assert re.search(r"50 steps will take about \d+ s on this machine", out)
    assert "zigpt train input.txt" in out
    losses = re.findall(r"^step (\d+): train loss (\S+), test loss (\S+)$", out, re.MULTILINE)
    assert [int(step) for step, _, _ in losses] == [0, 20, 40, 50]
    assert float(losses[-1][2]) < float(losses[0][2]) - 0.3
    before = out.split("The untrained model writes:\n")[1].split("\n\nstep 0")[0]
    after = out.split("The trained model writes:\n")[1]
    assert len(before) >= 300
    assert len(after) >= 300
    assert before != after


def test_a_missing_input_is_said_plainly(tmp_path):
    result = run(tmp_path, SOURCE)
    assert result.returncode == 3
    assert result.stderr.startswith("error: ")
    assert "input.txt" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 3
