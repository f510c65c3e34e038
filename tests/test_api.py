"""The public API: its names and signatures are fixed, and it agrees with the command line."""

import ast
import doctest
import importlib
import inspect
import json
import math
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import zigpt
from zigpt import api
from zigpt.cli.main import main
from zigpt.errors import ModelFileError, StorageError, TextError, UsageError, ZigptError
from zigpt.runs.lock import require_unlocked

TEXT = "a stone in the river, a lamp on the old bridge\n" * 40
SETTINGS = {"n_layer": 1, "n_embd": 16, "block_size": 16, "batch_size": 4, "max_steps": 4,
            "eval_interval": 2, "eval_chars": 160, "device": "cpu"}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a text and a finished run of it, runs/story."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "story.txt").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        zigpt.train("story.txt", "tiny", run="runs/story", **SETTINGS)
    return folder


@pytest.fixture(autouse=True)
def inside(home, monkeypatch):
    monkeypatch.chdir(home)


@pytest.fixture(scope="module")
def model(home):
    return zigpt.load(home / "runs/story", "cpu")


class TestNames:
    def test_these_are_the_public_names_and_no_others(self):
        assert zigpt.__all__ == [
            "GPT", "GPTConfig", "Model", "Run", "SampleConfig", "TrainConfig", "ZigptError",
            "load", "train",
        ]  # fmt: skip
        for name in zigpt.__all__:
            assert getattr(zigpt, name).__name__ == name
            assert name in dir(zigpt)
        with pytest.raises(AttributeError, match="has no attribute 'lod'"):
            _ = zigpt.lod

    def test_the_imports_for_type_checkers_are_those_at_run_time(self):
        tree = ast.parse(Path(zigpt.__file__).read_text())
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        found = {
            alias.name: node.module
            for node in imports
            for alias in node.names
            if node.module.startswith("zigpt")
        }
        assert found == zigpt._MODULES
        assert sorted(found) == sorted(zigpt.__all__)

    @pytest.mark.parametrize(
        ("name", "signature"),
        [
            ("load", "(path, device='auto')"),
            ("train", "(text=None, preset='auto', run=None, on_progress=None, minutes=None, "
                      "device='auto', resume=False, **settings)"),
            ("Model.generate", "(self, prompt='', chars=500, **settings)"),
            ("Model.stream", "(self, prompt='', chars=500, **settings)"),
            ("Model.loss", "(self, text)"),
            ("Model.predictions", "(self, text, n_guesses=5)"),
            ("Model.inspect", "(self, text)"),
            ("Model.export", "(self, kind, path)"),
        ],
    )  # fmt: skip
    def test_signatures_are_fixed(self, name, signature):
        found = zigpt
        for part in name.split("."):
            found = getattr(found, part)
        bare = inspect.signature(found)
        parameters = [
            parameter.replace(annotation=inspect.Parameter.empty)
            for parameter in bare.parameters.values()
        ]
        assert str(inspect.Signature(parameters)) == signature

    def test_classes_have_these_public_members_and_no_others(self):
        def public(kind):
            return [name for name in vars(kind) if not name.startswith("_")]

        assert public(zigpt.Model) == [
            "gpt", "config", "tokenizer", "generate", "stream", "loss", "predictions", "inspect",
            "export",
        ]  # fmt: skip
        assert public(zigpt.Run) == ["model"]

    def test_importing_zigpt_is_quick_and_loads_nothing_heavy(self):
        program = (
            "import json, sys, time; before = set(sys.modules); start = time.process_time(); "
            "import zigpt; spent = time.process_time() - start; "
            "print(json.dumps([spent, sorted(set(sys.modules) - before)]))"
        )
        found = [
            json.loads(subprocess.check_output([sys.executable, "-c", program])) for _ in range(3)
        ]
        loaded = {name.partition(".")[0] for name in found[0][1]}
        assert "zigpt" in loaded
        assert not loaded - {"zigpt"} - set(sys.stdlib_module_names)
        assert min(spent for spent, _ in found) < 0.05


