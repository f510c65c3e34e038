"""`zigpt sample`: prompts from the command line, a file, a pipe and a terminal."""

import builtins
import contextlib
import os
import select
import subprocess
import sys
import time

import pytest

from tests.serving import GOLDEN
from zigpt.cli import sample as command
from zigpt.cli.main import main
from zigpt.cli.spelling import program

pty = pytest.importorskip("pty")  # not on Windows
SHORT = ["--chars", "20"]


@pytest.fixture
def sampled(capsys):
    """What `zigpt sample` writes to stdout, and its notes."""

    def run(*arguments):
        assert main(["sample", str(GOLDEN), *SHORT, *map(str, arguments)]) == 0
        return capsys.readouterr()

    return run


@pytest.fixture
def refused(capsys):
    """The exit code and three lines of a refusal."""

    def run(*arguments):
        code = main(["sample", str(GOLDEN), *map(str, arguments)])
        what, why, fix = capsys.readouterr().err.splitlines()
        return code, what.removeprefix("error: "), why.removeprefix("why: "), fix[5:]

    return run


def piped(data, *arguments):
    words = [sys.executable, "-m", "zigpt", "sample", str(GOLDEN), *SHORT, *arguments]
    done = subprocess.run(words, input=data, capture_output=True, check=True)
    return done.stdout.decode()


class TestPromptFile:
    @pytest.mark.parametrize(
        "data",
        [
            b"the old\nbridge",
            b"the old\nbridge\n",
            b"the old\r\nbridge\r\n",
            b"the old\rbridge\r",
            b"\xef\xbb\xbfthe old\nbridge\n",
            "the old\nbridge\n".encode("utf-16"),
        ],
    )
    def test_a_file_is_read_as_a_training_text_without_the_line_break_of_the_editor(
        self, tmp_path, sampled, data
    ):
        file = tmp_path / "prompt.txt"
        file.write_bytes(data)
        found = sampled("--prompt-file", file)
        assert found.out == sampled("--prompt", "the old\nbridge").out
        is_changed = b"\r" in data or b"\xff\xfe" in data
        assert len(found.err.splitlines()) == is_changed
        assert not is_changed or "prompt.txt" in found.err

    def test_who_means_a_new_line_leaves_an_empty_one(self, tmp_path, sampled):
        (tmp_path / "prompt.txt").write_text("the\n\n")
        found = sampled("--prompt-file", tmp_path / "prompt.txt").out
        assert found == sampled("--prompt", "the\n").out != sampled("--prompt", "the").out

    @pytest.mark.parametrize("data", [b"", b"\n"])
    def test_an_empty_file_is_no_prompt(self, tmp_path, sampled, data):
        (tmp_path / "prompt.txt").write_bytes(data)
        assert sampled("--prompt-file", tmp_path / "prompt.txt").out == sampled().out

    def test_a_dash_is_standard_input_as_a_file_and_a_dash_as_a_prompt(self, sampled, refused):
        assert piped(b"the old\n", "--prompt-file", "-") == sampled("--prompt", "the old").out
        assert piped(b"", "--prompt-file", "-") == sampled().out
        assert "'-' (U+002D) at 0" in refused("--prompt", "-")[1]

    def test_a_prompt_longer_than_the_block_is_continued(self, tmp_path, sampled):
        (tmp_path / "prompt.txt").write_text("the old bridge " * 5000)
        found = sampled("--prompt-file", tmp_path / "prompt.txt").out
        assert found.startswith("the old bridge " * 5000)
        assert len(found) == 5000 * 15 + 20 + 1

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("missing", "no such file or directory"),
            ("folder", "is a directory"),
            ("binary", "control character 0x00 at byte offset 3"),
        ],
    )
    def test_what_is_no_text_is_refused(self, tmp_path, refused, name, why):
        (tmp_path / "folder").mkdir()
        (tmp_path / "binary").write_bytes(b"the\0old" * 9)
        code, what, found, _ = refused("--prompt-file", tmp_path / name)
        assert (code, found) == (3, why)
        assert str(tmp_path / name) in what

    @pytest.mark.parametrize(
        "words",
        [
            ["--prompt", "", "--prompt-file", "p"],
            ["--prompt", "a", "--interactive"],
            ["--prompt-file", "p", "--interactive"],
        ],
    )
    def test_one_thing_alone_says_what_is_continued(self, refused, words):
        options = [word for word in words if word.startswith("--")]
        assert refused(*words) == (
            2,
            f"{options[0]} and {options[1]} cannot be combined",
            "each of them decides what is continued",
            "keep one of them",
        )


