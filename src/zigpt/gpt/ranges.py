"""The range of every numeric setting, and the remedy for a value outside it."""

import math
from collections.abc import Callable, Mapping
from typing import Any

Problem = tuple[str, str]  # what is wrong with a setting, and a remedy

_MOST = 10**12  # more of anything than a machine can hold or do
_LONGEST_BLOCK = 2**20  # no weight of a modern model grows with the block, so memory sets no limit

_Range = tuple[str, Callable[[float], bool], str]  # in words, as a test, and a value to try
_RATE: _Range = ("above 0 and below 100", lambda x: 0 < x < 100, "3e-4")
_FROM_0: _Range = (f"from 0 to {_MOST:,}", lambda x: 0 <= x <= _MOST, "0")
# Every number that is not listed here is a count: at least 1.
_RANGES: Mapping[str, _Range] = {
    "dropout": ("from 0 to below 1", lambda x: 0 <= x < 1, "0.2"),
    "learning_rate": _RATE,
    "final_learning_rate": _RATE,
    "warmup_steps": _FROM_0,
    "decay_steps": _FROM_0,
    "weight_decay": _FROM_0,
    "beta2": ("above 0 and below 1", lambda x: 0 < x < 1, "0.99"),
    "grad_clip": _FROM_0,
    "patience": _FROM_0,
    "temperature": ("0 or more, and finite", lambda x: 0 <= x < math.inf, "0.8"),
    "top_k": ("0 or more", lambda x: x >= 0, "20"),
    "top_p": ("above 0 and at most 1", lambda x: 0 < x <= 1, "0.9"),
    "seed": ("from 0 to 2^63 - 1", lambda x: 0 <= x < 2**63, "1337"),
}


def range_problems(settings: Mapping[str, Any]) -> list[Problem]:
    """Name every number that is outside its range; a setting chosen by name has none."""
    problems = []
    for name, value in settings.items():
        most = _LONGEST_BLOCK if name == "block_size" else _MOST
        if name in _RANGES:
            words, holds, example = _RANGES[name]
            if not holds(value):
                problems.append((f"{name} ({value}) must be {words}", f"try `{name}` {example}"))
        elif isinstance(value, str):
            continue
        elif value < 1:
            problems.append((f"{name} ({value}) must be at least 1", f"raise `{name}`"))
        elif value > most:
            problems.append((f"{name} ({value}) must be at most {most:,}", f"lower `{name}`"))
    return problems


def is_possible(name: str, value: float) -> bool:
    """Whether a setting may have this value."""
    return not range_problems({name: value})


def divisibility_problems(n_embd: int, n_head: int, in_pairs: bool) -> list[Problem]:
    """Name a width that cannot be divided among the heads, by whole channels or by pairs."""
    divisor, name = (2 * n_head, "2 x n_head") if in_pairs else (n_head, "n_head")
    possible = 1 <= divisor <= _MOST and 1 <= n_embd <= _MOST
    if not possible or n_embd % divisor == 0:
        return []
    lower = n_embd // divisor * divisor
    nearest = f"{lower} or {lower + divisor}" if lower else str(divisor)
    problem = f"n_embd ({n_embd}) must be divisible by {name} ({divisor})"
    return [(problem, f"try `n_embd` {nearest}")]
