"""`zigpt verify` passes a sound run, and finds each fault that it looks for."""

import functools
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import zigpt.runs.checkpoint
import zigpt.verify.causality
import zigpt.verify.resume
from stress.mutations import put_together, take_apart
from tests.texts import story
from zigpt.cli.main import main
from zigpt.data.batches import Corpus
from zigpt.errors import DivergedError
from zigpt.formats.saved_model import load_model, save_model
from zigpt.generate.quick import QuickDecoder
from zigpt.gpt import attention
from zigpt.gpt.attention import causal_mask, fast_attention, previous_position
from zigpt.gpt.model import GPT
from zigpt.runs.checkpoint import save_checkpoint
from zigpt.runs.folder import RunFolder
from zigpt.tokenizers.char import CharTokenizer
from zigpt.training import loop as train
from zigpt.verify.causality import take_windows
from zigpt.verify.leaks import search_by_change, search_by_gradient
from zigpt.verify.resume import Difference

CPU = torch.device("cpu")
both = pytest.mark.parametrize("architecture", ["classic", "modern"])
BLOCK = 16
NAMES = ["files", "vocabulary", "causality", "sampling", "resume"]
SETTINGS = ["--preset", "tiny", "--n-layer", "2", "--n-embd", "16", "--block-size", str(BLOCK),
            "--batch-size", "4", "--dropout", "0.2", "--eval-interval", "10",
            "--eval-chars", "160", "--max-steps", "3"]  # fmt: skip


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """For each architecture a folder with a text and a run that `zigpt train` made of it."""

    @functools.cache
    def make(architecture):
        folder = tmp_path_factory.mktemp(architecture)
        (folder / "book.txt").write_text(story(3000) + "字\n", encoding="utf-8")
        arguments = [str(folder / "book.txt"), *SETTINGS, "--run", str(folder / "run")]
        assert main(["train", *arguments, "--architecture", architecture]) == 0
        return folder

    return make


@pytest.fixture
def architecture():
    return "classic"


@pytest.fixture
def run(finished, architecture, tmp_path):
    """A copy of that run whose text is a copy as well, so that a test may damage both."""
    shutil.copytree(finished(architecture), tmp_path, dirs_exist_ok=True)
    paths = [str(tmp_path / "book.txt")]
    change_info(tmp_path / "run", lambda info: info["text"].update(paths=paths))
    return tmp_path / "run"


@pytest.fixture
def verify(run, capsys, monkeypatch):
    """Verify the run, or what is named; returns the exit code and the checks by name."""
    monkeypatch.setattr(zigpt.verify.resume, "time_step", lambda *arguments: 0.01)

    def verify(path=run):
        capsys.readouterr()
        code = main(["verify", str(path), "--json"])
        printed = json.loads(capsys.readouterr().out)
        assert printed["run"] == str(path)
        assert printed["passed"] == (code == 0)
        checks = {check["name"]: check for check in printed["checks"]}
        assert list(checks) == NAMES
        return code, checks

    return verify


def change_info(run, change):
    info = json.loads((run / "run.json").read_text(encoding="utf-8"))
    change(info)
    (run / "run.json").write_text(json.dumps(info), encoding="utf-8")


def change_model(run, change):
    saved = load_model(run, CPU)
    save_model(run / "model.safetensors", change(saved))


def results(checks):
    return {name: check["result"] for name, check in checks.items()}


def only(name, result="failed"):
    return {other: result if other == name else "passed" for other in NAMES}


def windows_of(run):
    saved, folder = load_model(run, CPU), RunFolder.open(run)
    corpus = Corpus.from_text((run.parent / "book.txt").read_text(encoding="utf-8"))
    return saved, take_windows(*folder.record.configs, corpus, CPU)