class TestCommandLine:
    def test_line_endings_of_a_prompt_become_those_of_the_text(self, sampled):
        plain = sampled("--prompt", "the\nold\n").out
        assert sampled("--prompt", "the\r\nold\r").out == plain

    def test_a_prompt_may_begin_with_a_dash_in_both_spellings(self, sampled):
        plain = sampled("--prompt", "x", "--unknown", "drop").out
        assert sampled("--prompt", "-x", "--unknown", "drop").out == plain
        assert sampled("--prompt=-x", "--unknown", "drop").out == plain

    def test_a_missing_prompt_is_told_how_to_give_one(self, refused):
        code, what, _, fix = refused("--prompt")
        assert (code, what) == (2, "option '--prompt' requires an argument")
        assert fix.startswith("write --prompt=TEXT, also where TEXT begins with a dash; see ")

    def test_words_without_an_option_are_told_how_to_be_given(self, refused):
        code, what, _, fix = refused("--stop", "a", "b", "c")
        assert (code, what) == (2, "got unexpected extra arguments (b c)")
        assert fix == (
            "put words that belong together in quotes; several texts are --stop A --stop B; "
            f"see {program()} sample --help"
        )

    def test_an_empty_stop_is_refused(self, refused):
        code, what, _, fix = refused("--stop", "e", "--stop", "")
        assert (code, what) == (2, "--stop cannot be empty")
        assert fix == "leave --stop out, or name the text to end before"

    def test_penalty_and_min_p_change_the_text_and_their_defaults_do_not(self, sampled):
        plain = sampled().out
        assert sampled("--min-p", 0, "--repetition-penalty", 1).out == plain
        assert sampled("--min-p", 0.5).out != plain
        assert sampled("--repetition-penalty", 1.5).out != plain


class Terminal:
    """`zigpt sample --interactive` at a pseudo-terminal of its own."""

    def __init__(self, *arguments):
        import fcntl
        import termios

        self._ours, theirs = pty.openpty()
        words = [sys.executable, "-m", "zigpt", "sample", str(GOLDEN), "--interactive"]
        self._process = subprocess.Popen(
            [*words, *map(str, arguments)],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, "TERM": "xterm", "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        os.close(theirs)
        self.shown = self._read_to("> ")

    def type(self, keys, until="> "):
        """Press keys; what is shown from then on, to `until`."""
        os.write(self._ours, keys.encode())
        return self._read_to(until)

    def _read_to(self, until):
        shown = ""
        with contextlib.suppress(OSError):  # EIO: it has ended
            while until is None or until not in shown:
                assert select.select([self._ours], [], [], 60)[0], f"nothing more after {shown!r}"
                shown += os.read(self._ours, 65536).decode(errors="replace").replace("\r\n", "\n")
        return shown

    def end(self, keys):
        """Press the keys that end it: its exit code."""
        self.type(keys, until=None)
        return self._process.wait(timeout=60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


class TestInteractive:
    @pytest.mark.parametrize("end", ["\x04", "\r"], ids=["Ctrl-D", "an empty line"])
    def test_every_prompt_is_continued_as_it_would_be_alone(self, sampled, end):
        with Terminal(*SHORT, "--temperature", 0.8) as terminal:
            assert "an empty line or Ctrl-D ends" in terminal.shown
            for prompt in ("the old", "a", "the old"):
                alone = sampled("--prompt", prompt, "--temperature", 0.8).out
                assert alone in terminal.type(f"{prompt}\r")
            assert terminal.end(end) == 0

    def test_an_unknown_character_is_told_in_a_line_and_the_next_prompt_is_continued(self, sampled):
        with Terminal(*SHORT) as terminal:
            shown = terminal.type("the 字\r")
            assert "not in this model's 23 characters: '字' (U+5B57) at 4\n" in shown
            assert sampled("--prompt", "the").out in terminal.type("the\r")
            assert terminal.end("\x04") == 0

    def test_ctrl_c_stops_a_text_and_drops_a_line_but_ends_nothing(self):
        with Terminal("--chars", 10**6) as terminal:
            for prompt in ("the old", "a"):
                terminal.type(f"{prompt}\r", until="\n")
                assert terminal.type("", until="e")
                terminal.type("\x03")
            terminal.type("not this", until="this")
            time.sleep(0.5)  # readline shows a key just before it waits for the next
            terminal.type("\x03")
            assert terminal.end("\x04") == 0

    def test_the_arrow_up_brings_the_last_prompt_back(self, sampled):
        pytest.importorskip("readline")
        with Terminal(*SHORT) as terminal:
            alone = sampled("--prompt", "the old").out
            assert alone in terminal.type("the old\r")
            assert alone in terminal.type("\x1b[A\r")
            assert terminal.end("\x04") == 0

    def test_the_model_is_loaded_once(self, monkeypatch, capsys, sampled):
        few = ["--chars", 2]  # within a block: what is cached of one text would serve the next
        alone = [sampled("--prompt", prompt, *few).out for prompt in ("the", "a bri", "the")]
        load, loads = command._load, []
        monkeypatch.setattr(command, "_load", lambda *given: loads.append(given) or load(*given))
        monkeypatch.setattr(command, "require_terminal", lambda: None)
        typed = iter(["the", "a bri", "the", ""])
        monkeypatch.setattr(builtins, "input", lambda _: next(typed))
        assert sampled("--interactive", *few).out == "".join(alone)
        assert len(loads) == 1

    def test_without_a_terminal_it_is_refused(self, refused):
        code, what, why, fix = refused("--interactive")
        assert (code, what) == (2, "--interactive needs a terminal")
        assert why == "stdin is a file or a pipe here"
        assert "--prompt-file - reads a prompt from a pipe" in fix
