"""The example notebook runs from top to bottom in a real kernel, and shows what it promises."""

import os
from pathlib import Path

import pytest

import zigpt

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
NOTEBOOK = Path(__file__).parent.parent / "examples" / "zigpt.ipynb"


@pytest.fixture(scope="module")
def stored():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Its code cells with outputs, run in a folder of their own, and that folder."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    source = str(Path(zigpt.__file__).parent.parent)
    with pytest.MonkeyPatch.context() as patch:
        path = os.environ.get("PYTHONPATH")
        patch.setenv("PYTHONPATH", f"{source}{os.pathsep}{path}" if path else source)
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))  # not in the home folder
        client = nbclient.NotebookClient(
            notebook, timeout=300, resources={"metadata": {"path": str(folder)}}
        )
        client.execute()  # raises if a cell does
    return [cell for cell in notebook.cells if cell.cell_type == "code"], folder


def text_of(cell):
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def has_picture(cell):
    return any("image/png" in output.get("data", {}) for output in cell.outputs)


def test_it_is_stored_without_outputs_and_every_heading_is_in_both_languages(stored):
    assert 10 <= len(stored.cells) <= 14
    for cell in stored.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
        else:
            heading, english, chinese = cell.source.split("\n\n")
            assert heading.startswith("#")
            assert " · " in heading
            assert english.isascii()
            assert not chinese.isascii()


def test_no_cell_complains(executed):
    cells, _ = executed
    for cell in cells:
        errors = [o for o in cell.outputs if o.get("name") == "stderr" or "ename" in o]
        assert errors == []


def test_training_shows_the_run_with_its_loss_picture(executed):
    cells, folder = executed
    shown = cells[2].outputs[-1]
    steps = [line.split()[1] for line in text_of(cells[2]).splitlines()]
    assert steps == ["0", "25", "50", "75", "100", "125", "150"]
    assert "&lt;zigpt run runs/pasted-" in shown.data["text/html"]
    assert "data:image/png;base64," in shown.data["text/html"]
    assert len(list(folder.glob("runs/*/model.safetensors"))) == 1


def test_it_draws_the_attention_weights(executed):
    cells, _ = executed
    assert [has_picture(cell) for cell in cells] == [False] * 5 + [True, False]


def test_it_writes_at_two_temperatures_and_has_learned_to_spell(executed):
    cells, _ = executed
    low, high = text_of(cells[3]).split("temperature 2.0:")
    words = low.replace(",", " ").replace(".", " ").split()
    assert words.count("the") > 3
    assert len(high.strip()) >= 120


def test_predictions_name_every_character_of_the_sentence(executed):
    cells, _ = executed
    lines = text_of(cells[4]).splitlines()
    assert "".join(line[1] for line in lines) == "he old bell is on the hill"
    assert all("best guess" in line for line in lines)


def test_the_saved_model_is_the_same(executed):
    cells, folder = executed
    assert text_of(cells[-1]).endswith("the same: True\n")
    assert (folder / "rhyme.safetensors").exists()