def see(monkeypatch, allowed):
    """Let attention see what `allowed` says of a (T, T) table that begins as the causal one."""

    def attend(q, k, v):
        mask = causal_mask(q.size(-2))
        allowed(mask)
        scores = (q @ k.mT / q.size(-1) ** 0.5).masked_fill(~mask, float("-inf"))
        return F.softmax(scores, -1) @ v

    monkeypatch.setattr(attention, "_is_chunked", lambda *_: True)
    monkeypatch.setattr(attention, "_chunked_attention", attend)


def shift(monkeypatch, before):
    """Make `before` the token shift of every model."""
    forward = GPT.forward

    def shifted(self, ids, attend=fast_attention, old=previous_position, start=0):
        return forward(self, ids, attend, before, start)

    monkeypatch.setattr(GPT, "forward", shifted)


@both
class TestASoundRun:
    def test_passes_every_check(self, run, verify):
        code, checks = verify()
        assert code == 0
        assert set(results(checks).values()) == {"passed"}
        assert checks["files"]["checkpoint_files"] == 6
        assert checks["vocabulary"]["characters"] == 3002
        for way in ("change", "gradient"):
            found = checks["causality"][way]
            assert found == {"tested": 15, "possible": 15, "leak": None, "largest": 0}
        assert 0 < checks["sampling"]["largest_difference"] < 0.05
        assert checks["resume"]["batch_size"] == 4
        assert checks["resume"]["largest"] == 0
        assert len(checks["resume"]["losses"]) == 4

    def test_is_not_changed(self, run, verify):
        def content():
            return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

        before = content()
        verify()
        assert content() == before

    def test_is_reported_in_words_with_a_block_for_each_check(self, run, capsys):
        assert main(["verify", str(run)]) == 0
        shown = capsys.readouterr().out
        heads = [line for line in shown.splitlines() if line and line[0] != " "]
        assert heads == [*(f"{name:<12}passed" for name in NAMES), "5 passed"]
        assert "at all 15 positions: no score before the changed character moved" in " ".join(
            shown.split()
        )
        assert max(map(len, shown.splitlines())) <= 100

    def test_may_be_a_model_file_alone_where_resuming_cannot_be_checked(
        self, run, verify, tmp_path
    ):
        alone = shutil.copy(run / "model.safetensors", tmp_path / "alone.safetensors")
        code, checks = verify(alone)
        assert code == 0
        assert results(checks) == {**only("resume", "unchecked"), "vocabulary": "unchecked"}
        assert "run.json" in checks["resume"]["detail"]
        assert "use the model within its run folder" in checks["vocabulary"]["detail"]


