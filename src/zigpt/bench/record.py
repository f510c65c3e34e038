"""The record: the exact loss that `zigpt train` reaches, and how soon, seed by seed."""

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zigpt.gpt.config import TrainConfig
from zigpt.runs.metrics import RunLog

_NATS_PER_BIT = math.log(2)
GOAL = 1.4697  # nanoGPT's loss after three minutes of an A100, published in its README.md
Choices = Mapping[str, Sequence[object]]  # the options of each training run, by name
GPU_PRESET: Choices = {"preset gpu": ("--preset", "gpu")}


@dataclass(frozen=True)
class Trained:
    """One training run, as a whole process."""

    name: str  # of its settings
    seed: int
    seconds: float
    seconds_to_goal: float | None  # of training, until an evaluation was first below GOAL
    loss: float  # exact, in nats per character
    text: str  # over the validation split of which


# The best evaluation of each run, over random windows: published by nanoGPT (README.md), and five
# seeds of its 10.8 million parameters on a GPU of the H100 class (AI-Scientist,
# rl_lr_adaptation/run_0/final_info.json).
_PEERS = {
    "nanoGPT, 3 minutes of a laptop": [1.88],
    "nanoGPT, 3 minutes of an A100": [GOAL],
    "nanoGPT, 5 seeds, 77 seconds of an H100": [1.4678, 1.4659, 1.4675, 1.4611, 1.4651],
}


def in_minutes(minutes: Iterable[float]) -> Choices:
    """Let `zigpt train` choose all settings for each of these times."""
    return {f"{each:g} minute{'s' * (each != 1)}": ("--minutes", each) for each in minutes}


def measure_record(folder: Path, choices: Choices, seeds: int, device: str) -> Iterator[Trained]:
    """Train in processes of their own, each in a run folder that stays; choices take turns.

    The text is what `zigpt train` takes where none is named.

    Raises:
        subprocess.CalledProcessError: one of them failed, in its own words.
    """
    first = TrainConfig().seed
    for seed in range(first, first + seeds):
        for name, words in choices.items():
            run = folder / f"{name}-seed-{seed}".replace(" ", "-")
            began = time.monotonic()
            _zigpt("train", *words, "--seed", seed, "--run", run, "--device", device)
            seconds = time.monotonic() - began
            rows = RunLog(run).evaluations()
            below = [row["seconds"] for row in rows if row["val_loss"] <= GOAL]
            found: dict[str, Any] = json.loads(_zigpt("eval", run, "--json", "--device", device))
            loss, text = found["nats_per_char"], found["text"]
            yield Trained(name, seed, seconds, below[0] if below else None, loss, text)


def _zigpt(*words: object) -> str:
    command = [sys.executable, "-m", "zigpt", *map(str, words)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def lines(runs: Sequence[Trained]) -> list[str]:
    """Lay out a table: losses per character by choice, and nanoGPT's.

    Below GOAL: the mean, where all have got there, of the seconds of training until an evaluation
    on part of the validation split had.
    """
    titles = ["nats", "spread", "bits", "lowest", "highest", "seconds"]
    head = "".join(f"{title:>10}" for title in titles) + f"{f'below {GOAL}':>15}"
    rows = [runs[0].text, " " * 44 + head]
    for name in dict.fromkeys(run.name for run in runs):
        those = [run for run in runs if run.name == name]
        took = _mean([run.seconds for run in those])
        to_goal = _mean([run.seconds_to_goal for run in those])
        rows.append(_row(f"zigpt, {name}", [run.loss for run in those], took, to_goal))
    return [*rows, "Tiny Shakespeare", *(_row(name, losses) for name, losses in _PEERS.items())]


def _mean(seconds: Sequence[float | None]) -> str:
    known = [each for each in seconds if each is not None]
    return f"{statistics.mean(known):.1f}" if len(known) == len(seconds) else ""


def _row(name: str, losses: Sequence[float], seconds: str = "", to_goal: str = "") -> str:
    """Mean, standard deviation (of several), bits, extremes."""
    mean, spread = statistics.mean(losses), ""
    if len(losses) > 1:
        spread = f"{statistics.stdev(losses):.4f}"
    cells = [f"{mean:.4f}", spread, f"{mean / _NATS_PER_BIT:.4f}"]
    cells += [f"{extreme:.4f}" for extreme in (min(losses), max(losses))]
    return f"  {name:<42}" + "".join(f"{cell:>10}" for cell in [*cells, seconds]) + f"{to_goal:>15}"
