"""The Makefile: it lists what it can do, and never continues with half an environment."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parent.parent / "Makefile"
pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("make") is None, reason="there is no make"
)

# Like a Python without ensurepip: `-m venv` leaves an interpreter behind, and fails.
FAILING_VENV = """#!/bin/sh
echo "$@" >> attempts
mkdir -p .venv/bin
printf '#!/bin/sh\\ntouch went-on\\n' > .venv/bin/python
chmod +x .venv/bin/python
exit 1
"""


def make(folder, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "--file", MAKEFILE, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_make_alone_lists_every_target_in_one_line(tmp_path):
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE.read_text(encoding="utf-8"), re.MULTILINE)
    listed = make(tmp_path).stdout.splitlines()
    assert [line.split()[1] for line in listed] == phony[1].split()
    assert all(len(line.split()) > 3 for line in listed)


def test_an_environment_whose_making_failed_is_made_anew_and_never_used(tmp_path):
    for name in ("pyproject.toml", "requirements.lock"):
        (tmp_path / name).touch()
    python = tmp_path / "failing-python"
    python.write_text(FAILING_VENV, encoding="utf-8")
    python.chmod(0o755)
    for target in ("train", "test", "check", "bench"):
        assert make(tmp_path, f"PYTHON={python}", target).returncode != 0
    attempts = (tmp_path / "attempts").read_text(encoding="utf-8").splitlines()
    assert attempts == ["-m venv --clear .venv"] * 4
    assert not (tmp_path / "went-on").exists()
