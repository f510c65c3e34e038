"""`zigpt bench`: this machine's own numbers against its own limits."""

import json
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from zigpt import __version__
from zigpt.bench.growth import Growth, measure_growth, standard_cases
from zigpt.bench.growth_plot import draw_growth
from zigpt.bench.limits import measure_limits
from zigpt.bench.record import GPU_PRESET, Choices, Trained, in_minutes, measure_record
from zigpt.bench.record import lines as record_lines
from zigpt.bench.rounds import Comparison, shown
from zigpt.bench.saving import measure_saving
from zigpt.bench.speed import measure_start, measure_text, measure_training, measure_writing
from zigpt.cli.commands import BenchPart
from zigpt.cli.describe import describe_device
from zigpt.cli.screen import Screen
from zigpt.errors import UsageError
from zigpt.language import tr
from zigpt.runs.paths import free_path
from zigpt.runs.preflight import require_free
from zigpt.runs.request import TrainRequest
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
    "gpu": measure_training,
}


def run(
    parts: Sequence[BenchPart],
    rounds: int | None,
    minutes: Sequence[float],
    folder: Path | None,
    device: str,
    as_json: bool,
) -> int:
    """Measure, print and keep. Returns the exit code.

    Raises:
        UsageError: there is to be no round at all, or a time is none.
    """
    rounds = _checked(parts, rounds, minutes)
    where = pick_device(device)
    path = folder or free_path("bench")
    require_free(path)
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()  # as a training run does
    screen = Screen(on_stderr=as_json)
    report = _Report(path, where, rounds)
    screen.say(
        tr(
            "{machine}; each contender {count} times, in turn",
            machine=report.machine,
            count=rounds,
        ),
        "",
    )
    measures: Mapping[BenchPart, _Part] = {**_PARTS, "saving": partial(measure_saving, path)}
    for part in parts or (part for part in measures if part != "gpu"):
        if part in measures:
            for comparison in measures[part](where, rounds):
                screen.say(*comparison.lines(), "")
                report.add(comparison)
    if not parts or "growth" in parts:
        with storage_errors(path):
            growth = measure_growth(standard_cases(), where, rounds, path)
        screen.say(*_growth_lines(growth), "")
        write_file(path / "growth.png", draw_growth(growth))
        report.add_growth(growth)
    if {"gpu", "record"} & {*parts}:
        try:
            _record(screen, report, _choices(parts, minutes), device)
        except subprocess.CalledProcessError as error:
            return error.returncode  # why is on stderr already
    files = ", ".join(sorted(file.name for file in path.iterdir()))
    screen.say(tr("in {run}: {files}", run=path, files=files))
    if as_json:
        print(report.text())
    return 0


def _checked(parts: Sequence[BenchPart], rounds: int | None, minutes: Sequence[float]) -> int:
    for each in minutes:
        TrainRequest(minutes=each)  # a wrong one is refused before anything is measured
    if rounds is None:
        return 5 if parts and {*parts} <= {"record", "gpu"} else 3
    if rounds < 1:
        raise UsageError(
            tr("--rounds {rounds} measures nothing", rounds=rounds),
            tr("every contender needs at least one repetition"),
            tr("try --rounds 3"),
        )
    return rounds


def _choices(parts: Sequence[BenchPart], minutes: Sequence[float]) -> Choices:
    """What is to be trained, by name."""
    gpu = GPU_PRESET if "gpu" in parts else {}
    return {**gpu, **(in_minutes(minutes) if "record" in parts else {})}


def _record(screen: Screen, report: "_Report", choices: Choices, device: str) -> None:
    screen.say(
        tr(
            "{count} seeds each: {names}; kept in {folder}",
            count=report.rounds,
            names=", ".join(choices),
            folder=report.folder,
        ),
        "",
    )
    for trained in measure_record(report.folder, choices, report.rounds, device):
        screen.say(
            tr(
                "{run.name}, seed {run.seed}: loss {run.loss:.4f} after {run.seconds:.1f} s",
                run=trained,
            )
        )
        report.add_trained(trained)
    screen.say("", *record_lines(report.trained), "")


class _Report:
    """What has been measured so far, in bench.json after each part: some of it takes minutes."""

    def __init__(self, path: Path, device: torch.device, rounds: int) -> None:
        self.machine = describe_device(device, "auto")
        self.folder, self.rounds = path, rounds
        self._content: dict[str, Any] = {
            "zigpt": __version__,
            "torch": torch.__version__,
            "machine": f"{platform.machine()} {platform.system()}, {describe(device)}",
            "precision": precision_name(pick_precision(device)),
            "rounds": rounds,
            "comparisons": [],
            "growth": None,
            "record": [],
        }
        self.trained: list[Trained] = []
        self._keep()

    def add(self, comparison: Comparison) -> None:
        self._content["comparisons"].append(_comparison_json(comparison))
        self._keep()

    def add_growth(self, growth: Growth) -> None:
        self._content["growth"] = _growth_json(growth)
        self._keep()

    def add_trained(self, trained: Trained) -> None:
        self.trained.append(trained)
        self._content["record"] = [asdict(each) for each in self.trained]
        self._keep()

    def text(self) -> str:
        return json.dumps(self._content, indent=2)

    def _keep(self) -> None:
        write_file(self.folder / "bench.json", self.text().encode())


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
