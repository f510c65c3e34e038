"""Who may import whom, how long things may grow, and that every public name explains itself."""

import ast
from pathlib import Path

import pytest

import zigpt

PACKAGE = Path(zigpt.__file__).parent
FLOORS = {
    "errors": 0,
    "config": 1, "tokenizer": 1,
    "corpus": 2, "attention": 2, "device": 2, "subwords": 2,
    "model": 3, "optim": 3, "baselines": 3, "survey": 3,
    "generate": 4, "anatomy": 4, "leaks": 4, "train": 4, "verdict": 4,
    "runs": 5, "plan": 5,
    "bench": 6, "proofs": 6, "web": 6,
    "cli": 7,
}  # fmt: skip
# Inside a folder the same: each module imports only from those before it.
INSIDE = {
    "anatomy": [
        "activations",
        "predictions",
        "influence",
        "layers",
        "copies",
        "origins",
        "trace",
    ],
    "bench": ["plain", "rounds", "limits", "cost", "speed", "saving", "growth", "plot"],
    "corpus": ["encodings", "decode", "files", "stored", "source", "batches"],
    "generate": ["sampling", "loop", "graph", "quick", "reference"],
    "proofs": ["check", "files", "vocabulary", "causality", "sampling", "resume"],
    "runs": [
        "storage",
        "lock",
        "paths",
        "foreign",
        "model_file",
        "saved_model",
        "checkpoint",
        "plot",
        "record",
        "custody",
        "wish",
        "folder",
        "own_text",
    ],
    "cli": [
        "options",
        "terminal",
        "screen",
        "source",
        "signals",
        "again",
        "beginning",
        "learning",
        "train",
        "sample",
        "eval",
        "verify",
        "plan",
        "explain",
        "bench",
        "web",
        "main",
    ],
    "web": [
        "guard",
        "protocol",
        "desk",
        "shelf",
        "watch",
        "questions",
        "drawing",
        "library",
        "looking",
        "inside",
        "training",
        "site",
        "app",
        "serve",
    ],
}
WITHOUT_TORCH = {"errors", "config", "tokenizer", "corpus", "subwords", "baselines", "survey"}
LIGHT = {
    *(("cli", name) for name in ("main", "options", "signals", "train")),
    *(("runs", name) for name in ("storage", "lock", "paths", "model_file")),
}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__main__.py")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            yield node.module or ""


def functions(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def parts(path):
    return path.relative_to(PACKAGE).with_suffix("").parts


@pytest.mark.parametrize("path", MODULES, ids=lambda path: "/".join(parts(path)))
class TestEveryModule:
    def test_imports_only_from_lower_floors(self, path):
        mine = parts(path)
        for name in imports(path):
            theirs = name.split(".")
            if theirs[0] != "zigpt" or len(theirs) == 1:
                continue
            if theirs[1] == mine[0]:
                if mine[1] != "__init__" and len(theirs) > 2:
                    order = INSIDE[mine[0]]
                    assert order.index(theirs[2]) < order.index(mine[1]), f"imports {name}"
            else:
                assert FLOORS[theirs[1]] < FLOORS[mine[0]], f"imports {name}"

    def test_does_without_torch_where_it_should(self, path):
        if parts(path)[0] in WITHOUT_TORCH or parts(path) in LIGHT:
            assert "torch" not in {name.split(".")[0] for name in imports(path)}

    def test_is_short_enough_to_read(self, path):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
        for function in functions(path):
            length = (function.end_lineno or 0) - function.lineno + 1
            assert length <= 60, f"{function.name} has {length} lines"

    def test_explains_its_public_names(self, path):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree)
        classes = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name[0] != "_"]
        for node in tree.body + [member for owner in classes for member in owner.body]:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                doc = ast.get_docstring(node)
                assert doc, f"{node.name} has no docstring"
                assert doc.split("\n\n")[0].rstrip().endswith((".", ":")), f"{node.name}: {doc!r}"

    def test_says_what_it_raises(self, path):
        """A function that raises a refusal by name lists it under `Raises:`."""
        for function in functions(path):
            if function.name.startswith("_"):
                continue
            doc = ast.get_docstring(function) or ""
            for node in ast.walk(function):
                if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                    kind = getattr(node.exc.func, "id", "")
                    if kind.endswith("Error") and kind != "AttributeError":
                        assert f"{kind}:" in doc, f"{function.name} raises {kind}"


def test_every_module_has_a_floor():
    assert {parts(path)[0] for path in MODULES} - {"__init__"} == set(FLOORS)
    for folder, order in INSIDE.items():
        inside = {parts(p)[1] for p in MODULES if parts(p)[0] == folder} - {"__init__"}
        assert inside == set(order)
