"""How the code is kept: sizes, docstrings, and what may be imported from or spelled where.

Which room may import which is checked by import-linter, whose contracts are in pyproject.toml.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import zigpt
from zigpt.cli.commands import command_line

ROOT = Path(__file__).parent.parent
PACKAGE = Path(zigpt.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
MODULE_LINES, FUNCTION_LINES = 300, 60  # aim at 250 and 40
# What a newcomer reads first, in this order.
SPINE = ("gpt/config", "tokenizers/char", "data/batches", "gpt/attention", "gpt/model",
         "training/optim", "training/loop", "generate/sampling", "generate/loop",
         "generate/reference")  # fmt: skip
SPINE_LINES = 1800


def read(path):
    return path.read_text(encoding="utf-8")


def imports(path):
    """Every module that a file imports, and names imported from a package."""
    for node in ast.walk(ast.parse(read(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(path):
    for node in ast.walk(ast.parse(read(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def strings(path):
    """Every string literal, the constant parts of f-strings included."""
    for node in ast.walk(ast.parse(read(path))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
class TestEveryModule:
    def test_is_short_enough_to_read(self, path):
        assert len(read(path).splitlines()) <= MODULE_LINES
        for function in functions(path):
            length = function.end_lineno - function.lineno + 1
            assert length <= FUNCTION_LINES, f"{function.name} has {length} lines"

    def test_explains_its_public_names(self, path):
        tree = ast.parse(read(path))
        assert ast.get_docstring(tree)
        classes = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name[0] != "_"]
        for node in tree.body + [member for owner in classes for member in owner.body]:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                doc = ast.get_docstring(node)
                assert doc, f"{node.name} has no docstring"
                assert doc.split("\n\n")[0].rstrip().endswith((".", ":")), f"{node.name}: {doc!r}"

    def test_lists_what_it_raises(self, path):
        """A public function that raises a refusal by name lists it under `Raises:`."""
        for function in functions(path):
            doc = ast.get_docstring(function) or ""
            for node in ast.walk(function):
                if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                    kind = getattr(node.exc.func, "id", "")
                    if kind.endswith("Error") and kind != "AttributeError":
                        assert function.name[0] == "_" or f"{kind}:" in doc, function.name

    def test_imports_by_whole_names_and_has_a_telling_one(self, path):
        assert all(imports(path))
        assert path.stem not in {"utils", "common", "helpers"}


def test_what_is_read_first_stays_an_afternoon():
    lengths = {name: len(read(PACKAGE / f"{name}.py").splitlines()) for name in SPINE}
    assert sum(lengths.values()) <= SPINE_LINES, lengths


def test_only_the_command_line_spells_its_options():
    """Other rooms name a setting in backquotes; `cli/spelling.py` shows it as the option."""
    options = [option for command in command_line().commands.values() for option in command.params]
    spelled = {spelling for option in options for spelling in option.opts}
    assert {"--run", "--n-layer", "--top-k"} <= spelled
    # The benchmark types commands itself, to time them as a person does.
    exempt = {PACKAGE / "cli", PACKAGE / "bench" / "speed.py", PACKAGE / "bench" / "record.py"}
    for path in MODULES:
        if not exempt & {path, *path.parents}:
            words = re.findall(r"--[a-z]+(?:-[a-z0-9]+)*", "\n".join(strings(path)))
            assert not spelled & set(words), path.relative_to(PACKAGE)


def test_no_test_imports_from_another():
    """What tests share is in plain modules, which stand on their own."""
    for folder in ("tests", "stress"):
        for path in (ROOT / folder).glob("*.py"):
            for name in imports(path):
                assert not re.match(r"tests\.(test_|conftest)", name), f"{path.name}: {name}"


def test_a_unit_test_needs_neither_a_browser_nor_faults():
    program = (
        "import sys; sys.modules.update(playwright=None, stress=None); import pytest; "
        "sys.exit(pytest.main(['-p', 'no:cacheprovider', 'tests/test_tokenizer.py']))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
