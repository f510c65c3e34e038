"""The result of a check: passed, failed, or why it could not be checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from zigpt.errors import ZigptError
from zigpt.language import tr

Result = Literal["passed", "failed", "unchecked"]


@dataclass(frozen=True)
class Check:
    """One claim; `detail` tells in sentences what was done and what was measured."""

    name: str
    result: Result
    detail: str
    numbers: Mapping[str, Any] = field(default_factory=dict)  # for programs; JSON can hold them


def unchecked(name: str, reason: str | ZigptError) -> Check:
    """Report why a claim could not be checked."""
    if isinstance(reason, ZigptError):
        reason = sentence(reason)
    return Check(name, "unchecked", reason)


def sentence(error: ZigptError) -> str:
    """Join what happened and why into one sentence."""
    return tr("{what}: {why}.", what=error.what, why=error.why)
