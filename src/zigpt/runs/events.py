"""What a session reports while it prepares, trains and finishes a run."""

from dataclasses import dataclass

import torch

from zigpt.data.baselines import Ladder, Rung
from zigpt.data.batches import Corpus
from zigpt.data.source import Source
from zigpt.gpt.config import GPTConfig, PresetName, TrainConfig
from zigpt.runs.folder import RunFolder
from zigpt.training.loop import Progress, TrainState
from zigpt.training.plan import Plan
from zigpt.training.verdict import Verdict


@dataclass(frozen=True)
class TextRead:
    """The text is read and split; `advice` lists what is unusual about it."""

    source: Source
    corpus: Corpus
    advice: tuple[str, ...] = ()


@dataclass(frozen=True)
class Planned:
    """The settings are decided and their cost is measured."""

    preset: PresetName
    why: str  # it was chosen; empty if a person did
    model: GPTConfig
    training: TrainConfig
    device: torch.device
    plan: Plan


@dataclass(frozen=True)
class LadderBuilt:
    """The baselines are computed."""

    ladder: Ladder
    corpus: Corpus


@dataclass(frozen=True)
class Opened:
    """The run folder is made or opened and locked; the training is about to start or resume."""

    folder: RunFolder
    corpus: Corpus
    state: TrainState
    ends_at: float | None = None  # on the clock of time.monotonic, where there is a time budget


@dataclass(frozen=True)
class Notice:
    """Something that a person should know, as a sentence."""

    text: str


@dataclass(frozen=True)
class Stepped:
    """One step was made; a checkpoint of `saved_step` is on disk."""

    progress: Progress
    saved_step: int | None


@dataclass(frozen=True)
class Evaluated:
    """Both losses were measured; `milestone` names the baseline that was just passed, if any."""

    progress: Progress
    milestone: str | None


@dataclass(frozen=True)
class EndMoved:
    """The number of steps was changed to what the rest of the time allows."""

    step: int
    max_steps: int


@dataclass(frozen=True)
class Sampled:
    """The model has continued the run's prompt by `text`."""

    step: int
    text: str


@dataclass(frozen=True)
class NotSaved:
    """The disk refused something; the training continues and tries again."""

    what: str
    why: str
    saved_step: int | None


@dataclass(frozen=True)
class Waiting:
    """The training waits after a step, as requested, until the next request."""

    step: int


@dataclass(frozen=True)
class Stopped:
    """The training was asked to stop, and everything is saved."""

    step: int


@dataclass(frozen=True)
class Trained:
    """There is no step left, and everything is saved; the best model is about to be scored."""

    step: int


@dataclass(frozen=True)
class Finished:
    """The result: the best model and its loss on the validation split."""

    loss: float  # nats per character
    count: int  # predictions scored
    is_exact: bool  # whether that is the whole split
    beaten: Rung | None  # the best baseline below which the loss lies
    verdict: Verdict | None
    best_step: int
    seconds: float
    evaluations_since_best: int
    is_out_of_patience: bool
    sample_before: str  # the first of the run; empty if it is not known
    sample: str


Event = (
    TextRead
    | Planned
    | LadderBuilt
    | Opened
    | Notice
    | Stepped
    | Evaluated
    | EndMoved
    | Sampled
    | NotSaved
    | Waiting
    | Stopped
    | Trained
    | Finished
)
