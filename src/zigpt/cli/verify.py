"""`zigpt verify`: check everything about a run that can be checked on this machine.

With `--json` it prints one object: `run`; `passed`, which is false where a check failed; and
`checks`, a list of objects with `name` (files, vocabulary, causality, sampling, resume), `result`
(passed, failed or unchecked), `detail` and the numbers of that check.
"""

import json
from pathlib import Path

from zigpt.cli.screen import folded
from zigpt.cli.terminal import harmless
from zigpt.language import mark, tr
from zigpt.training.device import keep_freed_memory, pick_device
from zigpt.verify.all_checks import check_all
from zigpt.verify.check import Check, Result

_WORDS: dict[Result, str] = {
    "passed": mark("passed"),
    "failed": mark("FAILED"),
    "unchecked": mark("could not be checked"),
}
_WIDTH = 98
_FAILED = 3  # the exit code of a run or model that is refused


def run(path: Path, device: str, as_json: bool) -> int:
    """Print each check as soon as it is made. Returns the exit code: 0 where nothing failed."""
    keep_freed_memory()
    checks: list[Check] = []
    for check in check_all(path, pick_device(device)):
        checks.append(check)
        if not as_json:
            print(f"{check.name:<12}{tr(_WORDS[check.result])}")
            detail = harmless(check.detail)  # a path may hold control characters
            print(*(f"  {line}" for line in folded(detail, _WIDTH)), sep="\n")
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
    parts = [tr("{count} passed", count=len(names["passed"]))]
    for kind in ("failed", "unchecked"):
        if those := names[kind]:
            word = tr(_WORDS[kind])
            parts.append(f"{len(those)} {word}: {', '.join(those)}")
    return "; ".join(parts)
