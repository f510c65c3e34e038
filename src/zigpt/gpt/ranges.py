"""The range of every numeric setting, and the remedy for a value outside it."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from zigpt.language import mark, tr

Problem = tuple[str, str]  # what is wrong with a setting, and a remedy

_MOST = 10**12  # more of anything than a machine can hold or do
_LONGEST_BLOCK = 2**20  # no weight of a modern model grows with the block, so memory sets no limit

_Range = tuple[str, Callable[[float], bool], str]  # in words, as a test, and a value to try
_RATE: _Range = (mark("above 0 and below 100"), lambda x: 0 < x < 100, "3e-4")
_FROM_0: _Range = (mark("from 0 to {most:,}"), lambda x: 0 <= x <= _MOST, "0")
# Every number that is not listed here is a count: at least 1.
_RANGES: Mapping[str, _Range] = {
    "dropout": (mark("from 0 to below 1"), lambda x: 0 <= x < 1, "0.2"),
    "learning_rate": _RATE,
    "final_learning_rate": _RATE,
    "warmup_steps": _FROM_0,
    "decay_steps": _FROM_0,
    "weight_decay": _FROM_0,
    "beta2": (mark("above 0 and below 1"), lambda x: 0 < x < 1, "0.99"),
    "grad_clip": _FROM_0,
    "patience": _FROM_0,
    "temperature": (mark("0 or more, and finite"), lambda x: 0 <= x < math.inf, "0.8"),
    "top_k": (mark("0 or more"), lambda x: x >= 0, "20"),
    "top_p": (mark("above 0 and at most 1"), lambda x: 0 < x <= 1, "0.9"),
    "min_p": (mark("from 0 to 1"), lambda x: 0 <= x <= 1, "0.05"),
    "repetition_penalty": (mark("from 0.01 to 100"), lambda x: 0.01 <= x <= 100, "1.2"),
    "seed": (mark("from 0 to 2^63 - 1"), lambda x: 0 <= x < 2**63, "1337"),
}


def range_problems(settings: Mapping[str, Any]) -> list[Problem]:
    """Name every number that is outside its range; a setting chosen by name has none."""
    problems = []
    for name, value in settings.items():
        most = _LONGEST_BLOCK if name == "block_size" else _MOST
        given = {"name": name, "value": value}
        if name in _RANGES:
            words, holds, example = _RANGES[name]
            if not holds(value):
                wrong = tr("{name} ({value}) must be {range}", **given, range=tr(words, most=_MOST))
                problems.append((wrong, tr("try `{name}` {value}", name=name, value=example)))
        elif isinstance(value, str):
            continue
        elif value < 1:
            wrong = tr("{name} ({value}) must be at least 1", **given)
            problems.append((wrong, tr("raise `{name}`", name=name)))
        elif value > most:
            wrong = tr("{name} ({value}) must be at most {most:,}", **given, most=most)
            problems.append((wrong, tr("lower `{name}`", name=name)))
    if not problems and "parts" in settings:
        problems += _parts_problems(settings["parts"], settings["batch_size"])
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
    problem = tr(
        "n_embd ({n_embd}) must be divisible by {name} ({divisor})",
        n_embd=n_embd,
        name=name,
        divisor=divisor,
    )
    if not lower:
        return [(problem, tr("try `{name}` {value}", name="n_embd", value=divisor))]
    remedy = tr("try `n_embd` {lower} or {higher}", lower=lower, higher=lower + divisor)
    return [(problem, remedy)]


def _parts_problems(parts: int, batch_size: int) -> list[Problem]:
    """Name a number of parts that a batch cannot be halved into again and again."""
    if parts & (parts - 1) == 0 and parts <= batch_size:
        return []
    problem = tr(
        "parts ({parts}) must be a power of two, and at most the batch size ({batch_size})",
        parts=parts,
        batch_size=batch_size,
    )
    largest = 1 << (min(parts, batch_size).bit_length() - 1)
    return [(problem, tr("try `{name}` {value}", name="parts", value=largest))]
