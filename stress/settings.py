"""Settings, possible and impossible, drawn from the config dataclasses themselves.

The promise: training makes its steps, or exit code 2 names all that is wrong at once. A model
too large for the machine is exit code 7, a block too long for the text 3, divergence 6.
"""

import contextlib
import io
import random
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import get_args
from unittest.mock import patch

from stress.report import Report, each_case
from zigpt.cli.main import main
from zigpt.gpt.config import GPTConfig, TrainConfig

_COUNTS = ("0", "-1", "-99999999999999999999", "1000000000001", "9" * 40, "1" + "0" * 400)
_SHARES = ("-0.1", "1", "1.5", "inf", "-inf", "nan", "1e400")
GOOD: Mapping[str, tuple[str, ...]] = {
    "block_size": ("1", "2", "7", "16", "1048576"), "n_layer": ("1", "2", "1000000000000"),
    "n_head": ("1", "2", "4"), "n_embd": ("8", "16", "1000000000000"),
    "dropout": ("0", "0.5", "0.999"), "batch_size": ("1", "3", "1000000000000"),
    "learning_rate": ("1e-12", "0.01"), "final_learning_rate": ("1e-12", "0.01"),
    "warmup_steps": ("0", "1", "1000000000000"), "decay_steps": ("0", "1", "1000000000000"),
    "weight_decay": ("0", "0.1", "1e12"),
    "beta2": ("1e-6", "0.5", "0.999999"), "grad_clip": ("0", "1e-12", "1", "1e12"),
    "eval_interval": ("1", "2", "1000000000000"), "eval_chars": ("1", "100", "1000000000000"),
    "patience": ("0", "1", "1000000000000"), "seed": ("0", "9223372036854775807"),
    "parts": ("1",),  # more are bad where the batch is smaller
}  # fmt: skip
BAD: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("n_layer", "n_head", "n_embd", "batch_size", "max_steps"), _COUNTS),
    **dict.fromkeys(("eval_interval", "eval_chars", "parts"), _COUNTS),
    "block_size": (*_COUNTS, "1048577"),
    "dropout": _SHARES,
    "beta2": ("0", *_SHARES),
    **dict.fromkeys(
        ("learning_rate", "final_learning_rate"), ("0", "-1", "100", "inf", "-inf", "nan")
    ),
    **dict.fromkeys(("weight_decay", "grad_clip"), ("-1e-9", "1.1e12", "inf", "-inf", "nan")),
    **dict.fromkeys(("warmup_steps", "decay_steps", "patience"), _COUNTS[1:]),
    "seed": ("-1", "9223372036854775808", "9" * 400),
}
CHOICES = {
    part.name: get_args(part.type)
    for config in (GPTConfig, TrainConfig)
    for part in fields(config)
    if get_args(part.type)
}


@contextlib.contextmanager
def shortened() -> Iterator[None]:
    """Leave out of a training run what only takes time: timed steps, samples, the plot."""
    with (
        patch("zigpt.runs.session._Training._write", lambda *arguments: "It writes."),
        patch("zigpt.training.plan.time_step", lambda *arguments: 0.001),
        patch("zigpt.runs.loss_plot.draw_losses", lambda *arguments: b""),
    ):
        yield


def outcome(text: Path, run: Path, good: Mapping[str, str], bad: Mapping[str, str]) -> str:
    """Train two steps with these settings; return how it ended, or "wrong: ..." for a bug."""
    shutil.rmtree(run, ignore_errors=True)
    settings = {"n_layer": "1", "n_embd": "16", "n_head": "2", "block_size": "8", "max_steps": "2"}
    settings |= {"batch_size": "2", "eval_interval": "1", "eval_chars": "40", **good, **bad}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    out, error = io.StringIO(), io.StringIO()
    with shortened(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        code = main(
            ["train", str(text), "--preset=tiny", "--run", str(run), "--device=cpu", *words]
        )
    lines = error.getvalue().splitlines()
    if code == 0 and not bad and not lines:
        return "trained"
    if (
        code == 6 and not bad and "diverged in step" in lines[0]
    ):  # for example a weight decay of 1e12
        return "diverged"
    if len(lines) != 3 or run.exists() or [line.split()[0] for line in lines] != _HEADS:
        return f"wrong: exit code {code}, {error.getvalue()[:500]!r}"
    if bad:
        named = {problem.split()[0] for problem in lines[1].removeprefix("why: ").split("; ")}
        complete = code == 2 and named - {"n_embd"} == set(bad) - {"n_embd"}
        return "refused" if complete else f"wrong: exit code {code}, {named} for {set(bad)}"
    expected = {
        2: "must be divisible by", 3: "the largest is", 7: "this run needs about",
    }  # fmt: skip
    if code in expected and expected[code] in lines[1]:
        return f"refused with {code}"
    return f"wrong: exit code {code}, {lines}"


_HEADS = ["error:", "why:", "fix:"]


def any_settings(choose: random.Random) -> tuple[dict[str, str], dict[str, str]]:
    """Draw possible settings and, half of the time, a few impossible ones as well."""
    names = choose.sample(sorted(GOOD), choose.randrange(6))
    good = {name: choose.choice(GOOD[name]) for name in names}
    good |= {name: choose.choice(CHOICES[name]) for name in CHOICES if choose.random() < 0.3}
    wrong = choose.sample(sorted(BAD), choose.randrange(1, 5)) if choose.random() < 0.5 else []
    return good, {name: choose.choice(BAD[name]) for name in wrong}


def campaign(
    folder: Path, seed: int, cases: int | None = None, seconds: float | None = None
) -> Report:
    """Train with settings of every kind, or be refused."""
    text = folder / "book.txt"
    text.write_text("a stone in the river, a lamp on the old bridge\n" * 20)
    outcome(text, folder / "run", {}, {})  # so that no case waits for torch
    report = Report()
    for name, choose in each_case(report, seed, cases, seconds):
        good, bad = any_settings(choose)
        ended = outcome(text, folder / "run", good, bad)
        if ended.startswith("wrong"):
            report.failures.append(f"{name} {good} {bad}: {ended}")
        report.count(ended.split(":")[0])
    return report
