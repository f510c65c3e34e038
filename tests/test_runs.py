"""The run folder: whole files or none, damage found before use, the same training after a stop."""

import itertools
import json
import math
import os
import pickle
import re
import shutil
import struct
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors
import safetensors.numpy as safetensors_numpy
import torch

from stress.crashes import in_a_process, outcome
from stress.faulty_disk import KILLS, FaultyDisk
from tests.texts import story
from zigpt import storage
from zigpt.anatomy.activations import inspect
from zigpt.cli.main import main
from zigpt.data.baselines import build_ladder
from zigpt.data.batches import Corpus
from zigpt.data.source import read_texts
from zigpt.errors import (
    ConfigError,
    ModelFileError,
    RunBusyError,
    StorageError,
    TextError,
    VocabularyError,
)
from zigpt.formats import safetensors as model_files
from zigpt.formats.safetensors import FORMAT, read_lazily
from zigpt.formats.saved_model import SavedModel, load_model, save_model
from zigpt.gpt.config import GPTConfig, TrainConfig
from zigpt.runs.checkpoint import list_checkpoints, restore_newest, save_checkpoint
from zigpt.runs.events import Trained
from zigpt.runs.folder import RunFolder
from zigpt.runs.loggers.jsonl import METRICS_FILE, parse_metrics
from zigpt.runs.metrics import RunLog, sample_steps
from zigpt.runs.paths import free_path, newest_path
from zigpt.runs.record import RunRecord, read_record
from zigpt.runs.request import TrainRequest
from zigpt.runs.session import train_run
from zigpt.runs.training_text import fingerprint, text_of_model
from zigpt.storage import append, write_file, write_folder
from zigpt.tokenizers.char import CharTokenizer
from zigpt.training.loop import TrainState, train
from zigpt.training.optim import named_state

CPU = torch.device("cpu")


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "book.txt"
    file.write_text(story(3000), encoding="utf-8")
    return read_texts([file])


def start(source, path, **training):
    corpus = Corpus.from_text(source.text)
    model = GPTConfig(corpus.tokenizer.vocab_size, 8, n_layer=1, n_head=2, n_embd=8, dropout=0.2)
    config = TrainConfig(batch_size=4, max_steps=12, eval_interval=3, eval_chars=80, **training)
    ladder = build_ladder(corpus.train, corpus.validation, corpus.tokenizer.vocab_size)
    record = RunRecord(model, config, fingerprint(source), ladder, "a", "tiny", "cpu")
    return RunFolder.create(path, record), corpus, TrainState.initialise(model, config, CPU)


def follow(run, corpus, state, until=None):
    """Train to the end, or until a step has been made that is not evaluated yet."""
    for progress in train(state, corpus):
        if progress.evaluation:
            run.log.add(progress, run.record.ladder)
        if not progress.evaluation or not progress.step:
            run.log.add_sample(progress.step, "text")
            if progress.step == until:
                return


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("stop_after", [0, 1, 3, 4, 12])
def test_a_resumed_run_ends_bit_equal_to_an_uninterrupted_one(
    source, tmp_path, stop_after, optimizer
):
    whole, corpus, state = start(source, tmp_path / "whole", optimizer=optimizer)
    follow(whole, corpus, state)
    expected = weights(state.model)

    _, _, early = start(source, tmp_path / "parts", optimizer=optimizer)
    run = RunFolder.open(tmp_path / "parts")
    follow(run, corpus, early, stop_after)
    run.save(early)
    follow(run, corpus, early, stop_after + 4)  # lost work: logged, never saved

    again = RunFolder.open(tmp_path / "parts")
    state = TrainState.initialise(*again.record.configs, CPU)
    again.restore(state, pytest.fail)
    assert state.step == stop_after
    follow(again, corpus, state)
    assert torch.equal(weights(state.model), expected)

    def metrics(run):
        keep = ("step", "train_loss", "val_loss", "learning_rate")
        return [{key: row[key] for key in keep} for row in run.log.rows()]

    assert metrics(again) == metrics(whole)
    assert (again.path / "samples.txt").read_text() == (whole.path / "samples.txt").read_text()


