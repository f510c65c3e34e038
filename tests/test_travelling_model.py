"""A model file is given away: it says which text it was trained on, but not where that was."""

import json
import shlex
import shutil
from dataclasses import replace

import pytest

from stress.settings import shortened
from tests.runs import SMALL
from tests.texts import story
from zigpt.cli.main import main
from zigpt.data.source import python_reference
from zigpt.errors import ModelFileError, TextMovedError
from zigpt.formats import safetensors
from zigpt.formats.base import ModelFile
from zigpt.formats.safetensors import MODEL_FILE
from zigpt.formats.saved_model import load_model, save_model
from zigpt.runs.folder import RunFolder
from zigpt.runs.paths import list_snapshots, snapshot_path
from zigpt.runs.record import read_record, write_record
from zigpt.runs.training_text import find_again, fingerprint, text_of_model
from zigpt.web.copy_finder import CopyFinder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a text, `secret/book.txt`, and a `run` trained on it."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "secret").mkdir()
    (folder / "secret" / "book.txt").write_text(story(3000), encoding="utf-8")
    text = str(folder / "secret" / "book.txt")
    with shortened():
        assert main(["train", text, *SMALL, "--max-steps", "3", "--run", str(folder / "run")]) == 0
    return folder


def models_of(run):
    """Every model in a run folder, and the folder itself."""
    return [run, run / MODEL_FILE, *(snapshot_path(run, step) for step in list_snapshots(run))]


def refusal(capsys, *words):
    capsys.readouterr()
    code = main([str(word) for word in words])
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["error", "why", "fix"]
    return code, *(line.split(": ", 1)[1] for line in lines)


def test_no_file_that_holds_weights_says_where_the_text_was(home):
    files = sorted((home / "run").rglob("*.safetensors"))
    assert len(files) > 4  # model.safetensors, snapshots and checkpoints
    for file in files:
        assert b"secret" not in file.read_bytes()
        assert str(home).encode() not in file.read_bytes()


def test_a_model_file_says_which_text_it_was_trained_on_and_run_json_where_it_is(home):
    recorded = read_record(home / "run").text
    assert recorded["paths"] == [str(home / "secret" / "book.txt")]
    told = load_model(home / "run").about["text"]
    assert set(told) == {"name", "sha256", "characters", "encoding"}
    assert all(told[name] == recorded[name] for name in told)


@pytest.mark.parametrize("command", ["eval", "explain window"])
def test_a_model_in_its_run_folder_finds_its_text(home, capsys, monkeypatch, command):
    assert len(models_of(home / "run")) > 2
    for path in models_of(home / "run"):
        assert main([*command.split(), str(path)]) == 0
    monkeypatch.chdir(home / "run" / "snapshots")
    assert main([*command.split(), snapshot_path(home, 0).name]) == 0
    (home / "link.safetensors").unlink(missing_ok=True)
    (home / "link.safetensors").symlink_to(home / "run" / MODEL_FILE)
    assert main([*command.split(), str(home / "link.safetensors")]) == 0


def test_the_page_finds_copies_through_the_run_folder(home, tmp_path):
    copied = story(3000)[100:200]
    for path in models_of(home / "run"):
        assert CopyFinder().find(path, load_model(path), copied)["longest"] == 100
    alone = shutil.copy(home / "run" / MODEL_FILE, tmp_path)
    assert CopyFinder().find(tmp_path / MODEL_FILE, load_model(alone), copied) == {
        "absent": "missing"
    }


def test_a_model_alone_asks_for_its_text_and_takes_it(home, tmp_path, capsys):
    alone = shutil.copy(home / "run" / MODEL_FILE, tmp_path)
    code, what, why, fix = refusal(capsys, "eval", alone)
    assert (code, what) == (3, "cannot find the training text 'book'")
    assert why.startswith("a model file does not say where its text is")
    assert fix.startswith("use the model within its run folder, or name it: ")
    _, *spelled = shlex.split(fix[fix.index("zigpt eval ") :])
    text = str(home / "secret" / "book.txt")
    assert main([text if word == "TEXT" else word for word in spelled]) == 0
    assert "the validation split of" in capsys.readouterr().out
    code, _, _, fix = refusal(capsys, "explain", "window", alone)
    assert (code, fix) == (3, "use the model within its run folder, or give a --text")
    assert main(["explain", "window", alone, "--text", "the river and the lamp"]) == 0
    assert main(["verify", alone]) in (0, 1)
    assert "To have it checked, use the model within its run folder." in capsys.readouterr().out


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"paths": [7]}, {"paths": None}])
def test_a_run_json_of_another_text_or_without_a_place_is_not_believed(home, tmp_path, change):
    run = shutil.copytree(home / "run", tmp_path / "run")
    values = json.loads((run / "run.json").read_text())
    values["text"] |= change
    (run / "run.json").write_text(json.dumps(values))
    told = text_of_model(run, load_model(run).about)
    with pytest.raises(TextMovedError, match="cannot find the training text 'book'"):
        find_again(told)
    (run / "run.json").write_text("{")
    assert text_of_model(run, load_model(run).about) == told


def test_an_old_model_file_still_finds_its_text_and_loses_its_place_when_exported(home, tmp_path):
    file = safetensors.read(home / "run")
    about = {**file.about, "text": dict(read_record(home / "run").text)}
    old, copy = tmp_path / "old.safetensors", tmp_path / "copy.safetensors"
    safetensors.write(old, ModelFile(file.config, file.weights, file.tokenizer, about))
    assert b"secret" in old.read_bytes()
    assert main(["eval", str(old)]) == 0
    save_model(copy, load_model(old))
    assert b"secret" not in copy.read_bytes()


def test_a_text_without_files_is_found_wherever_the_model_is(home, tmp_path):
    source = python_reference()
    saved = replace(load_model(home / "run"), about={"text": fingerprint(source)})
    save_model(tmp_path / "m.safetensors", saved)
    about = load_model(tmp_path / "m.safetensors").about
    assert find_again(text_of_model(tmp_path / "m.safetensors", about)).sha256 == source.sha256


def test_a_run_whose_paths_zigpt_would_not_read_back_is_not_begun(home, tmp_path):
    record = read_record(home / "run")
    for count, is_refused in ((100_000, False), (200_000, True)):
        paths = [f"/{'x' * 80}"] * count
        long = replace(record, text={**record.text, "paths": paths})
        if is_refused:
            with pytest.raises(ModelFileError, match=r"run\.json that zigpt itself refuses"):
                RunFolder.create(tmp_path / "run", long)
            assert not (tmp_path / "run").exists()
        else:
            write_record(tmp_path, long)
            assert read_record(tmp_path).text["paths"] == paths
