"""C8: whatever a text, a prompt or a name holds, a terminal is shown letters, not commands."""

import contextlib
import io
import json
import os
import pty
import re
import select
import subprocess
import sys

import pytest

from stress.model_files import good_file
from zigpt.cli.main import main
from zigpt.cli.terminal import harmless

# ESC [ 2 J clears the screen, ESC ] 0 names the window, ESC ] 52 fills the clipboard; 9B is ESC [
# in one character; then NUL, BEL, BS, CR, DEL and what turns the direction of writing.
COMMANDS = "\x1b[2J\x1b]0;owned\x07\x1b]52;c;cm0gLXJm\x07\x9b2J\0\x08\r\x7f\u202e\u2066\u200f\u2028"
FORBIDDEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
PLAIN = "a stone in the river, a lamp on the old bridge\n" * 20  # few commands: else it is no text
SETTINGS = ["--preset", "tiny", "--n-layer", "1", "--n-embd", "16", "--block-size", "8",
            "--batch-size", "2", "--max-steps", "1", "--eval-chars", "40"]  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model that knows nothing but commands to terminals, and a few letters."""
    characters = "".join(sorted(set(COMMANDS + "\n\t abe字")))
    return good_file(tmp_path_factory.mktemp("model"), characters=characters)


def on_a_terminal(*arguments):
    """Run zigpt with a real pseudo-terminal for stdout and stderr: exit code, what it was sent."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "zigpt", *map(str, arguments)]
    environment = {**os.environ, "TERM": "xterm", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        sent = b""
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while select.select([ours], [], [], 60)[0]:
                sent += os.read(ours, 65536)
        os.close(ours)
    return process.returncode, sent.decode().replace("\r\n", "\n")


def test_a_terminal_is_shown_what_a_pipe_is_given_with_every_command_escaped(model):
    words = ["sample", model, f"--prompt=a{COMMANDS[:12]}", "--chars", "300", "--temperature", "3"]
    command = [sys.executable, "-m", "zigpt", *map(str, words)]
    piped = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    assert piped.startswith(f"a{COMMANDS[:12]}")
    assert len(set(FORBIDDEN.findall(piped))) > 5
    code, shown = on_a_terminal(*words)
    assert code == 0
    assert not FORBIDDEN.search(shown)
    assert shown == harmless(piped)
    assert shown.startswith("a\\u001b[2J\\u001b]0;ow")


def test_a_refused_prompt_and_path_reach_the_terminal_as_letters(tmp_path):
    letters = good_file(tmp_path, characters="ab")
    code, shown = on_a_terminal("sample", letters, f"--prompt=a{COMMANDS.replace(chr(0), '')}")
    assert (code, len(shown.splitlines()), FORBIDDEN.search(shown)) == (3, 3, None)
    assert "'\\x1b' (U+001B) at 1, '[' (U+005B) at 2" in shown
    code, shown = on_a_terminal("sample", f"{tmp_path}/\x1b]0;owned\x07")
    assert (code, len(shown.splitlines()), FORBIDDEN.search(shown)) == (3, 3, None)
    assert "\\u001b]0;owned\\u0007" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "gone\x1b[2J\r\x9b\u202e"],
        ["train", "gone\x1b[2J\r\x9b\u202e"],
        ["train", "--resume", "--run", "gone\x1b[2J\r\x9b\u202e"],
        ["train", "--device", "\x1b[2J\x9b"],
        ["train", "--n-layer", "\x1b]0;owned\x07"],
        ["explain", "window", "gone\x1b[2J"],
        ["eval", "gone\u2028\x85\x1c"],
        ["\x1b]0;owned\x07"],
    ],
)
def test_no_refusal_repeats_a_command_or_grows_a_line(arguments, capsys):
    assert main(arguments) in (2, 3)
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 3
    assert not FORBIDDEN.search(error)


def test_a_training_shows_its_text_file_folder_and_samples_as_letters(tmp_path, monkeypatch):
    """Its output is for people, who may look at it through `tee`: so it is harmless everywhere."""
    monkeypatch.setattr(
        "zigpt.training.plan.time_step", lambda *arguments: 0.001
    )  # only takes time
    monkeypatch.setattr("zigpt.runs.metrics.draw_losses", lambda *arguments: b"")
    text = tmp_path / "a\x1b[2Jb\u202e.txt"
    text.write_text(PLAIN + "now \x1b[2J, then \x9b, at last \u202e\n" + PLAIN)
    run = tmp_path / "run\x1b]0;owned\x07\u202e"
    for command in (["plan", text], ["plan", text, "--json"], ["train", text, "--run", run]):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert main([*map(str, command), *SETTINGS]) == 0
        assert not FORBIDDEN.search(out.getvalue())
        if "--json" in command:
            assert json.loads(out.getvalue())["text"]["origin"].endswith("a?[2Jb?.txt")
    assert "run\\u001b]0;owned\\u0007\\u202e: model.safetensors" in out.getvalue()
    for topic in ("model", "window", "mask"):
        with contextlib.redirect_stdout(out):
            assert main(["explain", topic, str(run)]) == 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        assert main(["eval", str(run)]) == 0
        assert main(["train", str(text), "--run", str(run), *SETTINGS]) == 4
        assert main(["train", "--resume", "--run", str(run), "--max-steps", "2"]) == 0
    assert not FORBIDDEN.search(out.getvalue())


def test_a_live_training_sends_the_terminal_its_own_commands_and_no_others(tmp_path):
    """The bar moves the cursor; nothing that came with the text does."""
    text = tmp_path / "book.txt"
    text.write_text(PLAIN + "\x1b]0;owned\x07\n" + PLAIN)
    code, shown = on_a_terminal("train", text, "--run", tmp_path / "r\x1b]52;c;eA\x07", *SETTINGS)
    assert code == 0
    assert "\x1b[" in shown  # of the bar
    assert "\x1b]" not in shown
    assert "r\\u001b]52;c;eA\\u0007" in shown


def test_what_is_harmless_stays_as_it_is():
    plain = "tab\tline\nÄ字 \u3000👩\u200d🚀 שלום مرحبا <script> \\u001b"
    assert harmless(plain) == plain
    every = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    assert not FORBIDDEN.search(harmless(every))
    assert json.loads(harmless(json.dumps("\x9b\u202e", ensure_ascii=False))) == "\x9b\u202e"


@pytest.mark.parametrize("keep", [100, 0], ids=["cut", "empty"])
def test_verify_tells_people_and_programs_of_a_path_in_letters(tmp_path, keep, capsys):
    """A truncated model is a fault to tell, with the name of the folder that holds it."""
    run = tmp_path / "字\x1b]0;owned\x07\x7f\x9b\u202e"
    run.mkdir()
    data = good_file(tmp_path).read_bytes()
    (run / "model.safetensors").write_bytes(data[:keep])
    (run / "run.json").write_bytes(b"{")
    assert main(["verify", str(run)]) == 3
    shown = capsys.readouterr().out
    assert not FORBIDDEN.search(shown)
    assert "字\\u001b]0;owned\\u0007\\u007f\\u009b\\u202e" in shown.replace("\n  ", "")
    assert main(["verify", str(run), "--json"]) == 3
    shown = capsys.readouterr().out
    assert not FORBIDDEN.search(shown)
    assert "字" in shown
    assert json.loads(shown)["run"] == str(run)
