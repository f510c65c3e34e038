"""The READMEs say what is true, and both say the same."""

import re
from pathlib import Path

import pytest

from zigpt.cli.commands import zigpt
from zigpt.gpt.config import PRESETS, GPTConfig

ROOT = Path(__file__).parent.parent
ENGLISH, CHINESE = (
    (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md")
)
OPTIONS = {
    spelled
    for command in zigpt.commands.values()
    for option in command.params
    for spelled in option.opts
}


@pytest.mark.parametrize("readme", [ENGLISH, CHINESE], ids=["English", "Chinese"])
class TestEachReadme:
    def test_names_only_options_that_exist(self, readme):
        mentioned = set(re.findall(r"--[a-z][a-z0-9-]+", readme))
        assert mentioned <= OPTIONS

    def test_names_only_commands_that_exist(self, readme):
        code = re.findall(r"```\n.*?```|`[^`\n]+`", readme, re.DOTALL)
        named = set(re.findall(r"\bzigpt ([a-z]+)", "\n".join(code)))
        assert named == set(zigpt.commands)

    def test_shows_every_module_of_the_package(self, readme):
        tree = readme.split("src/zigpt/\n")[1].split("```")[0]
        for path in (ROOT / "src" / "zigpt").rglob("*.py"):
            if path.name.startswith("__"):
                continue
            relative = path.relative_to(ROOT / "src" / "zigpt")
            # runs/ and cli/ are shown as folders.
            assert str(relative) in tree or f"{relative.parts[0]}/  " in tree, relative

    def test_counts_parameters_as_the_config_does(self, readme):
        for count in [*GPTConfig().parameter_table().values(), GPTConfig().n_parameters]:
            assert f"{count:,}" in readme

    def test_names_every_preset(self, readme):
        for preset in ("auto", *PRESETS):
            assert preset in readme

    def test_has_no_hole_left(self, readme):
        assert not re.findall(r"@[A-Z]+@", readme)

    def test_links_only_to_files_that_exist(self, readme):
        for target in re.findall(r"\]\(([^)#]+)\)", readme):
            assert target.startswith("http") or (ROOT / target).exists(), target


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
