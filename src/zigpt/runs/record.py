"""`run.json`: what a run is, written when it is made. A resume may change how long it lasts."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from zigpt import __version__, untrusted_json
from zigpt.data.baselines import Ladder, Rung
from zigpt.errors import ModelFileError
from zigpt.formats.safetensors import FORMAT, damaged, require_format
from zigpt.gpt.config import GPTConfig, TrainConfig, restore
from zigpt.language import tr
from zigpt.runs.paths import RUN_FILE
from zigpt.runs.training_text import text_of_run
from zigpt.storage import write_file

# What a run.json with any other content may raise.
_DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError)


def count_threads() -> int:
    """How many threads PyTorch computes with: their sums round differently."""
    return torch.get_num_threads()


def cpu_capability() -> str:
    """Name the instructions that PyTorch takes here, such as AVX2: they round differently."""
    return torch.backends.cpu.get_cpu_capability()


@dataclass(frozen=True)
class RunRecord:
    """Settings, text and baselines of a run, and the versions that made it."""

    model: GPTConfig
    training: TrainConfig
    text: Mapping[str, Any]  # see `fingerprint`
    ladder: Ladder
    prompt: str  # every sample continues it
    preset: str
    device: str
    minutes: float | None = None  # the time budget that decides how many steps are made
    format: int = FORMAT
    zigpt: str = __version__
    torch: str = torch.__version__
    threads: int = field(default_factory=count_threads)
    cpu: str = field(default_factory=cpu_capability)

    @property
    def machine(self) -> dict[str, str]:
        """What decides the last digits of all numbers, besides settings and text."""
        return {
            "torch": f"PyTorch {self.torch}",
            "device": self.device,
            "cpu": f"CPU {self.cpu}",
            "threads": tr("1 thread")
            if self.threads == 1
            else tr("{count} threads", count=self.threads),
        }

    @property
    def configs(self) -> tuple[GPTConfig, TrainConfig]:
        """The model's and the training's settings."""
        return self.model, self.training


def read_record(run: Path) -> RunRecord:
    """Read the run.json of a run folder.

    Raises:
        ModelFileError: it is damaged, or of a newer zigpt.
    """
    file = run / RUN_FILE
    try:
        values = untrusted_json.parse_file(file)
        require_format(file, values["format"])
        rungs = tuple(Rung(name, float(loss)) for name, loss in values["ladder"].items())
        if not (rungs and isinstance(values["prompt"], str)):
            raise damaged(file, tr("it names no baselines, or no prompt"))
        if not all(math.isfinite(rung.loss) for rung in rungs):  # JSON for the page has no NaN
            raise damaged(file, tr("the loss of a baseline is not a number"))
        return RunRecord(
            model=restore(GPTConfig, values["model"]),
            training=restore(TrainConfig, values["training"]),
            text=text_of_run(values),
            ladder=Ladder(rungs),
            **{name: values[name] for name in ("prompt", "preset", "device")},
            minutes=_minutes(values.get("minutes")),
            **{name: values[name] for name in ("format", "zigpt", "torch")},
            # Older runs do not say: then nothing has changed.
            threads=int(values.get("threads", count_threads())),
            cpu=str(values.get("cpu", cpu_capability())),
        )
    except _DAMAGE as error:
        raise damaged(file, str(error).splitlines()[0] if str(error) else "") from error


def _minutes(value: Any) -> float | None:
    if value is not None and not 0 < value < math.inf:
        raise ValueError(tr("{name} cannot be {value!r:.20}", name="minutes", value=value))
    return value


def write_record(run: Path, record: RunRecord) -> None:
    """Write the run.json of a run folder.

    Raises:
        ModelFileError: `read_record` would refuse it.
        StorageError: the disk did not take it.
    """
    values = {
        "format": record.format,
        "zigpt": record.zigpt,
        "torch": record.torch,
        "threads": record.threads,
        "cpu": record.cpu,
        "model": asdict(record.model),
        "training": asdict(record.training),
        "text": dict(record.text),
        "ladder": {rung.name: rung.loss for rung in record.ladder.rungs},
        "preset": record.preset,
        "device": record.device,
        "minutes": record.minutes,
        "prompt": record.prompt,
    }
    sentence = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    # A file name may hold bytes that are not text; JSON can escape them.
    data = sentence.encode(errors="backslashreplace")
    try:
        untrusted_json.require_modest(data)
    except ValueError as error:
        raise ModelFileError(
            tr("this would be a {file} that zigpt itself refuses", file=RUN_FILE),
            str(error),
            tr("join the files of the text into fewer"),
        ) from None
    write_file(run / RUN_FILE, data)
