"""The wheel, installed where the checkout cannot be seen: nothing that zigpt needs is left out."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.texts import story

ROOT = Path(__file__).parent.parent
LIST = """
from pathlib import Path
import zigpt
package = Path(zigpt.__file__).parent
print(package)
print(*(file.relative_to(package).as_posix() for file in package.rglob("*") if file.is_file()))
"""


def run(*command, **options):
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, encoding="utf-8", check=False,
        **options,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return the folders of an environment that has the wheel, and its dependencies from here."""
    folder = tmp_path_factory.mktemp("wheel")
    # From a copy: setuptools builds in place, and takes up what an earlier build left there.
    checkout = folder / "checkout"
    shutil.copytree(ROOT / "src", checkout / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, checkout)
    home = folder / "fresh"
    run(sys.executable, "-m", "venv", "--without-pip", home)
    paths = sysconfig.get_paths("venv", vars={"base": str(home), "platbase": str(home)})
    (wheel,) = folder.glob("zigpt-*.whl")
    run(*pip, "--python", home, "install", "--no-deps", "--no-index", wheel)
    # Python does not follow the .pth files of a folder that a .pth file names, so the editable
    # install stays out of sight.
    here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    Path(paths["purelib"], "dependencies.pth").write_text("\n".join(here), encoding="utf-8")
    return paths


@pytest.fixture
def fresh(installed, tmp_path):
    """Run a program of that environment in an empty folder."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    }
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}

    def start(program, *arguments):
        command = Path(installed["scripts"], program)
        return run(command, *arguments, cwd=tmp_path, env=environment)

    return start


def test_every_file_of_the_package_is_installed(installed, fresh):
    package, files = fresh("python", "-c", LIST).splitlines()
    assert Path(package) == Path(installed["purelib"], "zigpt")
    source = ROOT / "src" / "zigpt"
    wanted = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert {"py.typed", "web/static/index.html"} < wanted

    def sources(names):
        return {name for name in names if "__pycache__/" not in name}

    assert sources(files.split()) == sources(wanted)


def test_it_trains_and_writes_from_an_empty_folder(fresh, tmp_path):
    assert "train" in fresh("zigpt", "--help")
    (tmp_path / "book.txt").write_text(story(6000), encoding="utf-8")
    fresh("zigpt", "train", "book.txt", "--preset", "tiny", "--max-steps", "2")
    sample = fresh("zigpt", "sample", "runs/book-tiny", "--prompt", "the ", "--chars", "5")
    assert sample.startswith("the ")
    assert len(sample.removesuffix("\n")) == len("the ") + 5