class TestFiles:
    @pytest.mark.parametrize(
        "name", ["weights.safetensors", "optimizer.safetensors", "counters.json"]
    )
    def test_a_flipped_bit_in_a_checkpoint_is_found_and_its_file_named(self, run, verify, name):
        file = sorted((run / "checkpoints").iterdir())[0] / name
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        code, checks = verify()
        assert code == 3
        assert results(checks) == only("files")
        assert (
            f"{file.parent.name} is damaged: {name} was altered after writing"
            in (checks["files"]["detail"])
        )

    def test_a_missing_file_is_named(self, run, verify):
        file = sorted((run / "checkpoints").iterdir())[-1] / "optimizer.safetensors"
        file.unlink()
        code, checks = verify()
        assert code == 3
        assert "optimizer.safetensors" in checks["files"]["detail"]

    def test_a_manifest_that_leaves_a_file_out_does_not_hide_it(self, run, verify):
        manifest = sorted((run / "checkpoints").iterdir())[0] / "MANIFEST.json"
        described = json.loads(manifest.read_text())
        del described["weights.safetensors"]
        manifest.write_text(json.dumps(described))
        code, checks = verify()
        assert code == 3
        assert "does not name weights.safetensors" in checks["files"]["detail"]

    def test_every_fault_is_reported_not_only_the_first(self, run, verify):
        for folder in (run / "checkpoints").iterdir():
            (folder / "counters.json").write_text("{}")
        assert len(verify()[1]["files"]["faults"]) == 2

    def test_a_run_without_any_of_its_checkpoints_is_a_fault(self, run, verify):
        for folder in list((run / "checkpoints").iterdir()):
            folder.rename(folder.with_name(f"{folder.name}.bad"))
        code, checks = verify()
        assert code == 3
        assert results(checks) == only("files")
        assert "has no checkpoint" in checks["files"]["detail"]
        assert "set aside: step-00000000.bad, step-00000003.bad." in checks["files"]["detail"]
        shutil.rmtree(run / "checkpoints")
        assert verify()[0] == 3

    def test_an_unreadable_log_is_a_fault(self, run, verify):
        (run / "metrics.jsonl").unlink()
        (run / "metrics.jsonl").mkdir()
        assert "metrics.jsonl cannot be read" in verify()[1]["files"]["detail"]

    def test_a_checkpoint_that_was_set_aside_is_mentioned_but_is_no_fault(self, run, verify):
        shutil.copytree(run / "checkpoints", run / "copy")
        (run / "copy" / "step-00000003").rename(run / "checkpoints" / "step-00000003.bad1")
        code, checks = verify()
        assert code == 0
        assert checks["files"]["set_aside"] == ["step-00000003.bad1"]
        assert "step-00000003.bad1" in checks["files"]["detail"]

    def test_a_training_that_has_only_just_started_needs_no_checkpoint(self, run, verify):
        shutil.rmtree(run / "checkpoints")
        first = (run / "metrics.jsonl").read_text().splitlines()[0]
        (run / "metrics.jsonl").write_text(first + "\n")
        code, checks = verify()
        assert code == 0
        assert "There is no checkpoint yet." in checks["files"]["detail"]

    def test_a_run_file_of_another_model_is_a_fault(self, run, verify):
        change_info(run, lambda info: info["model"].update(n_layer=1))
        code, checks = verify()
        assert code == 3
        assert results(checks) == only("files")
        assert "different shapes" in checks["files"]["detail"]

    def test_a_damaged_run_file_leaves_the_checks_of_the_model_itself(self, run, verify):
        (run / "run.json").write_text("{")
        code, checks = verify()
        assert code == 3
        assert results(checks) == {
            **only("files"), "vocabulary": "unchecked", "resume": "unchecked",
        }  # fmt: skip
        assert "run.json is damaged" in checks["files"]["detail"]

    def test_a_weight_that_is_not_finite_is_named_and_nothing_is_checked_with_it(self, run, verify):
        def spoil(saved):
            with torch.no_grad():
                saved.model.blocks[1].ffn.expand.weight[3, 2] = float("nan")
            return saved

        change_model(run, spoil)
        code, checks = verify()
        assert code == 3
        assert "not finite, in blocks.1.ffn.expand.weight." in checks["files"]["detail"]
        assert set(results(checks).values()) == {"failed", "unchecked"}

    def test_a_damaged_model_fails_and_nothing_else_can_be_checked(self, run, verify):
        file = run / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-1])
        code, checks = verify()
        assert code == 3
        assert checks["files"]["result"] == "failed"
        assert {checks[name]["result"] for name in NAMES[1:]} == {"unchecked"}

    def test_two_flipped_bytes_that_leave_all_weights_finite_are_found(self, run, verify):
        file = run / "model.safetensors"
        data = bytearray(file.read_bytes())
        for place in (-4000, -40):  # in the lowest bits of a weight
            data[place] ^= 1
        file.write_bytes(data)
        code, checks = verify()
        assert code == 3
        assert f"{file} is damaged" in checks["files"]["detail"]
        assert "its weights do not have the SHA-256" in checks["files"]["detail"]
        assert {checks[name]["result"] for name in NAMES[1:]} == {"unchecked"}

    def test_an_early_model_file_without_a_checksum_is_read_and_reported(self, run, verify):
        assert "checksum" not in verify()[1]["files"]["detail"]
        file = run / "model.safetensors"
        parts = take_apart(file.read_bytes())
        del parts.inner["sha256"]
        file.write_bytes(put_together(parts))
        code, checks = verify()
        assert code == 0
        assert "without a checksum of its weights" in checks["files"]["detail"]

    def test_a_path_without_a_run_is_refused_in_three_lines(self, tmp_path, capsys):
        for path in (tmp_path, tmp_path / "nothing"):
            assert main(["verify", str(path)]) == 3
            what, why, fix = capsys.readouterr().err.splitlines()
            assert what.startswith("error: no model")
            assert why.startswith("why: ")
            assert fix.startswith("fix: ")


