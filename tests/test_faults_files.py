"""C9, C10, C11: files that anybody may have made. None runs code, hangs or misleads."""

import contextlib
import hashlib
import io
import json
import math
import os
import pickle
import shutil
import struct
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from stress.model_files import FOUND, MOST_MEMORY, get_ready, good_file, shrink
from stress.model_files import outcome as outcome_of
from stress.mutations import Parts, put_together, take_apart
from stress.settings import outcome, shortened
from stress.watch import watched
from tests.limits import bounded, campaign_alone
from zigpt import untrusted_json
from zigpt.cli.main import main
from zigpt.errors import ModelFileError
from zigpt.formats.safetensors import ModelFile, pack, read_lazily

DAMAGED = "is damaged or not a zigpt model"


FROM_RUN = "give a run folder or a model.safetensors"


def array(save, *content):
    """What numpy writes."""
    file = io.BytesIO()
    save(file, *content)
    return file.getvalue()


def saved_by_torch():
    """What torch.save writes: a zip archive with a pickle in it."""
    file = io.BytesIO()
    torch.save({"head.weight": torch.zeros(9)}, file)
    return file.getvalue()


def refusal(*arguments):
    """Run a command that must be refused, at once: its exit code and the three lines."""
    out, error = io.StringIO(), io.StringIO()
    with bounded(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        code = main([str(argument) for argument in arguments])
    what, why, fix = error.getvalue().splitlines()
    assert [what[:7], why[:5], fix[:5]] == ["error: ", "why: ", "fix: "]
    return code, what[7:], why[5:], fix[5:]


@pytest.fixture
def parts(tmp_path):
    return take_apart(good_file(tmp_path).read_bytes())


@pytest.fixture
def refused(tmp_path):
    """Write a file and have `sample` refuse it: what and why."""

    def write(data):
        path = tmp_path / "model.safetensors"
        path.write_bytes(data)
        code, what, why, fix = refusal("sample", path)
        assert code == 3
        assert what.startswith(f"{path} is ")
        assert fix
        return what.removeprefix(f"{path} "), why

    return write


class TestModelFiles:
    """C9"""

    def test_thousands_of_wrong_files_are_either_used_or_refused_and_nothing_else_happens(self):
        report = campaign_alone("model_files", seed=9, cases=3000)
        assert report["failures"] == []
        assert report["cases"] == 3000
        assert set(report["outcomes"]) == {"0", "3"}
        assert report["outcomes"]["3"] > 2000
        assert report["most_memory"] < MOST_MEMORY

    @pytest.mark.parametrize("file", sorted(FOUND.iterdir()), ids=lambda file: file.name)
    def test_a_file_that_once_broke_a_promise_is_refused(self, tmp_path, file):
        get_ready(tmp_path)
        assert outcome_of(tmp_path, file.read_bytes()) == (3, None)

    def test_a_file_that_breaks_a_promise_is_shrunk(self):
        whole = bytes(5000) + b"bomb" + bytes(999)
        assert shrink(whole, lambda data: b"bomb" in data) == b"bomb"

    @pytest.mark.parametrize(
        ("event", "act"),
        [
            ("pickle.find_class", lambda: pickle.loads(pickle.dumps(print))),
            ("exec", lambda: exec("1")),
            ("compile", lambda: compile("1", "data", "eval")),
            ("os.system", lambda: os.system("true")),
            ("subprocess.Popen", lambda: subprocess.run(["true"], check=False)),
            ("open", lambda: Path("/etc/hostname").exists() and open("/etc/hostname").close()),
            ("import", lambda: __import__("wave")),
        ],
    )
    def test_the_watch_sees_every_forbidden_event(self, tmp_path, event, act):
        sys.modules.pop("wave", None)
        with watched(tmp_path) as seen:
            act()
        assert any(line.startswith(event) for line in seen)

    @pytest.mark.parametrize(
        "name", ["model.pt", "model.PTH", "x.ckpt", "x.bin", "x.pkl", "x.pickle"]
    )
    def test_a_pickle_is_refused_by_name_whatever_is_in_it(self, tmp_path, name):
        path = tmp_path / name
        shutil.copy(good_file(tmp_path), path)
        assert refusal("sample", path) == (
            3,
            f"{path} is a pickle, not a model.safetensors",
            "loading a pickle runs whatever code it holds, so zigpt never does",
            "give a run folder or a model.safetensors",
        )

    @pytest.mark.parametrize("data", [saved_by_torch(), pickle.dumps([1]), b"\x80\x02."])
    def test_a_pickle_is_refused_by_its_first_bytes_whatever_its_name(self, refused, data):
        assert refused(data)[0] == "is a pickle, not a model.safetensors"

    @pytest.mark.parametrize(
        ("data", "kind", "fix"),
        [
            (b"GGUF\x03" + bytes(999), "a GGUF file of llama.cpp", "open it with llama.cpp"),
            (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file, as Keras writes them", FROM_RUN),
            (array(np.save, np.zeros(9)), "a numpy array", FROM_RUN),
            (array(np.savez, np.zeros(9)), "a numpy archive", FROM_RUN),
            (b"PK\x03\x04" + bytes(26) + b"run/run.json" + bytes(99), "a zip archive",
             "unpack it, and give the run folder or the model.safetensors in it"),
            (b"\x08\x08\x12\x07pytorch:" + bytes(9), "an ONNX file", FROM_RUN),
            (b"\n<!DOCTYPE html><p>404", "a web page", "download the file itself again"),
            (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS",
             "type git lfs pull, or download the file itself"),
            (b'{\n  "format": 2}', "a run.json", "give the folder that it lies in"),
            (safetensors.numpy.save({"wte.weight": np.zeros((9, 4))}, {"format": "pt"}),
             "a model of another program", FROM_RUN),
            (safetensors.numpy.save({"token_embedding.weight": np.zeros((9, 4))}),
             "part of a checkpoint", "give the run folder that it lies in"),
        ],
    )  # fmt: skip
    def test_a_file_of_another_kind_is_refused_by_its_name(self, tmp_path, data, kind, fix):
        path = tmp_path / "model.safetensors"
        path.write_bytes(data)
        code, what, _, remedy = refusal("sample", path)
        assert (code, what, remedy) == (3, f"{path} is {kind}, not a zigpt model", fix)

    @pytest.mark.parametrize("protocol", [0, 1])
    @pytest.mark.parametrize(
        "content",
        [1, "a", None, [1], {"a": 1}, OrderedDict(a=1), print, Path("x"), Parts, [b"x" * 200_000],
         {"head.weight": np.ones(99_999, np.float32)}],
        ids=range(11),
    )  # fmt: skip
    def test_a_pickle_of_the_first_protocols_is_refused_as_damaged_and_never_loaded(
        self, tmp_path, refused, protocol, content
    ):
        """They have no magic bytes; by its name such a file is refused as a pickle."""
        data = pickle.dumps(content, protocol)
        with watched(tmp_path) as seen:
            assert refused(data)[0] == DAMAGED
        assert [line for line in seen if line.startswith(("pickle", "os.", "subprocess"))] == []

    @pytest.mark.parametrize(
        "data",
        [b"cos\nsystem\n(S'exit 9'\ntR.", b"(S'exit 9'\nios\nsystem\n.", b"(lp0\n.",
         b"(cos\nsystem\nS'exit 9'\no.more"],
    )  # fmt: skip
    def test_a_pickle_that_would_run_something_is_never_loaded(self, tmp_path, refused, data):
        (tmp_path / "model.pkl").write_bytes(data)
        with watched(tmp_path) as seen:
            assert refused(data)[0] == DAMAGED
            code, what, _, _ = refusal("sample", tmp_path / "model.pkl")
        assert (code, what) == (3, f"{tmp_path}/model.pkl is a pickle, not a model.safetensors")
        assert [line for line in seen if line.startswith(("pickle", "os.", "subprocess"))] == []

    @pytest.mark.parametrize(
        "data",
        [b"", b".", b"(", b"best.", b"cat\ndog\ntest.", b"Nothing\n" * 20_000, bytes(99),
         b"(" + bytes(99), b"\x80\x04" + bytes(6), b"I1\n", bytes(512) + b"ustar", b"\x08\x08onnx"],
    )  # fmt: skip
    def test_a_damaged_file_is_not_called_a_pickle(self, refused, data):
        assert refused(data)[0] == DAMAGED

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"n_layer": 10**12}, "its config and its weights are of different sizes"),
            ({"n_embd": 8 * 10**11}, "its config and its weights are of different sizes"),
            ({"block_size": 2**40}, "block_size (1099511627776) must be at most 1,048,576"),
            ({"n_head": 10**4000}, "n_head (1000000000"),
            ({"dropout": float("nan")}, "dropout (nan) must be from 0 to below 1"),
            ({"architecture": "future"}, "architecture cannot be 'future'"),
            ({"n_experts": 2}, "n_experts"),
        ],
    )
    def test_a_config_that_claims_too_much_is_not_believed(self, parts, refused, change, why):
        parts.inner["config"] |= change
        what, reason = refused(put_together(parts))
        assert what == DAMAGED
        assert why in reason
        assert len(reason) < 300

    @pytest.mark.parametrize("text", [{"paths": [1]}, {"paths": "x"}, {"paths": ["a\0b"]}, {},
                                      {"paths": ["\ud800"]}, {"paths": ["/dev/zero"]}])  # fmt: skip
    @pytest.mark.parametrize("command", ["eval", "explain window"])
    def test_a_model_with_a_forged_text_path_is_refused(self, tmp_path, text, command):
        """It may name any path, but only text files are read."""
        path = good_file(tmp_path, text={"sha256": "0", **text} if text else "x")
        code, what, _, _ = refusal(*command.split(), path)
        assert code == 3
        assert what.startswith(("cannot read ", "the model does not say", "/dev/zero is not a reg"))

    def test_a_file_that_may_not_be_read_is_a_refusal_of_the_file(self, tmp_path, monkeypatch):
        path = good_file(tmp_path)

        really_open = Path.open

        def denied(file, *arguments, **options):
            if file == path:
                raise PermissionError(13, "Permission denied", str(path))
            return really_open(file, *arguments, **options)

        monkeypatch.setattr(Path, "open", denied)  # not by chmod: root may read everything
        code, what, why, _ = refusal("sample", path)
        assert (code, what) == (3, f"{path} {DAMAGED}")
        assert "Permission denied" in why

    @pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000, "a\0b", "model.safetensors/x"])
    def test_a_path_that_cannot_be_is_no_model(self, tmp_path, name):
        good_file(tmp_path).rename(tmp_path / "model.safetensors")
        code, what, why, _ = refusal("sample", tmp_path / name)
        assert code == 3
        assert what.startswith("no model at ")
        assert why == "there is no such file or folder"

    def test_a_pipe_or_device_is_no_model(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "model.safetensors").symlink_to("/dev/zero")
        for path in (tmp_path / "pipe", tmp_path / "run", "/dev/zero"):
            code, _, why, _ = refusal("sample", path)
            assert (code, why) == (3, "it is not a regular file")

    def test_the_checksum_is_that_of_the_data_section(self, parts):
        assert parts.inner["sha256"] == hashlib.sha256(parts.body).hexdigest()

    @pytest.mark.parametrize("command", ["eval", "explain model", "sample --device cpu"])
    @pytest.mark.parametrize("how", ["weight", "swap", "checksum"])
    def test_altered_weights_are_refused(self, tmp_path, parts, command, how):
        if how == "weight":
            parts.body[100] ^= 1
        elif how == "swap":
            one, other = (f"blocks.0.ln_{i}.weight" for i in (1, 2))
            tensors = parts.tensors
            tensors[one], tensors[other] = tensors[other], tensors[one]
        else:
            parts.inner["sha256"] = "0" * 64
        path = tmp_path / "wrong.safetensors"
        path.write_bytes(put_together(parts))
        code, what, why, _ = refusal(*command.split(), path)
        assert (code, what) == (3, f"{path} {DAMAGED}")
        assert why == "its weights do not have the SHA-256 that they were written with"

    def test_a_file_that_changes_after_its_header_was_read_is_refused(self, tmp_path):
        path = good_file(tmp_path)
        file = read_lazily(path)
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(ModelFileError, match=DAMAGED):
            file.weights["head.weight"]