def test_counters_and_best_survive_a_checkpoint(source, tmp_path):
    _, corpus, state = start(source, tmp_path / "run")
    list(itertools.islice(train(state, corpus), 8))
    logged = {"metrics.jsonl": {"size": 7, "sha256": "0"}}
    save_checkpoint(tmp_path / "c", state, logged)
    again = TrainState.initialise(state.model.config, state.config, CPU)
    assert restore_newest(tmp_path / "c", again, pytest.fail) == logged
    for name in (
        "step",
        "seconds",
        "best_step",
        "best_loss",
        "evaluations_since_best",
        "evaluated_at",
    ):
        assert getattr(again, name) == getattr(state, name)


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "counters.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_checkpoint_is_found_and_the_one_before_taken(source, tmp_path, name, damage):
    run, corpus, state = start(source, tmp_path / "run")
    follow(run, corpus, state, 3)
    run.save(state)
    follow(run, corpus, state, 6)
    run.save(state)
    newest = run.path / "checkpoints" / "step-00000006"
    file = newest / name
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif damage == "truncate":
        file.write_bytes(data[:-1])
    else:
        file.unlink()
    notices = []
    restored = TrainState.initialise(*run.record.configs, CPU)
    run.restore(restored, notices.append)
    assert restored.step == 3
    assert newest.name in notices[0]
    assert "is damaged" in notices[0]
    assert newest.with_name(f"{newest.name}.bad").is_dir()


def test_without_an_intact_checkpoint_nothing_is_resumed(source, tmp_path):
    run, _, state = start(source, tmp_path / "run")
    run.save(state)
    (run.path / "checkpoints" / "step-00000000" / "counters.json").write_text("{}")
    with pytest.raises(ModelFileError, match="no checkpoint to resume from"):
        run.restore(state, lambda notice: None)
    with pytest.raises(ModelFileError, match="all of them are damaged"):  # nor the next time
        run.restore(state, pytest.fail)


def test_a_run_that_was_killed_before_its_first_save_starts_again(source, tmp_path):
    run, corpus, state = start(source, tmp_path / "run")
    follow(run, corpus, state, 0)
    assert run.log.rows()
    again = RunFolder.open(run.path)
    state = TrainState.initialise(*again.record.configs, CPU)
    again.restore(state, pytest.fail)
    assert (state.step, again.log.rows(), again.saved_step) == (0, [], None)
    assert (run.path / "samples.txt").read_text() == ""


def test_only_the_newest_two_checkpoints_are_kept(source, tmp_path):
    run, corpus, state = start(source, tmp_path / "run")
    for _ in train(state, corpus):
        run.save(state)
    names = [path.name for path in list_checkpoints(run.path / "checkpoints")]
    assert names == ["step-00000011", "step-00000012"]
    manifest = json.loads((run.path / "checkpoints" / names[0] / "MANIFEST.json").read_text())
    for name, described in manifest.items():
        assert (run.path / "checkpoints" / names[0] / name).stat().st_size == described["size"]


def test_an_existing_folder_is_never_overwritten(source, tmp_path):
    start(source, tmp_path / "run")
    before = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(RunBusyError, match="exists already") as refusal:
        start(source, tmp_path / "run")
    assert refusal.value.exit_code == 4
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_unnamed_runs_are_numbered_and_the_newest_is_found(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelFileError, match="no run was named"):
        newest_path()
    assert [str(free_path("book-tiny"))] == ["runs/book-tiny"]
    start(source, free_path("book-tiny"))
    second = free_path("book-tiny")
    assert str(second) == "runs/book-tiny-2"
    start(source, second)
    os.utime("runs/book-tiny", (1, 1))
    assert newest_path() == second


def test_resuming_takes_more_steps_but_no_other_change(source, tmp_path):
    run, _, _ = start(source, tmp_path / "run")
    with pytest.raises(ConfigError, match="max_steps"):
        run.change({"max_steps": 0}, 0)  # which would make run.json unreadable
    run.change({"max_steps": 50, "n_embd": 8}, 4)
    assert RunFolder.open(run.path).record.training.max_steps == 50
    with pytest.raises(ConfigError) as refusal:
        run.change({"n_embd": 16, "batch_size": 8, "max_steps": 60}, 4)
    assert [problem.split()[0] for problem, _ in refusal.value.problems] == ["n_embd", "batch_size"]
    assert RunFolder.open(run.path).record.training.max_steps == 50


