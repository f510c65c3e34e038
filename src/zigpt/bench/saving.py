"""How long a save takes, which decides how often a training run is saved."""

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from zigpt.bench.rounds import Comparison, compare
from zigpt.bench.speed import random_text
from zigpt.data.baselines import build_ladder
from zigpt.data.batches import Corpus
from zigpt.data.source import read_texts
from zigpt.gpt.config import GPTConfig, PresetName, TrainConfig, configure
from zigpt.runs.folder import RunFolder
from zigpt.runs.record import RunRecord
from zigpt.runs.training_text import fingerprint
from zigpt.storage import write_file
from zigpt.training.loop import TrainState, train_step


def measure_saving(folder: Path, device: torch.device, rounds: int) -> Iterator[Comparison]:
    """Measure saves as a training run makes them, on the disk of `folder`."""
    presets: tuple[PresetName, ...] = ("seed", "laptop")
    for preset in presets:
        yield compare_saving(*configure(38, preset, {}), folder, device, rounds)


def compare_saving(
    model: GPTConfig, config: TrainConfig, folder: Path, device: torch.device, rounds: int
) -> Comparison:
    """Save a checkpoint and everything with it; the limit is one file of the same size."""
    state = TrainState.initialise(model, config, device)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        text = Path(place, "text.txt")
        text.write_text(random_text(20 * model.block_size))
        source = read_texts([text])
        corpus = Corpus.from_text(source.text)
        ladder = build_ladder(corpus.train, corpus.validation, model.vocab_size)
        record = RunRecord(model, config, fingerprint(source), ladder, "\n", "tiny", str(device))
        run = RunFolder.create(Path(place, "run"), record)
        ids = corpus.batch(0, config.batch_size, model.block_size, 0)
        train_step(state, *map(torch.from_numpy, ids))  # creates the optimizer state

        def save() -> None:
            state.step += 1
            run.save(state)

        save()
        size = sum(file.stat().st_size for file in run.path.glob("checkpoints/*/*"))
        plain = partial(write_file, Path(place, "plain"), bytes(size))
        return compare(
            f"saving, {model.n_layer}/{model.n_head}/{model.n_embd}",
            "ms a save",
            rounds,
            {
                "zigpt": partial(_milliseconds, save),
                "limit: writing as many bytes": partial(_milliseconds, plain),
            },
            limit="limit: writing as many bytes",
            less_is_better=True,
        )


def _milliseconds(save: Callable[[], object]) -> float:
    began = time.perf_counter()
    save()
    return 1000 * (time.perf_counter() - began)
