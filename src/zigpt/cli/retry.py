"""The command that repeats a diverged training with a lower learning rate."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast, get_args

from zigpt.cli.spelling import arrangement_words, command, option
from zigpt.errors import DivergedError
from zigpt.gpt.config import GPTConfig, PresetName, TrainConfig, configure
from zigpt.language import tr
from zigpt.runs.folder import RunFolder
from zigpt.runs.paths import numbered
from zigpt.runs.training_text import how_it_was_read
from zigpt.training.device import pick_device
from zigpt.training.loop import TrainState

_MOST_SPELLED = 10  # texts in a command: a line has no room for more


def with_command(
    error: DivergedError, folder: RunFolder, state: TrainState, texts: Sequence[Path]
) -> DivergedError:
    """Add what was saved, and the command for the same training at a lower learning rate."""
    recorded = folder.record.preset
    preset = cast(PresetName, recorded) if recorded in get_args(PresetName) else "seed"
    rate = float(f"{state.config.learning_rate / 3:.2g}")
    settings = overrides_of(preset, *folder.record.configs) | {"learning_rate": rate}
    if "final_learning_rate" in settings:  # it differs from that of the preset's schedule
        settings["final_learning_rate"] = min(settings["final_learning_rate"], rate)
    if state.device != pick_device("auto"):
        settings["device"] = state.device
    how = folder.record.text.get("how", {})
    settings |= {name: value for name, value in how.items() if value is not None}
    # Absolute paths: they hold in any folder, and none begins like an option.
    text = folder.record.text
    learned, _, arrangement = how_it_was_read(text, [Path(path) for path in text["paths"]])
    words = [os.path.abspath(path) for path in texts or learned]
    if len(words) > _MOST_SPELLED:
        words = ["TEXT"]
    if "arrangement" in text:
        words += arrangement_words(arrangement)
    words += [option("preset"), preset]
    for name, value in settings.items():
        words += [option(name), f"{value}"]
    words += [option("run"), str(numbered(Path(os.path.abspath(folder.path))))]
    return DivergedError(
        error.what,
        tr(
            "{why}; step {step} is saved in {run}",
            why=error.why,
            step=state.step,
            run=folder.path,
        ),
        tr("try {command}", command=command("train", *words)),
    )


def overrides_of(preset: PresetName, model: GPTConfig, training: TrainConfig) -> dict[str, Any]:
    """Find the fewest overrides with which `configure` makes these settings of `preset`."""
    values = {**asdict(model), **asdict(training)}
    vocab_size = values.pop("vocab_size")
    overrides: dict[str, Any] = {}
    for names in (("max_steps", "learning_rate"), tuple(values)):  # those two drag others along
        now = configure(vocab_size, preset, overrides)
        made = {**asdict(now[0]), **asdict(now[1])}
        overrides |= {name: values[name] for name in names if values[name] != made[name]}
    return overrides
