"""The result of a check: passed, failed, or the reason why it could not be made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from zigpt.errors import ZigptError

Result = Literal["passed", "failed", "unchecked"]


@dataclass(frozen=True)
class Check:
    """One claim; `detail` says in sentences what was done and what was measured."""

    name: str
    result: Result
    detail: str
    numbers: Mapping[str, Any] = field(default_factory=dict)  # for programs; JSON can hold them


def unchecked(name: str, reason: str | ZigptError) -> Check:
    """Say why a check could not be made."""
    if isinstance(reason, ZigptError):
        reason = sentence(reason)
    return Check(name, "unchecked", reason)


def sentence(error: ZigptError) -> str:
    """Put what happened and why into one sentence."""
    return f"{error.what}: {error.why}."
