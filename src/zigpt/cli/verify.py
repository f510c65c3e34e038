"""`zigpt verify`: check everything about a run that can be checked on this machine.

With `--json` it prints one object: `run`; `passed`, which is false where a check failed; and
`checks`, a list of objects with `name` (files, vocabulary, causality, sampling, resume), `result`
(passed, failed or unchecked), `detail` and the numbers of that check.
"""

import json
from pathlib import Path

from zigpt.cli.layout import column, folded
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
_COUNTS: dict[Result, str] = {
    "passed": mark("{count} passed"),
    "failed": mark("{count} FAILED: {names}"),
    "unchecked": mark("{count} could not be checked: {names}"),
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
            print(column(tr(check.name), 12) + tr(_WORDS[check.result]))
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
    parts = []
    for result, sentence in _COUNTS.items():
        those = [tr(check.name) for check in checks if check.result == result]
        if those or result == "passed":
            parts.append(tr(sentence, count=len(those), names=tr(", ").join(those)))
    return tr("; ").join(parts)
