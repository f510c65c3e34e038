"""Damaged and malicious model files, given to `sample`.

The promise: it writes, or refuses with exit code 3 in three lines, within 2 seconds and 256 MB; and
no code in the file is run.
"""

import contextlib
import io
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from stress.mutations import CHARACTERS, mutate
from stress.report import Report, each_case
from stress.watch import watched
from zigpt.cli.main import guarded
from zigpt.cli.sample import run
from zigpt.formats.safetensors import ModelFile, pack
from zigpt.gpt.config import GPTConfig
from zigpt.tokenizers.char import CharTokenizer

MOST_MEMORY = 256 << 20
FOUND = Path(__file__).parent / "found"  # files that once broke a promise; a test tries each
_KEEP = 5  # files of one campaign: most of them break the same promise


def good_file(
    folder: Path, architecture: Any = "classic", characters: str = CHARACTERS, text: Any = None
) -> Path:
    """Write a tiny model of these characters; `text` describes what it was trained on."""
    config = GPTConfig(
        len(characters), 4, n_layer=1, n_head=2, n_embd=8, dropout=0.0, architecture=architecture
    )
    source = np.random.default_rng(0)
    weights = {
        name: source.normal(size=shape).astype(np.float32)
        for name, shape in config.shapes().items()
    }
    path = folder / f"{architecture}.safetensors"
    about = {"text": text or {"sha256": "0", "paths": []}}
    path.write_bytes(pack(ModelFile(config, weights, CharTokenizer(characters), about)))
    return path


def campaign(
    folder: Path, seed: int, cases: int | None = None, seconds: float | None = None
) -> Report:
    """Run `sample` on damaged files; those that break the promise are shrunk and kept."""
    good = [good_file(folder, kind).read_bytes() for kind in ("classic", "modern")]
    get_ready(folder)
    report, found = Report(), dict[str, bytes]()
    for name, choose in each_case(report, seed, cases, seconds):
        done, data = mutate(choose, choose.choice(good))
        report.forget_memory()
        code, wrong = outcome(folder, data)
        report.count(str(code))
        if wrong:
            report.failures.append(f"{name} ({done}): {wrong}")
            found[f"{done}-{name.replace('/', '-')}"] = data
    for case, data in list(found.items())[:_KEEP]:
        small = shrink(data, lambda shorter: outcome(folder, shorter)[1] is not None)
        (FOUND / case).write_bytes(small)
    if report.most_memory > MOST_MEMORY:
        report.failures.append(f"a case took {report.most_memory >> 20} MB")
    return report


def get_ready(folder: Path) -> None:
    """Write and refuse once, so that nothing is imported while it is watched."""
    for kind in ("classic", "modern"):
        assert outcome(folder, good_file(folder, kind).read_bytes(), watch=False) == (0, None)
    assert outcome(folder, b"x", watch=False) == (3, None)


def outcome(folder: Path, data: bytes, watch: bool = True) -> tuple[int, str | None]:
    """The exit code of `sample` on these bytes, and the promise it broke, if any."""
    path = folder / "case.safetensors"
    path.write_bytes(data)
    with watched(folder) if watch else contextlib.nullcontext([]) as seen:
        code, error = _sample(path)
    return code, _broken(code, error, seen)


def shrink(data: bytes, breaks: Callable[[bytes], bool], seconds: float = 20.0) -> bytes:
    """Remove pieces, large ones first, while the rest still breaks the promise."""
    end, size = time.monotonic() + seconds, len(data) // 2
    while size:
        at = 0
        while at < len(data) and time.monotonic() < end:
            shorter = data[:at] + data[at + size :]
            if breaks(shorter):
                data = shorter
            else:
                at += size
        size //= 2
    return data


def _sample(path: Path) -> tuple[int, str]:
    """`zigpt sample` without the parser, which would take most of the time."""
    out, error = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        code = guarded(lambda: run(path, chars=6))
    return code, error.getvalue()


def _broken(code: int, error: str, seen: list[str]) -> str | None:
    if seen:
        return f"did {seen[0]}"
    lines = error.splitlines()
    if code == 0 and not lines:
        return None
    starts = ("error: ", "why: ", "fix: ")
    is_refusal = len(lines) == 3 and all(map(str.startswith, lines, starts))
    return None if code == 3 and is_refusal else f"exit code {code}, printed {error[:300]!r}"