def test_a_run_from_before_a_setting_existed_has_its_default(source, tmp_path):
    start(source, tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    values = json.loads(file.read_bytes())
    del values["model"]["architecture"]
    file.write_text(json.dumps(values))
    run = RunFolder.open(tmp_path / "run")
    run.change({"architecture": "classic"}, 0)
    with pytest.raises(ConfigError, match="architecture is classic"):
        run.change({"architecture": "modern"}, 0)


def test_a_run_whose_log_is_gone_is_still_resumed_and_drawn(source, tmp_path):
    run, corpus, state = start(source, tmp_path / "run")
    follow(run, corpus, state, 4)
    run.save(state)
    (run.path / "metrics.jsonl").unlink()
    again, notices = RunFolder.open(run.path), []
    again.restore(state, notices.append)
    assert notices == ["metrics.jsonl was altered after writing: what can be read of it is kept"]
    again.log.draw(again.record.ladder)  # nothing yet
    assert not (run.path / "loss.png").exists()
    follow(again, corpus, state)
    assert [row["step"] for row in again.log.rows()] == [6, 9, 12]
    again.log.draw(again.record.ladder)
    assert (run.path / "loss.png").exists()


def test_another_text_is_refused(source, tmp_path):
    run, _, _ = start(source, tmp_path / "run")
    run.require_text(source)
    other = tmp_path / "other.txt"
    other.write_text(source.text + ".", encoding="utf-8")
    with pytest.raises(TextError, match="is not the text that"):
        run.require_text(read_texts([other]))


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"model": {"n_layer": -1}}'])
def test_a_damaged_run_file_is_refused(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ModelFileError, match="damaged"):
        RunFolder.open(tmp_path)


def test_half_a_line_of_metrics_does_not_stop_a_resume(source, tmp_path):
    run, corpus, state = start(source, tmp_path / "run")
    follow(run, corpus, state, 4)
    run.save(state)
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "train_l')
    again = RunFolder.open(run.path)
    assert [row["step"] for row in again.log.rows()] == [0, 3]
    again.restore(TrainState.initialise(*again.record.configs, CPU), pytest.fail)
    assert (run.path / "metrics.jsonl").read_text().count("\n") == 2
    assert (run.path / "metrics.jsonl").read_text().endswith("}\n")