class TestBombs:
    """C10"""

    @pytest.mark.parametrize(
        ("piece", "count", "why"),
        [
            (b"[", 100_000, "more than 40,000 lists and objects"),
            (b"[", 20_000, "damaged"),  # few enough to be parsed, too deep to be parsed
            (b'{"a":', 100_000, "more than 40,000 lists and objects"),
            (b"[],", 5_000_000, "more than 40,000 lists and objects"),
            (b"1e5,", 5_000_000, "more than 16,777,216 bytes"),
            (b"9", 15_000_000, "damaged"),
            (b'"ab",', 3_000_000, "damaged"),
        ],
    )
    @pytest.mark.parametrize("place", ["header", "inner"])
    def test_json_that_would_grow_is_refused_before_it_does(
        self, parts, refused, piece, count, why, place
    ):
        text = piece * count
        if place == "inner":
            parts.inner = text.decode()
        else:
            parts.header = b'{"__metadata__":[' + text
        what, reason = refused(put_together(parts))
        assert what == DAMAGED
        assert why in f"{what} {reason}"

    @pytest.mark.parametrize("length", [2**31, 2**63 - 1, 2**64 - 1, 99_999_999])
    def test_a_header_that_claims_gigabytes_is_not_given_them(self, parts, refused, length):
        parts.length = length
        assert refused(put_together(parts))[0] == DAMAGED

    def test_fifty_thousand_tensors_are_too_many(self, refused):
        entries = ",".join(
            f'"{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for i in range(50_000)
        )
        header = f"{{{entries}}}".encode()
        assert "lists and objects" in refused(struct.pack("<Q", len(header)) + header)[1]

    def test_a_tensor_that_is_named_twice_is_refused(self, parts, refused):
        tensors = json.dumps(parts.tensors)[1:-1]
        inner = json.dumps(json.dumps(parts.inner))
        again = json.dumps(parts.tensors["ln_f.bias"])
        for other in ("{}", again, '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'):
            twice = f'{tensors},"head.weight":{other}'
            parts.header = f'{{"__metadata__":{{"zigpt":{inner}}},{twice}}}'.encode()
            assert refused(put_together(parts))[0] == DAMAGED

    def test_zigpt_does_not_write_a_file_that_it_would_refuse(self, tmp_path):
        file = read_lazily(good_file(tmp_path))
        about = {"text": {"sha256": "0", "paths": ["x" * 100] * 200_000}}
        content = ModelFile(file.config, dict(file.weights), file.tokenizer, about)
        with pytest.raises(ModelFileError, match="zigpt itself refuses") as caught:
            pack(content)
        assert caught.value.fix == "use fewer layers"
        about["text"]["paths"] = ["x" * 60] * 100_000
        (tmp_path / "large.safetensors").write_bytes(pack(content))
        with bounded():
            assert read_lazily(tmp_path / "large.safetensors").about == about

    def test_every_printable_character_fits_into_one_model_file(self, tmp_path):
        assigned = "".join(c for c in map(chr, range(0x110000)) if c.isprintable())
        assert len(assigned) > 140_000
        path = good_file(tmp_path, characters=assigned)
        assert read_lazily(path).tokenizer.vocabulary == assigned
        assert len(safetensors.numpy.save({}, {"x": json.dumps(assigned)})) < untrusted_json.LARGEST


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    text = folder / "book.txt"
    text.write_text("a stone in the river, a lamp on the old bridge\n" * 20)
    assert outcome(text, folder / "run", {}, {}) == "trained"
    return folder