class TestModel:
    def test_it_writes_what_zigpt_sample_prints(self, model, capsys):
        words = ["--device", "cpu", "--prompt", "a lamp", "--chars", "80", "--seed", "1"]
        assert main(["sample", "runs/story", *words]) == 0
        assert capsys.readouterr().out == model.generate("a lamp", chars=80, seed=1) + "\n"

    def test_a_stream_is_the_text_without_the_prompt_one_character_at_a_time(self, model):
        settings = {"chars": 30, "temperature": 0.7, "top_k": 9, "top_p": 0.9, "seed": 5}
        settings |= {"min_p": 0.05, "repetition_penalty": 1.2}
        pieces = list(model.stream("a ", **settings))
        assert [len(piece) for piece in pieces] == [1] * 30
        assert "a " + "".join(pieces) == model.generate("a ", **settings)

    def test_it_samples_by_every_setting_that_the_command_line_has(self, model, capsys):
        settings = {"temperature": 0.9, "min_p": 0.3, "repetition_penalty": 1.2}
        words = [
            "--chars=90",
            *(f"--{name.replace('_', '-')}={value}" for name, value in settings.items()),
        ]
        settings["chars"] = 90
        assert main(["sample", "runs/story", "--device=cpu", "--prompt=a", *words]) == 0
        text = model.generate("a", **settings)
        assert capsys.readouterr().out == text + "\n"
        assert text != model.generate("a", **{**settings, "min_p": 0.0})
        assert text != model.generate("a", **{**settings, "repetition_penalty": 1.0})
        with pytest.raises(TypeError, match="unexpected keyword argument 'top'"):
            model.generate("a", top=3)

    def test_its_loss_is_what_zigpt_eval_prints(self, model, capsys):
        assert main(["eval", "runs/story", "story.txt", "--json", "--device", "cpu"]) == 0
        split = TEXT[len(TEXT) * 9 // 10 :]
        assert json.loads(capsys.readouterr().out)["nats_per_char"] == model.loss(split)
        Path("other.txt").write_text("the river\n" * 9)
        assert main(["eval", "runs/story", "other.txt", "--json", "--device", "cpu"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert printed["nats_per_char"] == model.loss("the river\n" * 9)

    def test_predictions_add_up_to_the_loss(self, model):
        text = "a lamp on the old"
        answers = model.predictions(text, n_guesses=4)
        assert float(answers.losses.double().mean()) == pytest.approx(model.loss(text), abs=1e-6)
        assert answers.guesses.shape == answers.chances.shape == (16, 4)
        assert ((answers.ranks == 1) == (answers.guesses[:, 0] == ids(model, text)[1:])).all()

    def test_inspection_keeps_what_the_network_computes(self, model):
        found = model.inspect("a lamp")
        logits = model.gpt(ids(model, "a lamp")[None])[0]
        assert torch.allclose(found.logits, logits, atol=1e-5)
        assert found.weights.shape == (1, 2, 6, 6)
        assert torch.allclose(found.weights.sum(-1), torch.ones(1, 2, 6))

    def test_an_exported_model_is_the_same_model(self, model, tmp_path):
        model.export("safetensors", tmp_path / "copy.safetensors")
        again = zigpt.load(str(tmp_path / "copy.safetensors"), "cpu")
        assert again.loss(TEXT) == model.loss(TEXT)
        assert again.generate("a", chars=40) == model.generate("a", chars=40)
        assert again.config == model.config

    @pytest.mark.parametrize(
        ("act", "kind", "setting"),
        [
            (lambda model: model.generate(chars=-1), UsageError, "`chars`"),
            (lambda model: model.generate(temperature=-1.0), UsageError, "temperature"),
            (lambda model: model.loss("a"), UsageError, "`text`"),
            (lambda model: model.predictions("a lamp", n_guesses=0), UsageError, "`n_guesses`"),
            (lambda model: model.predictions("a"), UsageError, "`text`"),
            (lambda model: model.predictions("a" * 18), UsageError, "`text`"),
            (lambda model: model.inspect("a" * 17), UsageError, "`text`"),
            (lambda model: model.inspect(""), UsageError, "`text`"),
            (lambda model: model.export("word", "x"), UsageError, "`kind`"),
            (lambda model: model.loss("zoë"), TextError, "'ë' (U+00EB)"),
            (lambda model: model.export("safetensors", "no/such/x"), StorageError, "no/such/x"),
            (lambda model: zigpt.load("nothing"), ModelFileError, "nothing"),
            (lambda model: zigpt.load("runs/story", "abacus"), UsageError, "abacus"),
        ],
    )
    def test_a_refusal_has_three_lines_and_names_the_setting(self, model, act, kind, setting):
        with pytest.raises(kind) as refusal:
            act(model)
        assert isinstance(refusal.value, ZigptError)
        what, why, fix = str(refusal.value).splitlines()
        assert [why[:5], fix[:5]] == ["why: ", "fix: "]
        assert setting in f"{what}\n{why}\n{fix}"

    def test_a_notebook_shows_the_model_with_its_loss_picture(self, model):
        shown = model._repr_html_()
        assert "&lt;zigpt model: " in shown
        assert 'src="data:image/png;base64,iVBOR' in shown
        file = zigpt.load("runs/story/model.safetensors", "cpu")
        assert "<img" not in file._repr_html_()


def ids(model, text):
    return torch.from_numpy(model.tokenizer.encode(text).astype("int64"))


class TestTrain:
    @pytest.mark.parametrize(
        "text",
        [TEXT, "story.txt", Path("story.txt"), ["story.txt"], (Path("story.txt"), "story.txt"),
         TEXT.replace("\n", " ")],
        ids=["text", "name", "path", "list", "tuple", "one long line"],
    )  # fmt: skip
    def test_a_text_may_be_itself_a_path_or_several_paths(self, text):
        run = zigpt.train(text, "tiny", **SETTINGS)
        assert run.path.parent == Path("runs")
        assert math.isfinite(run.loss)
        assert run.model.generate("a", chars=5).startswith("a")

    @pytest.mark.parametrize("text", ["storry.txt", "no/such/story.txt"])
    def test_a_name_without_a_file_is_not_taken_for_a_text(self, text):
        with pytest.raises(TextError):
            zigpt.train(text, "tiny", **SETTINGS)

    @pytest.mark.parametrize("nothing", ["", [], None])
    def test_without_a_text_nothing_else_is_trained_on(self, nothing):
        before = set(Path().rglob("*"))
        with pytest.raises(UsageError, match="there is no `text` to train on"):
            zigpt.train(nothing, "tiny", **SETTINGS)
        assert set(Path().rglob("*")) == before

    def test_a_run_that_is_resumed_knows_its_text(self):
        zigpt.train(TEXT, "tiny", run="runs/short", **{**SETTINGS, "max_steps": 2})
        resumed = zigpt.train(run="runs/short", resume=True, max_steps=4)
        assert resumed.path == Path("runs/short")
        assert (resumed.path / "checkpoints" / "step-00000004").is_dir()

    def test_numbers_of_numpy_are_numbers(self):
        run = zigpt.train(TEXT, "tiny", **{**SETTINGS, "max_steps": np.int64(4)})
        assert run.loss == zigpt.train(TEXT, "tiny", **SETTINGS).loss
        with pytest.raises(UsageError, match="`max_steps` cannot be True"):
            zigpt.train(TEXT, "tiny", **{**SETTINGS, "max_steps": True})

    def test_the_model_is_found_wherever_the_process_has_moved_to(self, monkeypatch, tmp_path):
        run = zigpt.train(TEXT, "tiny", **SETTINGS)
        monkeypatch.chdir(tmp_path)
        assert run.model.generate("a", chars=5).startswith("a")

    def test_progress_is_reported_after_every_step_and_evaluation(self):
        seen = []
        run = zigpt.train(TEXT, "tiny", on_progress=seen.append, **SETTINGS)
        assert [progress.step for progress in seen] == [0, 1, 2, 2, 3, 4, 4]
        evaluated = [progress.evaluation for progress in seen if progress.evaluation]
        assert len(evaluated) == 3
        assert run.loss == pytest.approx(run.model.loss(TEXT[len(TEXT) * 9 // 10 :]))

    def test_an_exception_of_the_caller_passes_and_unlocks_the_run(self):
        def fail(progress):
            raise LookupError("mine")

        with pytest.raises(LookupError, match="mine") as caught:
            zigpt.train(TEXT, "tiny", run="runs/failed", on_progress=fail, **SETTINGS)
        require_unlocked(Path("runs/failed"))  # although the exception still holds the frames
        del caught

    def test_it_trains_in_a_thread_that_is_not_the_main_one(self):
        done = []
        thread = threading.Thread(
            target=lambda: done.append(zigpt.train("story.txt", "tiny", **SETTINGS))
        )
        thread.start()
        thread.join()
        assert math.isfinite(done[0].loss)

    def test_at_once_in_several_threads_each_is_as_if_alone(self):
        losses, settings = [], SETTINGS | {"dropout": 0.3}
        threads = [
            threading.Thread(
                target=lambda: losses.append(zigpt.train(TEXT, "tiny", **settings).loss)
            )
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert losses == [zigpt.train(TEXT, "tiny", **settings).loss] * 3

    def test_an_interrupt_saves_and_the_run_can_be_resumed(self):
        before = signal.getsignal(signal.SIGINT)

        def interrupt(progress):
            if progress.step == 3:
                os.kill(os.getpid(), signal.SIGINT)

        path = Path("runs/interrupted")
        with pytest.raises(KeyboardInterrupt, match="everything is saved in runs/interrupted"):
            zigpt.train("story.txt", "tiny", run=path, on_progress=interrupt, **SETTINGS)
        assert signal.getsignal(signal.SIGINT) is before
        assert (path / "checkpoints" / "step-00000003").is_dir()
        seen = []
        run = zigpt.train("story.txt", run=path, resume=True, on_progress=seen.append)
        assert [progress.step for progress in seen] == [4, 4]
        whole = zigpt.train("story.txt", "tiny", run="runs/whole", **SETTINGS)
        assert run.loss == whole.loss

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"n_layers": 2}, "`n_layer`"),
            ({"lr": 0.1}, "`lr`"),
            ({"vocab_size": 9}, "`vocab_size`"),
            ({"max_steps": "4"}, "`max_steps`"),
            ({"max_steps": 4.0}, "`max_steps`"),
            ({"dropout": True}, "`dropout`"),
            ({"optimizer": "sgd"}, "`optimizer`"),
            ({"minutes": 3.0}, "`minutes`"),
            ({"minutes": -3.0}, "`minutes`"),
        ],
    )
    def test_an_impossible_setting_is_refused_before_anything_is_read(self, change, named):
        with pytest.raises(UsageError) as refusal:
            zigpt.train("nowhere.txt", **{"preset": "tiny", "max_steps": 4} | change)
        assert len(str(refusal.value).splitlines()) == 3
        assert named in str(refusal.value)

    def test_a_preset_that_does_not_exist_is_refused(self):
        program = "import zigpt; zigpt.train('nowhere.txt', 'huge')"  # here types are checked first
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert "UsageError: `preset` cannot be 'huge'\n" in done.stderr

    def test_a_whole_number_may_stand_for_a_decimal_one(self):
        settings = SETTINGS | {"dropout": 0, "grad_clip": 1}
        zigpt.train("story.txt", "tiny", run="runs/whole-numbers", **settings)
        resumed = zigpt.train("story.txt", run="runs/whole-numbers", resume=True, max_steps=5)
        assert math.isfinite(resumed.loss)

    def test_a_notebook_shows_the_run_with_its_loss_picture_and_its_path_escaped(self):
        run = zigpt.train("story.txt", "tiny", run="runs/<b>&", **SETTINGS)
        shown = run._repr_html_()
        assert "runs/&lt;b&gt;&amp;" in shown
        assert "<b>" not in shown
        assert 'src="data:image/png;base64,iVBOR' in shown


class TestExamples:
    @pytest.mark.parametrize("module", ["zigpt", "zigpt.api.model", "zigpt.api.run"])
    def test_the_examples_in_the_docstrings_run(self, module, model):
        names = {
            "zigpt": zigpt, "torch": torch, "math": math, "story": TEXT, "model": model,
            "run": zigpt.Run(Path("runs/story"), 1.0, ""),
        }  # fmt: skip
        runner = doctest.DocTestRunner()
        for test in doctest.DocTestFinder(recurse=True).find(importlib.import_module(module)):
            runner.run(doctest.DocTest(
                test.examples, names, test.name, test.filename, test.lineno, test.docstring
            ))  # fmt: skip
        assert runner.summarize(verbose=False).failed == 0

    def test_every_public_function_and_method_has_an_example(self):
        assert api.__doc__
        functions = [zigpt.load, zigpt.train, zigpt.Model, zigpt.Run]
        for kind in (zigpt.Model, zigpt.Run):
            functions += [member for name, member in vars(kind).items() if not name.startswith("_")]
        for function in functions:
            assert ">>> " in function.__doc__, function
            assert "+SKIP" not in function.__doc__