class TestVocabulary:
    def test_a_changed_text_fails(self, run, verify):
        text = run.parent / "book.txt"
        text.write_text(text.read_text(encoding="utf-8").replace("stone", "Stone", 1), "utf-8")
        code, checks = verify()
        assert code == 3
        assert checks["vocabulary"]["result"] == "failed"
        assert "is not the text of this run" in checks["vocabulary"]["detail"]
        assert checks["resume"]["result"] == "unchecked"

    def test_a_missing_text_is_no_failure_and_causality_is_checked_without_it(self, run, verify):
        (run.parent / "book.txt").unlink()
        code, checks = verify()
        assert code == 0
        assert results(checks) == {
            **only("vocabulary", "unchecked"), "resume": "unchecked",
        }  # fmt: skip
        assert "book.txt" in checks["vocabulary"]["detail"]
        assert "drawn at random" in checks["causality"]["detail"]

    def test_a_model_with_another_character_fails(self, run, verify):
        def rename(saved):
            return replace(saved, tokenizer=CharTokenizer(saved.tokenizer.vocabulary[:-1] + "学"))

        change_model(run, rename)
        code, checks = verify()
        assert code == 3
        assert checks["vocabulary"]["result"] == "failed"
        assert "'字' (U+5B57)" in checks["vocabulary"]["detail"]
        assert "'学' (U+5B66)" in checks["vocabulary"]["detail"]

    def test_characters_that_do_not_survive_encoding_are_found_with_their_position(
        self, run, verify, monkeypatch
    ):
        decode = CharTokenizer.decode
        monkeypatch.setattr(
            CharTokenizer, "decode", lambda self, ids: decode(self, ids).replace("字", "a")
        )
        code, checks = verify()
        assert code == 3
        assert checks["vocabulary"]["result"] == "failed"
        assert "from character 3,000 on" in checks["vocabulary"]["detail"]


