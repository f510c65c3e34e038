"""`zigpt bench`: this machine's own numbers against its own limits."""

import json
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import torch

from zigpt import __version__
from zigpt.bench.growth import Growth, measure_growth, standard_cases
from zigpt.bench.growth_plot import draw_growth
from zigpt.bench.limits import measure_limits
from zigpt.bench.rounds import Comparison, shown
from zigpt.bench.saving import measure_saving
from zigpt.bench.speed import measure_start, measure_text, measure_training, measure_writing
from zigpt.cli.options import BenchOptions, BenchPart
from zigpt.cli.screen import Screen
from zigpt.errors import UsageError
from zigpt.runs.paths import free_path
from zigpt.runs.preflight import require_free
from zigpt.storage import storage_errors, write_file
from zigpt.training.device import (
    describe,
    keep_freed_memory,
    pick_device,
    pick_precision,
    precision_name,
)

_Part = Callable[[torch.device, int], Iterator[Comparison]]
_PARTS: Mapping[BenchPart, _Part] = {
    "limits": measure_limits,
    "training": measure_training,
    "writing": measure_writing,
    "text": measure_text,
    "start": measure_start,
}


def run(options: BenchOptions) -> int:
    """Measure, print and keep. Returns the exit code.

    Raises:
        UsageError: there is to be no round at all.
    """
    if options.rounds < 1:
        raise UsageError(
            f"--rounds {options.rounds} measures nothing",
            "every side needs at least one turn",
            "try --rounds 3",
        )
    device = pick_device(options.device)
    path = options.run or free_path("bench")
    require_free(path)
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()  # as a training does
    screen = Screen(on_stderr=options.json)
    precision = precision_name(pick_precision(device))
    screen.say(
        f"{describe(device)}, {precision}; {options.rounds} x every side of a table, in turns",
        "",
    )
    about = {
        "zigpt": __version__,
        "torch": torch.__version__,
        "machine": f"{platform.machine()} {platform.system()}, {describe(device)}",
        "precision": precision,
        "rounds": options.rounds,
    }
    found: list[dict[str, Any]] = []
    report = ""

    def keep(growth: Growth | None = None) -> None:
        """Write down what has been measured so far: some of it took minutes."""
        nonlocal report
        rest = {"comparisons": found, "growth": growth and _growth_json(growth)}
        report = json.dumps({**about, **rest}, indent=2)
        write_file(path / "bench.json", report.encode())

    keep()
    parts: Mapping[BenchPart, _Part] = {**_PARTS, "saving": partial(measure_saving, path)}
    for part in options.parts or parts:
        if part != "growth":
            for comparison in parts[part](device, options.rounds):
                screen.say(*comparison.lines(), "")
                found.append(_comparison_json(comparison))
                keep()
    if not options.parts or "growth" in options.parts:
        with storage_errors(path):
            growth = measure_growth(standard_cases(), device, options.rounds, path)
        screen.say(*_growth_lines(growth), "")
        write_file(path / "growth.png", draw_growth(growth))
        keep(growth)
    screen.say(f"in {path}: {', '.join(sorted(file.name for file in path.iterdir()))}")
    if options.json:
        print(report)
    return 0


def _growth_lines(growth: Growth) -> list[str]:
    prices = growth.prices
    lines = [
        f"{'growth, seconds per training step':<44}{'median':>12}{'formula':>12}{'off by':>12}"
    ]
    for case, step, off in zip(growth.cases, growth.steps, growth.deviations, strict=True):
        predicted = step.seconds * (1 + off)
        name = f"{case.size:,} {'characters of ' * (case.sweep != 'parameters')}{case.sweep}"
        lines.append(f"  {name:<42}{shown(step.seconds):>12}{shown(predicted):>12}{off:>+12.0%}")
    return [
        *lines,
        f"  seconds = FLOP x 1 / {1e-9 / prices.flop:,.0f} billion + attention scores x "
        f"{1e9 * prices.score:.2f} ns + activations x {1e9 * prices.activation:.1f} ns;",
        "  each line is predicted from all the others",
    ]


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    sides = {
        side: {
            "median": comparison.median(side),
            "values": values,
            "times_reference": comparison.reference
            and comparison.times_better(side, comparison.reference),
            "share_of_limit": comparison.limit and comparison.times_better(side, comparison.limit),
        }
        for side, values in comparison.values.items()
    }
    return {
        "title": comparison.title,
        "unit": comparison.unit,
        "reference": comparison.reference,
        "limit": comparison.limit,
        "less_is_better": comparison.less_is_better,
        "sides": sides,
    }


def _growth_json(growth: Growth) -> dict[str, Any]:
    rows = zip(growth.cases, growth.values, growth.steps, growth.deviations, strict=True)
    return {
        "seconds_per": asdict(growth.prices),
        "largest_deviation": max(map(abs, growth.deviations)),
        "points": [
            {
                "sweep": case.sweep,
                "size": case.size,
                "model": asdict(case.model),
                "batch_size": case.batch_size,
                "seconds": values,
                "median": step.seconds,
                "deviation": deviation,
            }
            for case, values, step, deviation in rows
        ],
    }
