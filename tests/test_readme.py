"""The READMEs say what is true, and both say the same."""

import re
import shlex
from pathlib import Path

import pytest

from tests.measured import READMES, filled
from tests.texts import story
from zigpt.cli.commands import command_line
from zigpt.cli.main import main
from zigpt.gpt.config import PRESETS, GPTConfig

ROOT = Path(__file__).parent.parent
ENGLISH, CHINESE = (
    (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md")
)
OPTIONS = {
    spelled
    for command in command_line().commands.values()
    for option in command.params
    for spelled in option.opts
}


@pytest.mark.parametrize("readme", [ENGLISH, CHINESE], ids=["English", "Chinese"])
class TestEachReadme:
    def test_names_only_options_that_exist(self, readme):
        mentioned = set(re.findall(r"--[a-z][a-z0-9-]+", readme))
        assert mentioned <= OPTIONS | {"--help"}

    def test_names_only_commands_that_exist(self, readme):
        code = re.findall(r"```\n.*?```|`[^`\n]+`", readme, re.DOTALL)
        named = set(re.findall(r"\bzigpt ([a-z]+)", "\n".join(code)))
        assert named == set(command_line().commands)

    def test_shows_every_module_of_the_package(self, readme):
        tree = readme.split("src/zigpt/\n")[1].split("```")[0]
        for path in (ROOT / "src" / "zigpt").rglob("*.py"):
            if path.name.startswith("__"):
                continue
            relative = path.relative_to(ROOT / "src" / "zigpt")
            shown = f"{relative.parts[0]}/" if len(relative.parts) > 1 else relative.name
            assert shown in tree.split(), relative

    def test_counts_parameters_as_the_config_does(self, readme):
        for count in [*GPTConfig().parameter_table().values(), GPTConfig().n_parameters]:
            assert f"{count:,}" in readme

    def test_names_every_preset(self, readme):
        for preset in ("auto", *PRESETS):
            assert preset in readme

    def test_has_no_hole_left(self, readme):
        assert not re.findall(r"@[A-Z]+@", readme)

    def test_is_short(self, readme):
        assert len(readme.splitlines()) <= 220

    def test_links_only_to_files_that_exist(self, readme):
        for target in re.findall(r"\]\(([^)#]+)\)", readme):
            assert target.startswith("http") or (ROOT / target).exists(), target


@pytest.mark.parametrize("language", READMES)
def test_every_measured_number_is_that_of_the_measurements(language):
    assert filled(language) == READMES[language].read_text(encoding="utf-8")


@pytest.mark.parametrize("readme", [ENGLISH, CHINESE], ids=["English", "Chinese"])
def test_every_command_works_as_it_is_typed(readme, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^\.venv/bin/zigpt (.*)$", readme, re.MULTILINE)
    assert len(lines) == 4
    for line in lines:
        words = shlex.split(line, comments=True)
        for word in words:
            if word.endswith(".txt"):
                Path(word).write_text("Once 黛玉 " * 300 + story(6000), encoding="utf-8")
        if words[0] == "web":  # tests/test_web_page.py opens it
            continue
        if words[0] == "train":  # as `auto` does for a long text, in no time
            words[words.index("--minutes") : words.index("--run")] = ["--max-steps", "2"]
        assert main(words) == 0
        assert capsys.readouterr().out


@pytest.mark.parametrize("name", ["guide.md", "guide.zh-CN.md"])
def test_the_example_in_python_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("book.txt").write_text("Once upon a time 床前明月光 " * 300 + story(3000), "utf-8")
    guide = (ROOT / "docs" / name).read_text(encoding="utf-8")
    program = guide.split("```python\n")[1].split("```")[0]
    assert program.count('preset="tiny"') == 1
    exec(program.replace('preset="tiny"', 'preset="tiny", max_steps=2'), {})
    assert len(capsys.readouterr().out.splitlines()) > 5


def test_both_guides_have_the_same_sections_tables_and_code():
    texts = [(ROOT / "docs" / name).read_text("utf-8") for name in ("guide.md", "guide.zh-CN.md")]
    for pattern in (r"^## ", r"^\|", r"^```", r"^\*\*"):
        count = [len(re.findall(pattern, text, re.MULTILINE)) for text in texts]
        assert count[0] == count[1], pattern


def test_both_languages_have_the_same_sections_tables_and_code():
    for pattern in (r"^## ", r"^\|", r"^```"):
        count = [len(re.findall(pattern, text, re.MULTILINE)) for text in (ENGLISH, CHINESE)]
        assert count[0] == count[1], pattern


def test_both_languages_give_the_same_commands():
    def commands(text):
        shell = r"(?:make|zigpt|python v2\.py)(?: (?:[a-z]+|[A-Z]+|--[a-z-]+))*"
        return sorted(set(re.findall(rf"`({shell})`", text)))

    assert commands(ENGLISH) == commands(CHINESE)
    assert len(commands(ENGLISH)) > 8
