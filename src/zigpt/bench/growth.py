"""How the time of a training step grows with the model, the context and the text."""

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from zigpt.bench.cost import Prices, Step, deviations
from zigpt.data.batches import Corpus
from zigpt.gpt.config import GPTConfig, TrainConfig
from zigpt.tokenizers.char import CharTokenizer
from zigpt.training.loop import TrainState, train_step

Sweep = Literal["parameters", "context", "text"]

_TURN = 1.0  # seconds for which short steps are repeated
_CHARS = 4096  # predictions of one step, or one window if that is longer
_VOCABULARY = "".join(map(chr, range(32, 97)))
_SIZES = ((2, 3, 192), (3, 4, 256), (4, 5, 320), (6, 6, 384), (8, 8, 512), (10, 9, 576))
_CONTEXTS = (64, 128, 512, 1024, 2048, 4096)
_TEXTS = (10**6, 10**7, 10**8, 10**9)


@dataclass(frozen=True)
class Case:
    """One setting of a sweep."""

    sweep: Sweep
    model: GPTConfig
    text_chars: int = 10**6

    @property
    def batch_size(self) -> int:
        """As many windows as hold about the same number of characters in every case."""
        return max(1, _CHARS // self.model.block_size)

    @property
    def size(self) -> int:
        """The quantity that the sweep varies."""
        sizes = {
            "parameters": self.model.n_parameters,
            "context": self.model.block_size,
            "text": self.text_chars,
        }
        return sizes[self.sweep]


@dataclass(frozen=True)
class Growth:
    """Measured steps, the prices that explain them, and each one's prediction from the others."""

    cases: Sequence[Case]
    steps: Sequence[Step]  # the median of each case
    values: Sequence[Sequence[float]]  # seconds of each case, round by round
    prices: Prices
    deviations: Sequence[float]  # predicted from the other cases; fraction of the measured time


def standard_cases() -> list[Case]:
    """1 to 40 million parameters, contexts of 64 to 4096, texts of 1 MB to 1 GB."""
    shapes = [GPTConfig(len(_VOCABULARY), 256, *shape) for shape in _SIZES]
    contexts = [GPTConfig(len(_VOCABULARY), block_size) for block_size in _CONTEXTS]
    return [
        *(Case("parameters", shape) for shape in shapes),
        *(Case("context", context) for context in contexts),
        *(Case("text", shapes[0], chars) for chars in _TEXTS),
    ]


def measure_growth(
    cases: Sequence[Case], device: torch.device, rounds: int, folder: Path
) -> Growth:
    """Time a step of every case in turn, with windows read from a file mapped into memory.

    The temporary file is as long as the longest text and lies in `folder`.

    Raises:
        OSError: the disk has no room for it.
    """
    values: list[list[float]] = [[] for _ in cases]
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        file = _write_ids(Path(inside, "ids"), max(case.text_chars for case in cases))
        for _ in range(rounds):
            for case, seconds in zip(cases, values, strict=True):
                ids = np.memmap(file, np.uint8, "r", shape=(case.text_chars,))
                corpus = Corpus(CharTokenizer(_VOCABULARY), ids, ids)
                seconds.append(_time_step(case, corpus, device))
    steps = [
        Step(case.model, case.batch_size, statistics.median(seconds))
        for case, seconds in zip(cases, values, strict=True)
    ]
    return Growth(cases, steps, values, Prices.fit(steps), deviations(steps))


def _time_step(case: Case, corpus: Corpus, device: torch.device) -> float:
    """Return the median seconds of repeated steps; the first only touches memory."""
    model, config = case.model, TrainConfig(batch_size=case.batch_size)
    state = TrainState.initialise(model, config, device)
    seconds: list[float] = []
    while len(seconds) < 2 or sum(seconds) < _TURN:
        began = time.perf_counter()
        windows = corpus.batch(state.step, config.batch_size, model.block_size, config.seed)
        train_step(state, *map(torch.from_numpy, windows))
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def _write_ids(path: Path, length: int) -> Path:
    """Write a file of random ids, one byte each."""
    generator = np.random.default_rng(0)
    block = generator.integers(len(_VOCABULARY), size=min(length, 10**6), dtype=np.uint8).tobytes()
    with path.open("wb") as file:
        for start in range(0, length, len(block)):
            file.write(block[: length - start])
    return path
