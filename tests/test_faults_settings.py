"""B7 and B9: settings that cannot be, and memory that is not there."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import zigpt.training.loop
from stress.settings import BAD, CHOICES, GOOD, outcome, shortened
from tests.limits import bounded, resource
from tests.runs import FOR_THE_CPU, refusal
from tests.texts import story
from zigpt.cli.main import main
from zigpt.formats.safetensors import read_lazily
from zigpt.gpt.config import GPTConfig, TrainConfig

SMALL = ["--preset=tiny", "--n-layer=1", "--n-embd=16", "--block-size=8", "--batch-size=2",
         "--max-steps=8", "--eval-interval=2", "--eval-chars=40"]  # fmt: skip


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "book.txt"
    path.write_text(story(900))
    return path


def draws(table):
    """Any of the values of any of the settings."""
    each = {name: st.sampled_from(values) for name, values in table.items()}
    return st.fixed_dictionaries({}, optional=each)


class TestSettings:
    """B9"""

    @given(good=draws({**GOOD, **CHOICES}), bad=st.just({}) | draws(BAD))
    @settings(max_examples=40)
    def test_any_settings_train_or_are_refused_with_all_that_is_wrong_at_once(
        self, text, tmp_path_factory, good, bad
    ):
        ended = outcome(text, tmp_path_factory.mktemp("run") / "run", good, bad)
        known = ["trained", "refused", "refused with 2", "refused with 3", "refused with 7"]
        if good.get("weight_decay") == "1e12":  # weights that turn into as much of their opposite
            known.append("diverged")
        assert ended in known, ended

    def test_every_setting_is_drawn(self):
        numbers = {
            field
            for part in (GPTConfig, TrainConfig)
            for field in part.__dataclass_fields__
            if field not in {"vocab_size", *CHOICES}
        }
        assert numbers == set(BAD) == set(GOOD) | {"max_steps"}

    @pytest.mark.parametrize("name", BAD)
    def test_every_impossible_value_of_every_setting_is_named(self, text, tmp_path, name):
        for value in BAD[name]:
            with bounded():
                assert outcome(text, tmp_path / "run", {}, {name: value}) == "refused"

    @pytest.mark.parametrize("which", [0, -1], ids=["smallest", "longest"])
    def test_all_of_them_wrong_at_once_are_all_named(self, text, tmp_path, which):
        bad = {name: values[which] for name, values in BAD.items()}
        assert outcome(text, tmp_path / "run", {}, bad) == "refused"

    @pytest.mark.parametrize("command", ["train", "plan"])
    def test_impossible_settings_are_refused_before_the_text_is_read(self, tmp_path, command):
        words = ["--preset=tiny", "--n-head=0", "--dropout=2"]
        with bounded():
            code, what, why, _ = refusal(command, tmp_path / "gone.txt", *words)
        assert (code, what) == (2, "impossible settings: 2 problems")
        assert why == "n_head (0) must be at least 1; dropout (2.0) must be from 0 to below 1"


class TestMemory:
    """B7"""

    @pytest.mark.parametrize(
        "settings",
        [
            ["--n-embd=1000000"],
            ["--n-layer=1000000000000"],
            ["--n-embd=1000000000000", "--n-layer=1000000000000"],
            ["--batch-size=1000000000000"],
        ],
    )
    def test_what_no_machine_could_hold_is_refused_before_it_is_built(
        self, text, tmp_path, settings
    ):
        with bounded():
            run = tmp_path / "run"
            code, what, why, fix = refusal("train", text, *SMALL, *settings, "--run", run)
        assert code == 7
        assert "parameters do not fit into" in what
        assert why.startswith("this run needs about ")
        assert fix == (
            "lower --n-embd, --n-layer, --block-size or --batch-size, or use the --preset laptop"
        )
        assert not run.exists()

    @FOR_THE_CPU
    def test_what_exceeds_the_limit_of_the_shell_is_refused_before_it_is_built(
        self, text, tmp_path
    ):
        """A real limit on a real process: 900 MB, and a model of 1,600 MB with its moments."""
        command = [sys.executable, "-m", "zigpt", "train", str(text), "--preset=tiny",
                   "--n-layer=8", "--n-embd=1024", "--max-steps=2",
                   "--run", str(tmp_path / "run")]  # fmt: skip
        limit = 900 << 20
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=120,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 7, done.stderr
        what, why, _ = done.stderr.splitlines()
        assert what == "error: 100,818,944 parameters do not fit into 0.391 GB of memory"
        assert why.startswith("why: this run needs about ")
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
            RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            ),
            MemoryError(),
        ],
        ids=["GPU", "CPU", "Python"],
    )
    @pytest.mark.parametrize("step", [1, 5])
    def test_in_the_middle_of_a_training_it_costs_only_what_was_not_saved(
        self, text, tmp_path, monkeypatch, error, step
    ):
        run, real = tmp_path / "run", zigpt.training.loop.train_step

        def fails(state, *batch, **kwargs):
            if state.step == step:
                raise error
            return real(state, *batch, **kwargs)

        with shortened():
            monkeypatch.setattr(zigpt.training.loop, "train_step", fails)
            monkeypatch.setattr("zigpt.runs.session.save_interval", lambda seconds: 0.0)
            code, what, _, fix = refusal("train", text, *SMALL, "--run", run)
            assert (code, what, f"fix: {fix}") == (7, "out of memory", ADVICE)
            saved = {path: path.read_bytes() for path in run.rglob("*.safetensors")}
            assert (run / "checkpoints" / f"step-{step:08d}" / "MANIFEST.json").exists()
            assert read_lazily(run).config.n_layer == 1
            code, _, _, _ = refusal("train", "--resume", "--run", run)
            assert code == 7
            assert saved == {path: path.read_bytes() for path in run.rglob("*.safetensors")}
            monkeypatch.setattr(zigpt.training.loop, "train_step", real)
            with contextlib.redirect_stdout(io.StringIO()):
                assert main(["train", "--resume", "--run", str(run)]) == 0
                assert main(["train", str(text), *SMALL, "--run", str(tmp_path / "whole")]) == 0
        for name in ("model.safetensors", "checkpoints/step-00000008/weights.safetensors"):
            assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
        rows = Path(run / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(row)["step"] for row in rows] == [0, 2, 4, 6, 8]


ADVICE = (
    "fix: use a smaller --batch-size, --block-size or --n-embd (to write: --count or --chars); "
    "what was saved before is intact"
)
