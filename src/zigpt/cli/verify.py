"""`zigpt verify`: check everything about a run that can be checked on this machine.

With `--json` it prints one object: `run`; `passed`, which is false where a check failed; and
`checks`, a list of objects with `name` (files, vocabulary, causality, sampling, resume), `result`
(passed, failed or unchecked), `detail` and the numbers of that check.
"""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path

import torch

from zigpt.cli.terminal import harmless
from zigpt.data.batches import Corpus
from zigpt.errors import ModelFileError, TextError
from zigpt.formats.safetensors import read_lazily
from zigpt.gpt.config import TrainConfig
from zigpt.runs.training_text import find_again, text_of
from zigpt.training.device import keep_freed_memory, pick_device
from zigpt.verify.causality import check_causality, take_windows
from zigpt.verify.check import Check, Result, sentence, unchecked
from zigpt.verify.precision import check_precision
from zigpt.verify.resume import check_resume
from zigpt.verify.run_files import Found, check_run_files
from zigpt.verify.vocabulary import check_vocabulary

_WORDS: dict[Result, str] = {
    "passed": "passed",
    "failed": "FAILED",
    "unchecked": "could not be checked",
}
_WIDTH = 100
_FAILED = 3  # the exit code of a run or model that is refused


def run(path: Path, device: str, as_json: bool) -> int:
    """Print each check as soon as it is made. Returns the exit code: 0 where nothing failed."""
    keep_freed_memory()
    checks: list[Check] = []
    for check in _checks(path, pick_device(device)):
        checks.append(check)
        if not as_json:
            print(f"{check.name:<12}{_WORDS[check.result]}")
            detail = harmless(check.detail)  # a path may hold control characters
            print(textwrap.fill(detail, _WIDTH, initial_indent="  ", subsequent_indent="  "))
            print(flush=True)
    failed = [check.name for check in checks if check.result == "failed"]
    if as_json:
        parts = [
            {"name": c.name, "result": c.result, "detail": c.detail, **c.numbers} for c in checks
        ]
        whole = {"run": str(path), "passed": not failed, "checks": parts}
        print(harmless(json.dumps(whole, ensure_ascii=False)))
    else:
        print(_summary(checks))
    return _FAILED if failed else 0


def _checks(path: Path, device: torch.device) -> Iterator[Check]:
    found = check_run_files(path, device)
    yield found.check
    if found.saved is None:
        for name in ("vocabulary", "causality", "sampling", "resume"):
            yield unchecked(name, "The model file cannot be used.")
        return
    saved = found.saved
    config = found.run.record.training if found.run else TrainConfig()
    vocabulary, corpus = _text(found)
    yield vocabulary
    windows = take_windows(saved.model.config, config, corpus, device)
    yield check_causality(saved, config, windows)
    yield check_precision(saved.model, read_lazily(path).weights, windows.inputs[0])
    yield _resume(found, corpus, device)


def _text(found: Found) -> tuple[Check, Corpus | None]:
    """Find the text of a run; the corpus is None unless it is the right text."""
    assert found.saved
    try:
        recorded = found.run.record.text if found.run else text_of(found.saved.about)
        source = find_again(recorded)
    except (TextError, ModelFileError) as error:
        return unchecked("vocabulary", f"{sentence(error)} To have it checked, {error.fix}."), None
    check = check_vocabulary(source, recorded["sha256"], found.saved.tokenizer)
    if check.result != "passed":
        return check, None
    return check, Corpus.from_text(source.text, found.saved.tokenizer)


def _resume(found: Found, corpus: Corpus | None, device: torch.device) -> Check:
    if found.run is None:
        return unchecked("resume", "Without a run.json the settings of the training are unknown.")
    if corpus is None:
        return unchecked("resume", "Without its text there is nothing to train on.")
    return check_resume(*found.run.record.configs, corpus, device)


def _summary(checks: list[Check]) -> str:
    """Count the results in one line."""
    names = {kind: [c.name for c in checks if c.result == kind] for kind in _WORDS}
    parts = [f"{len(names['passed'])} passed"]
    parts += [
        f"{len(names[kind])} {_WORDS[kind]}: {', '.join(names[kind])}"
        for kind in ("failed", "unchecked")
        if names[kind]
    ]
    return "; ".join(parts)
