"""What every process of a team but process 0 does: it computes its parts of each batch."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from zigpt.data.batches import Corpus
from zigpt.errors import DivergedError, TextError
from zigpt.gpt.config import GPTConfig, TrainConfig
from zigpt.language import tr
from zigpt.runs.training_text import find_again
from zigpt.training.device import keep_freed_memory, pick_device
from zigpt.training.loop import TrainState, next_batch, train_step
from zigpt.training.optim import named_state
from zigpt.training.team import WAIT, GivenUp, Team


@dataclass(frozen=True)
class Job:
    """All that a process has to know, but for the values of the tensors."""

    text: Mapping[str, Any]  # its fingerprint
    model: GPTConfig
    training: TrainConfig
    step: int
    device: str


def hire(team: Team, state: TrainState, text: Mapping[str, Any]) -> None:
    """Give the others of a team the state of process 0, and the fingerprint of its text."""
    model, device = state.model.config, str(state.device)
    team.start(Job(text, model, state.config, state.step, device))
    team.spread(_tensors(state))


def work(team: Team) -> None:
    """Read the text of process 0, take over its state, and learn with it until it has finished.

    Raises:
        TextError: on this machine the text is another, or is missing.
        ProcessLostError: process 0 is gone.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # process 0 decides what they mean
        signal.signal(number, signal.SIG_IGN)
    keep_freed_memory()
    job: Job | None = team.wait_for_job()
    if job is None:
        return
    state = TrainState.initialise(job.model, job.training, pick_device(job.device))
    state.step = job.step
    team.spread(_tensors(state))
    corpus = _corpus(job.text)
    while (order := team.hear()) is not None:
        if order == WAIT:
            continue
        state.config = order
        try:
            train_step(state, *next_batch(state, corpus), team=team)
        except (GivenUp, DivergedError):  # process 0 has met the same
            continue


def _tensors(state: TrainState) -> list[Tensor]:
    """List the weights, and what the optimizers keep between steps."""
    return [*state.model.parameters(), *named_state(state.optimizers, state.model).values()]


def _corpus(text: Mapping[str, Any]) -> Corpus:
    source = find_again(text)
    if source.sha256 != text["sha256"]:
        raise TextError(
            tr("the text is another on this machine than on that of process 0"),
            tr("the processes would learn from different texts"),
            tr("copy the text to every machine, or put it where all of them read it"),
        )
    return Corpus.from_text(source.text, n_train=source.n_train)