def test_the_picture_is_a_png_of_the_usual_size(source, tmp_path):
    run, corpus, state = start(source, tmp_path / "run")
    follow(run, corpus, state)
    run.log.draw(run.record.ladder)
    data = (run.path / "loss.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    assert (width, height) == (960, 600)


def test_samples_are_log_spaced_and_end_at_the_end():
    assert sample_steps(600) == [0, 1, 3, 10, 30, 100, 300, 600]
    assert sample_steps(100) == [0, 1, 3, 10, 30, 100]


@pytest.fixture
def model_file(tiny_model, tmp_path):
    path = tmp_path / "model.safetensors"
    tokenizer = CharTokenizer("\nabcdefghi字")
    save_model(path, SavedModel(tiny_model, tokenizer, {"text": {"sha256": "0"}}))
    return path


def test_one_file_holds_the_whole_model(model_file, tiny_model):
    saved = load_model(model_file, CPU)
    assert saved.model.config == tiny_model.config
    assert torch.equal(weights(saved.model), weights(tiny_model))
    assert saved.tokenizer.vocabulary == "\nabcdefghi字"
    assert saved.about == {"text": {"sha256": "0"}}
    assert not saved.model.training
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(saved.model(ids), tiny_model(ids))


def test_a_file_name_is_enough_to_inspect_a_model(model_file, tiny_model):
    saved = load_model(str(model_file))
    ids = saved.ids("bad字")
    assert ids.tolist() == [2, 1, 4, 10]
    assert torch.equal(
        inspect(saved.model, saved.ids("bad字")).logits, inspect(tiny_model, ids).logits
    )
    with pytest.raises(VocabularyError, match="'x'"):
        saved.ids("bad x")


def test_a_truncated_model_is_refused_wherever_it_ends(model_file):
    data = model_file.read_bytes()
    for length in [0, 1, 7, 8, 9, 200, len(data) // 2, len(data) - 1]:
        model_file.write_bytes(data[:length])
        with pytest.raises(ModelFileError, match="damaged or not a zigpt model") as refusal:
            load_model(model_file, CPU)
        assert refusal.value.exit_code == 3


def test_a_file_that_is_cut_while_it_is_read_is_refused(model_file):
    file = read_lazily(model_file)
    os.truncate(model_file, model_file.stat().st_size // 2)
    with pytest.raises(ModelFileError, match="damaged") as refusal:
        dict(file.weights)
    assert "ends before its weights do" in refusal.value.why


def test_weights_come_from_the_file_that_was_opened_even_if_it_is_replaced(model_file, tiny_model):
    file = read_lazily(model_file)
    expected = dict(file.weights)
    replace_file(model_file, tiny_model)
    for name, weight in file.weights.items():
        assert np.array_equal(weight, expected[name])
    assert not np.array_equal(
        read_lazily(model_file).weights["head.weight"], expected["head.weight"]
    )


def test_a_file_replaced_while_its_header_is_checked_is_read_as_a_whole(
    model_file, tiny_model, monkeypatch
):
    opened = []

    def safe_open(path, **options):
        opened.append(path)
        if len(opened) == 1:
            replace_file(model_file, tiny_model)
        return safetensors.safe_open(path, **options)

    monkeypatch.setattr(model_files, "safe_open", safe_open)
    file = read_lazily(model_file)
    assert len(opened) == 2
    assert torch.equal(torch.from_numpy(file.weights["head.weight"]), tiny_model.head.weight)


def replace_file(path, model):
    """Replace a model as a training run does; the new header is longer, so the weights move."""
    with torch.no_grad():
        model.head.weight.add_(1)
    about = {"text": {"sha256": "0" * 64}}
    save_model(path, SavedModel(model, CharTokenizer("\nabcdefghi字"), about))


def test_a_header_nested_without_end_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_numpy.save({}, {"zigpt": "[" * 200_000}))
    with pytest.raises(ModelFileError, match="damaged"):
        load_model(path, CPU)


@pytest.mark.parametrize("about", [{}, "x", None, {"text": "x"}, {"text": {"sha256": 0}}])
def test_a_model_without_the_fingerprint_of_its_text_is_refused_by_name(tmp_path, about):
    with pytest.raises(ModelFileError, match="does not say"):
        text_of_model(tmp_path, about)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'\\"format\\": 2', b'\\"format\\": 9'),
        (b'\\"n_layer\\": 2', b'\\"n_layer\\": 3'),
        (b'\\"n_head\\": 2', b'\\"n_head\\": 5'),
        (b'\\"n_embd\\": 16', b'\\"n_embd\\": 1e'),
        (b'\\"n_head\\": 2,', b'\\"n_head\\":2.,'),
        (b'\\"n_head\\": 2, ', b'\\"n_head\\":2.0,'),
        (b"abcdefghi", b"aacdefghi"),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(model_file, old, new):
    data = model_file.read_bytes()
    assert data.count(old) == 1
    model_file.write_bytes(data.replace(old, new))
    with pytest.raises(ModelFileError, match=r"damaged|impossible|newer"):
        load_model(model_file, CPU)


def test_a_header_may_not_claim_more_than_the_file_holds(model_file):
    data = model_file.read_bytes()
    huge = data.replace(b'\\"n_embd\\": 16', b'\\"n_embd\\": 1' + b"0" * 8)
    grown = len(huge) - len(data)
    (length,) = struct.unpack("<Q", huge[:8])
    model_file.write_bytes(struct.pack("<Q", length + grown) + huge[8:])
    with pytest.raises(ModelFileError, match="damaged"):
        load_model(model_file, CPU)


class _Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_a_pickle_is_refused_by_name_and_by_magic_and_never_run(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(ModelFileError, match="is a pickle"):
        load_model(path, CPU)


def test_no_length_of_the_header_looks_like_a_pickle(tmp_path, tiny_model):
    tokenizer = CharTokenizer("\nabcdefghi字")
    for padding in range(256):
        path = tmp_path / "model.safetensors"
        save_model(path, SavedModel(tiny_model, tokenizer, {"padding": "x" * padding}))
        assert load_model(path, CPU).about == {"padding": "x" * padding}


def test_a_missing_model_is_refused_with_what_to_give(tmp_path):
    with pytest.raises(ModelFileError, match="no model at"):
        load_model(tmp_path / "nothing", CPU)
    with pytest.raises(ModelFileError, match=r"no model\.safetensors in"):
        load_model(tmp_path, CPU)


def test_a_failed_write_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_file(path, b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="cannot write") as refusal:
        write_file(path, b"new")
    assert refusal.value.exit_code == 5
    assert re.fullmatch(
        r"No space left on device: 0\.0 MB needed, [\d,.]+ MB free", refusal.value.why
    )
    with pytest.raises(StorageError):
        write_folder(tmp_path / "folder", {"a": b"1"})
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_a_folder_left_half_written_by_a_kill_is_replaced(tmp_path):
    (tmp_path / "folder.zigpt-tmp").mkdir()
    (tmp_path / "folder.zigpt-tmp" / "rest").write_text("half")
    write_folder(tmp_path / "folder", {"a": b"1"})
    assert [p.name for p in tmp_path.rglob("*")] == ["folder", "a"]


def test_a_line_that_cannot_be_added_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="cannot write"):
        append(tmp_path / "missing" / "file", 0, b"line")


GOLDEN = Path(__file__).parent / "golden"
FORMATS = sorted(path.name for path in GOLDEN.glob("format-*"))


@pytest.fixture
def golden(tmp_path):
    """A copy of a run of each format there has been, as the zigpt of its time left it.

    Made in tests/golden by `zigpt train book.txt --preset tiny --block-size 8 --n-layer 1
    --n-head 1 --n-embd 8 --dropout 0.1 --batch-size 4 --max-steps 4 --eval-interval 2
    --eval-chars 40 --precision float32 --device cpu --run format-N`; then loss.png was deleted, and
    the path of the text made relative.
    """
    shutil.copytree(GOLDEN, tmp_path / "golden")
    return tmp_path / "golden"


def golden_resume(golden, run, steps=6, disk=None):
    """Resume a golden run in a process of its own, up to a number of steps; how that ended."""

    def act():
        storage.disk = disk or FaultyDisk()
        settings = {"max_steps": steps}
        text = (golden / "book.txt",)
        for event in train_run(TrainRequest(text, settings=settings, run=run, resume=True)):
            if isinstance(event, Trained):
                return

    return in_a_process(act)


def golden_state(run):
    """Restore the newest checkpoint of a run, without changing the run."""
    state = TrainState.initialise(*RunFolder.open(run).record.configs, CPU)
    logged = restore_newest(run / "checkpoints", state, pytest.fail)
    return state, logged


def test_there_is_a_golden_run_of_every_format_up_to_the_current_one():
    assert [f"format-{number}" for number in range(1, FORMAT + 1)] == FORMATS
    for name in FORMATS:
        record = read_record(GOLDEN / name)
        assert name == f"format-{record.format}"
        assert record.text["paths"] == ["book.txt"]


@pytest.mark.parametrize("name", FORMATS)
def test_runs_of_every_format_are_read_and_resumed(golden, name, capsys):
    run, book = golden / name, str(golden / "book.txt")
    assert main(["sample", str(run), "--chars", "20", "--temperature", "0"]) == 0
    assert len(capsys.readouterr().out) > 20
    assert main(["train", book, "--resume", "--run", str(run), "--max-steps", "6"]) == 0
    assert "resuming at step 4" in capsys.readouterr().out
    assert list_checkpoints(run / "checkpoints")[-1].name == "step-00000006"
    assert read_record(run).format == FORMAT
    rows = RunFolder.open(run).log.rows()
    assert [row["step"] for row in rows] == [0, 2, 4, 6]
    assert all(math.isfinite(row["val_loss"]) for row in rows)
    assert main(["verify", str(run)]) == 0
    assert main(["train", book, "--resume", "--run", str(run), "--max-steps", "7"]) == 0
    assert "resuming at step 6" in capsys.readouterr().out


@pytest.mark.parametrize("name", FORMATS)
def test_a_model_of_every_format_keeps_its_loss_to_the_last_digit(golden, name, capsys, tmp_path):
    def loss_of(path):
        assert main(["eval", str(path), str(golden / "book.txt"), "--json"]) == 0
        return json.loads(capsys.readouterr().out)["nats_per_char"]

    loss = loss_of(golden / name)
    save_model(tmp_path / "again.safetensors", load_model(golden / name))
    assert loss_of(tmp_path / "again.safetensors") == loss
    assert loss == pytest.approx(2.9780051828, abs=1e-6)  # as the zigpt of format 1 reported it


def test_a_run_of_format_1_is_resumed_bit_exactly(golden, tmp_path):
    """As from the same state saved in the current format."""
    run, converted = golden / "format-1", golden / "converted"
    shutil.copytree(run, converted)
    state, logged = golden_state(run)
    shutil.rmtree(converted / "checkpoints")
    save_checkpoint(converted / "checkpoints", state, logged)
    file = converted / "run.json"
    file.write_text(file.read_text().replace('"format": 1', f'"format": {FORMAT}'))
    for path in (run, converted):
        assert golden_resume(golden, path) == 0
    assert outcome(run) == outcome(converted)


def test_the_optimizer_of_format_1_is_restored_tensor_by_tensor(golden):
    newest = list_checkpoints(golden / "format-1" / "checkpoints")[-1]
    saved = safetensors_numpy.load_file(newest / "optimizer.safetensors")
    state, _ = golden_state(golden / "format-1")
    restored = named_state(state.optimizers, state.model)
    today = {"mean": "exp_avg", "square": "exp_avg_sq", "steps": "step",
             "momentum": "momentum_buffer"}  # fmt: skip
    assert len(saved) == len(restored)
    for name, tensor in saved.items():
        weight, _, kind = name.rpartition(".")
        assert np.array_equal(restored[f"{weight}.{today[kind]}"].numpy(), tensor)
        assert tensor.any()


def test_a_kill_at_any_write_does_not_lose_a_run_of_format_1(golden):
    """Halfway through some, and before others; it becomes one of today's format."""
    expected = golden / "expected"
    shutil.copytree(golden / "format-1", expected)
    assert golden_resume(golden, expected, 5) == 0
    for n in itertools.count(step=2):
        run = golden / f"killed-{n}"
        shutil.copytree(golden / "format-1", run)
        if golden_resume(golden, run, 5, FaultyDisk(n, KILLS[n // 2 % 2])) == 0:
            break  # it makes no more than n operations
        assert golden_resume(golden, run, 5) == 0
        assert outcome(run) == outcome(expected)
        assert read_record(run).format == FORMAT
    assert n > 20


@pytest.mark.parametrize(
    ("number", "what"),
    [(FORMAT + 1, "written by a newer zigpt"), (0, "damaged"), ("1", "damaged")],
)
def test_a_run_of_a_later_format_is_refused_untouched(golden, capsys, number, what):
    run = golden / "format-1"
    file = run / "run.json"
    file.write_text(file.read_text().replace('"format": 1', f'"format": {json.dumps(number)}'))
    before = file.read_bytes()
    assert main(["train", "--resume", "--run", str(run)]) == 3
    refusal, why, _ = capsys.readouterr().err.splitlines()
    assert what in refusal
    assert f"its format is {number!r}" in why
    assert file.read_bytes() == before


ROW = {"step": 1, "train_loss": 2.0, "val_loss": 3.0, "learning_rate": 0.1, "seconds": 1.0}


@pytest.mark.parametrize(
    "odd",
    [{"val_loss": "abc"}, {"train_loss": [1]}, {"val_loss": math.nan}, {"train_loss": math.inf},
     {"step": "1"}, {"step": None}, {"step": -1}, {"seconds": {}}, {"step": 10**400}],
    ids=str,
)  # fmt: skip
def test_a_row_of_metrics_with_an_odd_value_is_left_out_wherever_it_is_read(odd):
    lines = [json.dumps(row) for row in ({**ROW, **odd}, ROW)]
    assert parse_metrics("\n".join([*lines, "[]", "{}", "x"])) == [ROW]


def test_a_measurement_without_a_loss_is_neither_drawn_nor_judged(tmp_path):
    lines = [json.dumps(row) + "\n" for row in ({**ROW, "val_loss": None}, ROW)]
    (tmp_path / METRICS_FILE).write_text("".join(lines))
    log = RunLog(tmp_path)
    assert len(log.rows()) == 2
    assert log.evaluations() == [ROW]


class TestLoggers:
    def test_each_logger_is_given_what_metrics_jsonl_holds(self, source, tmp_path):
        run, corpus, state = start(source, tmp_path / "run")
        given = []
        run.log.loggers.append(SimpleNamespace(log=given.append))
        follow(run, corpus, state)
        assert [asdict(metrics) for metrics in given] == run.log.rows()
        assert [metrics.step for metrics in given] == [0, 3, 6, 9, 12]

    def test_one_that_fails_leaves_metrics_jsonl_whole(self, source, tmp_path):
        def refuse(metrics):
            raise StorageError("cannot log it", "no connection", "connect")

        run, corpus, state = start(source, tmp_path / "run")
        run.log.loggers.append(SimpleNamespace(log=refuse))
        for progress in train(state, corpus):
            if progress.evaluation:
                with pytest.raises(StorageError, match="no connection"):
                    run.log.add(progress, run.record.ladder)
        assert [row["step"] for row in run.log.rows()] == [0, 3, 6, 9, 12]
