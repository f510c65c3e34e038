"""The record: the exact loss that `zigpt train` reaches in a given time, seed by seed."""

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zigpt.gpt.config import TrainConfig

_NATS_PER_BIT = math.log(2)


@dataclass(frozen=True)
class Trained:
    """One training run, as a whole process."""

    minutes: float  # asked for
    seed: int
    seconds: float  # taken
    loss: float  # exact, in nats per character
    text: str  # over the validation split of which


# The best evaluation of each run, over random windows: published by nanoGPT (README.md), and five
# seeds of its 10.8 million parameters on a GPU of the H100 class (AI-Scientist,
# rl_lr_adaptation/run_0/final_info.json).
_PEERS = {
    "nanoGPT, 3 minutes of a laptop": [1.88],
    "nanoGPT, 3 minutes of an A100": [1.4697],
    "nanoGPT, 5 seeds, 77 seconds of an H100": [1.4678, 1.4659, 1.4675, 1.4611, 1.4651],
}


def measure_record(
    folder: Path, minutes: Sequence[float], seeds: int, device: str
) -> Iterator[Trained]:
    """Train in processes of their own, each in a run folder that stays; budgets take turns.

    The text is what `zigpt train` takes where none is named.

    Raises:
        subprocess.CalledProcessError: one of them failed, in its own words.
    """
    first = TrainConfig().seed
    for seed in range(first, first + seeds):
        for budget in minutes:
            run = folder / f"{budget:g}-minutes-seed-{seed}"
            began = time.monotonic()
            _zigpt("train", "--minutes", budget, "--seed", seed, "--run", run, "--device", device)
            seconds = time.monotonic() - began
            found: dict[str, Any] = json.loads(_zigpt("eval", run, "--json", "--device", device))
            yield Trained(budget, seed, seconds, found["nats_per_char"], found["text"])


def _zigpt(*words: object) -> str:
    command = [sys.executable, "-m", "zigpt", *map(str, words)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def lines(runs: Sequence[Trained]) -> list[str]:
    """Lay out a table: each budget's losses per character, and nanoGPT's."""
    titles = ["nats", "spread", "bits", "lowest", "highest", "seconds"]
    rows = [runs[0].text, " " * 44 + "".join(f"{title:>10}" for title in titles)]
    for budget in dict.fromkeys(run.minutes for run in runs):
        those = [run for run in runs if run.minutes == budget]
        seconds = f"{statistics.mean(run.seconds for run in those):.1f}"
        unit = "minute" if budget == 1 else "minutes"
        rows.append(_row(f"zigpt, {budget:g} {unit}", [run.loss for run in those], seconds))
    return [*rows, "Tiny Shakespeare", *(_row(name, losses) for name, losses in _PEERS.items())]


def _row(name: str, losses: Sequence[float], seconds: str = "") -> str:
    """Mean, standard deviation (of several), bits, extremes."""
    mean, spread = statistics.mean(losses), ""
    if len(losses) > 1:
        spread = f"{statistics.stdev(losses):.4f}"
    cells = [f"{mean:.4f}", spread, f"{mean / _NATS_PER_BIT:.4f}"]
    cells += [f"{extreme:.4f}" for extreme in (min(losses), max(losses))]
    return f"  {name:<42}" + "".join(f"{cell:>10}" for cell in [*cells, seconds])
