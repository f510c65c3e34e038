"""Put v2.py beside the benchmark, whose plain side it is; all else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildPy(build_py):
    """Build as usual, and copy v2.py."""

    def run(self) -> None:
        """Copy v2.py into wheels only: an editable install finds it at the root."""
        super().run()
        if not self.editable_mode:
            self.copy_file("v2.py", str(Path(self.build_lib, "zigpt", "bench", "v2.py")))


setup(cmdclass={"build_py": BuildPy})