class TestRunFolders:
    """C10 and C11: a run folder of unknown origin, and `train --resume` in it."""

    @pytest.fixture
    def run(self, trained, tmp_path):
        shutil.copytree(trained / "run", tmp_path / "run")
        return tmp_path / "run"

    def resumed(self, run):
        with shortened():
            return refusal("train", "--resume", "--run", run, "--max-steps", 4)

    @pytest.mark.parametrize(
        "content",
        [
            b"", b"{}", b"null", b"\xff", b"[" * 30_000, b"[" * 100_000, b"[]," * 9_000_000,
            b'{"a":' * 30_000, b"9" * 5000, b'"' + b"x" * (17 << 20), b'{"model": 1e999}',
        ],
        ids=range(11),
    )  # fmt: skip
    def test_a_run_file_of_any_content_is_refused(self, run, content):
        (run / "run.json").write_bytes(content)
        code, what, _, fix = self.resumed(run)
        assert (code, what) == (3, f"{run}/run.json {DAMAGED}")
        assert fix == "use another copy, or train again"

    @pytest.mark.parametrize("loss", [math.nan, math.inf])
    def test_a_baseline_must_have_a_finite_loss(self, run, loss):
        info = json.loads((run / "run.json").read_bytes())
        info["ladder"]["unigram"] = loss
        (run / "run.json").write_text(json.dumps(info))
        code, what, why, _ = self.resumed(run)
        assert (code, what) == (3, f"{run}/run.json {DAMAGED}")
        assert why.endswith("the loss of a baseline is not a number")

    @pytest.mark.parametrize("key", ["model", "training", "text", "ladder", "prompt"])
    @pytest.mark.parametrize("value", [None, 1, "x", [], {}, {"x": "y"}, {"n_embd": 1e400}])
    def test_a_run_file_with_any_other_value_is_refused_or_resumed(self, run, key, value):
        info = json.loads((run / "run.json").read_bytes())
        info[key] = value
        (run / "run.json").write_text(json.dumps(info))
        out, error = io.StringIO(), io.StringIO()
        with shortened(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            code = main(["train", "--resume", "--run", str(run), "--max-steps", "3"])
        assert (code, len(error.getvalue().splitlines())) in ((0, 0), (2, 3), (3, 3)), (
            error.getvalue()
        )

    @pytest.mark.parametrize(
        "name",
        [
            "metrics.jsonl",
            "samples.txt",
            "run.json",
            "model.safetensors.zigpt-tmp",
            "checkpoints/x",
        ],
    )
    @pytest.mark.parametrize("kind", ["file", "folder", "sibling", "nowhere", "pipe", "device"])
    def test_a_resume_touches_nothing_outside_the_folder(self, run, tmp_path, name, kind):
        outside = tmp_path / "run-evil" if kind == "sibling" else tmp_path / "outside"
        outside.mkdir()
        precious = outside / "precious"
        precious.write_bytes((run / "run.json").read_bytes())
        place = run / name
        place.unlink(missing_ok=True)
        targets = {"file": precious, "sibling": precious, "folder": outside, "device": "/dev/zero"}
        if kind == "pipe":
            os.mkfifo(place)
        else:
            place.symlink_to(targets.get(kind, outside / "nowhere"))
        code, what, why, fix = self.resumed(run)
        assert code == 3
        if (name, what) == ("run.json", f"no run at {run}"):
            return
        assert what == f"{place} is not a file or folder inside the run"
        assert why == "it is a link that leads out of the folder or nowhere, a pipe or a device"
        assert fix == "remove it, and resume only runs of people you trust"
        assert [path.name for path in outside.iterdir()] == ["precious"]

    def test_a_run_may_itself_be_a_link_and_hold_links_within(self, run, tmp_path):
        (tmp_path / "link").symlink_to(run)
        (run / "newest").symlink_to("checkpoints/step-00000002")
        with shortened(), contextlib.redirect_stdout(io.StringIO()):
            link = str(tmp_path / "link")
            assert main(["train", "--resume", "--run", link, "--max-steps", "3"]) == 0

    @pytest.mark.parametrize("name", ["../../../secret", "/dev/zero", "a/../../x", "..", ""])
    def test_a_checkpoint_reads_only_its_three_files(self, run, name):
        for manifest in run.glob("checkpoints/*/MANIFEST.json"):
            described = json.loads(manifest.read_bytes())
            manifest.write_text(json.dumps({name: {"size": 1, "sha256": "0"}, **described}))
        with watched(run) as seen:
            assert self.resumed(run)[:2] == (3, f"no checkpoint to resume from in {run}")
        assert not [line for line in seen for word in ("secret", "/dev/", "/x") if word in line]

    @pytest.mark.parametrize("content", [b"[" * 30_000, b"{}", b"null", b'{"step": "x"}'])
    def test_a_checkpoint_with_other_counters_is_damaged(self, run, content):
        import hashlib

        for folder in (run / "checkpoints").iterdir():
            (folder / "counters.json").write_bytes(content)
            manifest = json.loads((folder / "MANIFEST.json").read_bytes())
            digest = hashlib.sha256(content).hexdigest()
            manifest["counters.json"] = {"size": len(content), "sha256": digest}
            (folder / "MANIFEST.json").write_text(json.dumps(manifest))
        assert self.resumed(run)[:2] == (3, f"no checkpoint to resume from in {run}")

    @pytest.mark.parametrize(
        "line", ["[" * 30_000, "1", "null", '{"step": "x"}', '{"step": 1}', "é"]
    )
    def test_a_damaged_line_of_metrics_is_skipped(self, run, line):
        with (run / "metrics.jsonl").open("ab") as file:
            file.write(line.encode("latin-1") + b"\n")
        with shortened(), contextlib.redirect_stdout(io.StringIO()):
            assert main(["train", "--resume", "--run", str(run), "--max-steps", "3"]) == 0
