"""`zigpt verify`: check everything about a run that can be checked on this machine.

With `--json` it prints one object: `run`; `passed`, which is false where a check failed; and
`checks`, a list of objects with `name` (files, vocabulary, causality, sampling, resume), `result`
(passed, failed or unchecked), `detail` and the numbers of that check.
"""

import json
import textwrap
from pathlib import Path

from zigpt.cli.terminal import harmless
from zigpt.training.device import keep_freed_memory, pick_device
from zigpt.verify.all_checks import check_all
from zigpt.verify.check import Check, Result

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
    for check in check_all(path, pick_device(device)):
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