@both
class TestCausality:
    def test_a_model_without_its_mask_fails(self, run, verify, monkeypatch, capsys):
        see(monkeypatch, lambda mask: mask.fill_(True))
        code, checks = verify()
        assert code == 3
        assert checks["causality"]["result"] == "failed"
        for way in ("change", "gradient"):
            leak = checks["causality"][way]["leak"]
            assert (leak["prediction"], leak["position"]) == (0, BLOCK - 1)
        assert main(["verify", str(run)]) == 3
        assert "causality   FAILED" in capsys.readouterr().out

    @pytest.mark.parametrize(("t", "s"), [(3, 9), (0, BLOCK - 1), (BLOCK - 2, BLOCK - 1), (7, 8)])
    def test_a_single_hole_in_the_mask_is_found_and_its_ends_named(
        self, run, verify, monkeypatch, t, s
    ):
        def hole(mask):
            mask[t, s] = True

        saved, windows = windows_of(run)
        see(monkeypatch, hole)
        code, checks = verify()
        assert code == 3
        for way in ("change", "gradient"):
            leak = checks["causality"][way]["leak"]
            assert (leak["prediction"], leak["position"]) == (t, s)
            character = saved.tokenizer.decode([int(windows.inputs[leak["window"], s])])
            assert leak["character"] == character
            assert 0 < leak["amount"] <= checks["causality"][way]["largest"]
        leak = checks["causality"]["change"]["leak"]
        place = leak["window"], s
        changed = windows.inputs.clone()
        changed[place] = (changed[place] + 1) % saved.tokenizer.vocab_size
        with torch.no_grad():
            moved = (saved.model(changed) - saved.model(windows.inputs)).abs().amax(-1)
        assert leak["amount"] == pytest.approx(float(moved[leak["window"], t]), rel=1e-3)
        assert f"{character!r} (U+{ord(character):04X})" in checks["causality"]["detail"]
        assert f"at position {s} of window" in checks["causality"]["detail"]
        assert f"at the earlier position {t} by" in checks["causality"]["detail"]

    @pytest.mark.parametrize(
        "is_training",
        [lambda model, q: model.training, lambda model, q: q.dtype == torch.bfloat16],
        ids=["mode", "precision"],
    )
    def test_a_mask_that_is_missing_only_in_training_is_caught(
        self, run, verify, monkeypatch, is_training
    ):
        forward = GPT.forward

        def careless(self, ids, *arguments):
            def attend(layer, q, k, v):
                if is_training(self, q):
                    return F.scaled_dot_product_attention(q, k, v)
                return fast_attention(layer, q, k, v)

            return forward(self, ids, attend, *arguments[1:])

        change_info(run, lambda info: info["training"].update(precision="bfloat16"))
        monkeypatch.setattr(GPT, "forward", careless)
        code, checks = verify()
        assert code == 3
        assert checks["causality"]["result"] == "failed"
        assert checks["causality"]["change"]["leak"] is None
        assert "bfloat16" in checks["causality"]["detail"]

    def test_a_leak_that_no_derivative_shows_is_caught(self, run, verify, monkeypatch):
        rows = attention._chunked_attention

        def peek(q, k, v):
            return rows(q, k, v) + (v.roll(-1, dims=-2).detach() > 0)

        monkeypatch.setattr(attention, "_is_chunked", lambda *_: True)
        monkeypatch.setattr(attention, "_chunked_attention", peek)
        code, checks = verify()
        assert code == 3
        assert checks["causality"]["result"] == "failed"
        assert checks["causality"]["gradient"]["leak"] is None

    def test_a_search_cut_short_reports_how_many_positions_were_tested(
        self, run, verify, monkeypatch
    ):
        monkeypatch.setattr(zigpt.verify.causality, "_SECONDS", 0.0)
        code, checks = verify()
        assert code == 0
        assert checks["causality"]["change"]["tested"] == 4  # one pass of four windows
        assert "at 4 of 15 positions (chosen at random" in checks["causality"]["detail"]

    def test_no_search_leaves_a_trace_on_the_model_or_on_randomness(self, run):
        saved, windows = windows_of(run)
        before = [parameter.clone() for parameter in saved.model.parameters()]
        torch.manual_seed(5)
        expected = torch.rand(1)
        torch.manual_seed(5)
        search_by_change(saved.model, windows.inputs, 1.0)
        search_by_gradient(saved.model, windows.inputs, windows.targets, torch.float32, 1.0)
        assert torch.equal(torch.rand(1), expected)
        assert not saved.model.training
        for parameter, old in zip(saved.model.parameters(), before, strict=True):
            assert torch.equal(parameter, old)
            assert parameter.grad is None


@pytest.mark.parametrize("architecture", ["modern"])
@pytest.mark.parametrize("place", [0, 3])
def test_a_token_shift_that_looks_ahead_once_is_caught(run, verify, monkeypatch, place):
    def ahead(at, x):
        moved = previous_position(at, x)
        return torch.cat((moved[:, :5], x[:, 6:7], moved[:, 6:]), 1) if at == place else moved

    shift(monkeypatch, ahead)
    code, checks = verify()
    assert code == 3
    for way in ("change", "gradient"):
        leak = checks["causality"][way]["leak"]
        assert (leak["prediction"], leak["position"]) == (5, 6)


def test_a_decoder_with_other_scores_fails(run, verify, monkeypatch):
    scores = np.zeros((1, load_model(run, CPU).model.config.vocab_size), np.float32)
    scores[0, 1] = 9
    monkeypatch.setattr(QuickDecoder, "next_logits", lambda self, ids: scores)
    code, checks = verify()
    assert code == 3
    assert results(checks) == only("sampling")
    assert checks["sampling"]["largest_difference"] > 0.1


class TestResume:
    def expect(self, verify, words):
        code, checks = verify()
        assert code == 3
        assert results(checks) == only("resume")
        assert words in checks["resume"]["detail"]

    def test_randomness_that_depends_on_the_number_of_calls_fails(self, verify, monkeypatch):
        seeded, calls = train._seeded, []

        def counted(numbers, device):
            calls.append(numbers)
            return seeded([len(calls)], device)

        monkeypatch.setattr(train, "_seeded", counted)
        self.expect(verify, "losses differ by up to")

    def test_an_optimizer_that_loses_its_state_fails_and_the_state_is_named(
        self, verify, monkeypatch
    ):
        monkeypatch.setattr(zigpt.runs.checkpoint, "_optimizer_state", lambda state: {})
        self.expect(verify, "the first of them ")

    def test_a_counter_that_is_not_saved_fails(self, verify, monkeypatch):
        kept = tuple(n for n in zigpt.runs.checkpoint.COUNTERS if n != "evaluated_at")
        monkeypatch.setattr(zigpt.runs.checkpoint, "COUNTERS", kept)
        self.expect(verify, "loading changed evaluated_at")

    def test_weights_that_are_saved_rounded_fail(self, verify, monkeypatch):
        as_arrays = zigpt.runs.checkpoint._as_arrays

        def rounded(tensors):
            halved = {name: tensor.bfloat16().float() for name, tensor in tensors.items()}
            return as_arrays(halved)

        monkeypatch.setattr(zigpt.runs.checkpoint, "_as_arrays", rounded)
        self.expect(verify, "The two are not equal")

    def test_a_checkpoint_that_cannot_be_loaded_fails(self, verify, monkeypatch):
        def save_wrongly(folder, state, logged):
            save_checkpoint(folder, state, logged)
            (folder / "step-00000002" / "counters.json").write_bytes(b"{}")

        monkeypatch.setattr(zigpt.verify.resume, "save_checkpoint", save_wrongly)
        self.expect(verify, "The checkpoint could not be loaded")

    def test_a_checkpoint_that_was_never_written_fails(self, verify, monkeypatch):
        monkeypatch.setattr(
            zigpt.verify.resume, "save_checkpoint", lambda folder, state, logged: None
        )
        self.expect(verify, "loading changed step")

    def test_a_batch_that_would_take_too_long_is_made_smaller_and_reported(
        self, verify, monkeypatch
    ):
        monkeypatch.setattr(zigpt.verify.resume, "time_step", lambda *arguments: 2.0)
        code, checks = verify()
        assert code == 0
        assert checks["resume"]["batch_size"] == 2
        assert "(not 4: a step would take 2.0 s)" in checks["resume"]["detail"]

    def test_a_training_that_diverges_at_once_cannot_be_checked(self, verify, monkeypatch):
        def diverge(*args, **kwargs):
            raise DivergedError("diverged in step 1", "the steps were too large", "start again")

        monkeypatch.setattr(train, "train_step", diverge)
        code, checks = verify()
        assert code == 0
        assert results(checks) == only("resume", "unchecked")
        assert "diverged in step 1" in checks["resume"]["detail"]

    def test_where_bits_may_differ_only_small_differences_pass(self):
        small = Difference((), loss=0.001, tensors=("head.weight",), largest=1e-3, weights=0.1)
        assert small.is_small
        assert not small.is_none
        for large in ({"loss": 0.1}, {"weights": 0.5}, {"counters": ("step",)}):
            assert not replace(small, **large).is_small
