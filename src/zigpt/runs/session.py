"""A training run from request to result: make or open it, follow it, save it, score it.

A caller hands over a request and consumes events: the command line prints them, a notebook shows
them. Nothing here prints. A caller that stops consuming closes the generator, which unlocks the
run folder.
"""

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from functools import partial

from zigpt.errors import DivergedError, StorageError
from zigpt.formats.saved_model import load_model, weights_of
from zigpt.generate.loop import generate_text
from zigpt.generate.quick import QuickDecoder
from zigpt.gpt.config import SampleConfig
from zigpt.gpt.model import GPT
from zigpt.language import mark, tr
from zigpt.runs.events import (
    EndMoved,
    Evaluated,
    Event,
    Finished,
    Notice,
    NotSaved,
    Opened,
    Sampled,
    Stepped,
    Stopped,
    Trained,
    Waiting,
)
from zigpt.runs.metrics import sample_steps
from zigpt.runs.pacer import Pacer
from zigpt.runs.preflight import is_blank
from zigpt.runs.reading import Reading
from zigpt.runs.request import TrainRequest
from zigpt.runs.setup import resume, start
from zigpt.runs.worker import hire
from zigpt.training.device import keep_freed_memory
from zigpt.training.loop import Progress, final_loss, train
from zigpt.training.team import ALONE, WAIT, Team
from zigpt.training.verdict import Point, judge, milestone

_MOST_REFUSALS = 3  # of one kind of write in a row; then a training run ends
_SAMPLE_CHARS, _FINAL_CHARS = 200, 500
_POLL = 0.05  # seconds between two checks for a new request


def train_run(
    request: TrainRequest,
    should_stop: Callable[[], bool] = lambda: False,
    reading: Reading | None = None,
    team: Team = ALONE,
) -> Generator[Event, None, None]:
    """Train, or resume a run, until it is finished or `should_stop`; yield what happens.

    A caller that has read the text hands over its `reading`; process 0 of several, its `team`.
    From `Opened` on a stop loses nothing: the state is saved and the last event is `Stopped`.
    Otherwise the last one is `Finished`.

    Raises:
        DivergedError: the loss is not finite; the last good step is saved.
        StorageError: the disk refused what had to be saved, or one kind of write three times.
        ZigptError: the request is refused; nothing has been made then.
    """
    keep_freed_memory()
    is_blank_run = request.run is not None and request.run.is_dir() and is_blank(request.run)
    resumes = request.resume and not is_blank_run
    opened = yield from (resume(request) if resumes else start(request, reading, team.size))
    with closing(opened.folder):
        team.remember_run(str(opened.folder.path))
        yield opened
        if not opened.folder.is_protected:
            alone = mark("this file system has no locks: start no other training run in {run}")
            yield Notice(tr(alone, run=opened.folder.path))
        yield from train_opened(opened, should_stop, team)


def train_opened(
    opened: Opened, should_stop: Callable[[], bool] = lambda: False, team: Team = ALONE
) -> Iterator[Event]:
    """Train a run that is open, as `train_run` does; its folder stays open.

    Raises:
        DivergedError: the loss is not finite; the last good step is saved.
        StorageError: the disk refused what had to be saved, or one kind of write three times.
    """
    return _Training(opened, should_stop, team).events()


def save_interval(seconds: float) -> float:
    """Decide how many seconds to let pass between two saves that take `seconds` each.

    A hundred times as many, and at least 5, so that saving stays cheap; at most 50, so that with
    the step under way no more than a minute is lost when the process is killed.
    """
    return min(max(5.0, 100 * seconds), 50.0)


class _Stop(Exception):
    """Raised within a step, before it has changed anything."""


class _Training:
    """What is due after each step of a training run, and at its end."""

    def __init__(self, opened: Opened, should_stop: Callable[[], bool], team: Team) -> None:
        self._folder, self._corpus, self._state = opened.folder, opened.corpus, opened.state
        self._ladder, self._prompt = opened.folder.record.ladder, opened.folder.record.prompt
        self._should_stop, self._team = should_stop, team
        self._stop_requested = False  # from outside, through the run folder
        self._refusals = Counter[str]()
        self._saved_at, self._save_seconds = time.monotonic(), 0.0
        self._pacer = None if opened.ends_at is None else Pacer(opened.ends_at, opened.state.step)

    @property
    def _stops(self) -> bool:
        return self._stop_requested or self._should_stop()

    def events(self) -> Iterator[Event]:
        """Train, save, and finish or stop."""
        folder, state, team = self._folder, self._state, self._team
        hire(team, state, folder.record.text)
        try:
            with suppress(_Stop):
                yield from self._steps()
        except DivergedError:
            folder.save(state)
            self._draw()
            raise
        team.dismiss()
        if self._stops:
            folder.save(state)
            self._draw()
            yield Stopped(state.step)  # the last event: the caller may leave now
            return
        yield Trained(state.step)
        self._draw()
        yield self._score()

    def _draw(self) -> None:
        self._folder.log.draw(self._ladder)

    def _check_stop(self) -> None:
        if self._stops:
            raise _Stop

    def _steps(self) -> Iterator[Event]:
        best_before, before = self._state.best_loss, time.monotonic()
        for progress in train(self._state, self._corpus, self._check_stop, self._team):
            last_step = time.monotonic() - before
            if progress.evaluation:
                yield from self._log(progress)
                best = self._state.best_loss
                yield Evaluated(progress, milestone(best_before, best, self._ladder))
                best_before = best
                yield from self._move_end(last_step)
            else:
                yield Stepped(progress, self._folder.saved_step)
            if self._is_sample_due(progress):
                yield from self._sample()
            yield from self._save_if_due(last_step)
            yield from self._wait()
            if self._stops and not self._state.is_finished:
                return
            before = time.monotonic()  # neither saving nor waiting is part of the next step

    def _log(self, progress: Progress) -> Iterator[Event]:
        log = self._folder.log
        yield from self._keep(tr("the log"), partial(log.add, progress, self._ladder))
        if progress.evaluation and progress.evaluation.is_best:
            save = partial(self._folder.save_best, self._state, self._corpus.tokenizer)
            yield from self._keep(tr("the best model"), save)

    def _move_end(self, evaluation_seconds: float) -> Iterator[Event]:
        """Change the number of steps, where there is a time budget, to what its rest allows."""
        folder, state = self._folder, self._state
        if self._pacer is None or not state.step or state.is_finished:
            return
        config = self._pacer.fit(state, self._corpus, evaluation_seconds)
        if config is None:
            return
        # In this order: steps before this one never depend on what is decided now.
        yield from self._keep_checkpoint()
        yield from self._keep(tr("the new number of steps"), partial(folder.move_end, config))
        if folder.record.training == config:
            state.config = config
            yield EndMoved(state.step, config.max_steps)

    def _is_sample_due(self, progress: Progress) -> bool:
        steps, state = sample_steps(self._state.config.max_steps), self._state
        if state.is_finished and state.step not in steps:  # it ran out of patience
            return True
        return progress.step in steps and not (progress.step and progress.evaluation)

    def _sample(self) -> Iterator[Event]:
        began = time.monotonic()
        step, text = self._state.step, self._write(self._state.model, _SAMPLE_CHARS)
        if self._pacer:
            self._pacer.seconds_per_char = (time.monotonic() - began) / _SAMPLE_CHARS
        add = partial(self._folder.log.add_sample, step, self._prompt + text)
        yield from self._keep(tr("the sample"), add)
        yield from self._keep_snapshot()
        yield Sampled(step, text)

    def _save_if_due(self, last_step: float) -> Iterator[Event]:
        # At step 0 as well: from then on there is always something to resume from.
        if self._state.is_finished or not self._state.step:
            self._save()
        # The next step may take as long as this one, and would be lost as well.
        elif time.monotonic() + last_step - self._saved_at > save_interval(self._save_seconds):
            yield from self._keep_checkpoint()

    def _wait(self) -> Iterator[Event]:
        """Wait as long as it is requested, with everything saved and a model to inspect."""
        folder, state, waits, began = self._folder, self._state, False, time.monotonic()
        while not (self._stops or state.is_finished):
            request = folder.control.request
            self._stop_requested = request.stop
            if request.stop or request.until is None or state.step < request.until:
                break
            if not waits:
                waits = True
                yield from self._keep_checkpoint()
                yield from self._keep_snapshot()
                yield from self._keep(tr("the lock"), partial(folder.report_waiting, state.step))
                yield Waiting(state.step)
            self._team.tell(WAIT)
            time.sleep(_POLL)
        if waits and self._pacer:
            self._pacer.add_pause(time.monotonic() - began)
        if waits:
            yield from self._keep(tr("the lock"), partial(folder.report_waiting, None))
            self._saved_at = time.monotonic()

    def _keep_checkpoint(self) -> Iterator[Event]:
        step = tr("step {step}", step=self._state.step)
        yield from self._keep(tr("the checkpoint"), self._save, step)

    def _save(self) -> None:
        began = time.monotonic()
        try:
            self._folder.save(self._state)
        finally:  # a disk that refuses is not asked again at once
            self._saved_at = time.monotonic()
            self._save_seconds = self._saved_at - began

    def _keep_snapshot(self) -> Iterator[Event]:
        save = partial(self._folder.save_snapshot, self._state, self._corpus.tokenizer)
        yield from self._keep(tr("the snapshot"), save)

    def _keep(
        self, kind: str, write: Callable[[], None], name: str | None = None
    ) -> Iterator[Event]:
        """Carry out `write`; a refusal is reported, and tolerated twice in a row for each `kind`.

        Raises:
            StorageError: the third refusal in a row.
        """
        try:
            write()
            self._refusals[kind] = 0
        except StorageError as error:
            self._refusals[kind] += 1
            if self._refusals[kind] == _MOST_REFUSALS:
                raise
            yield NotSaved(name or kind, error.why, self._folder.saved_step)

    def _score(self) -> Finished:
        """Measure the best model exactly, and judge how the training went."""
        folder, state = self._folder, self._state
        best = load_model(folder.path, state.device)
        loss, count = final_loss(best.model, self._corpus)
        points = [
            Point(row["step"], row["train_loss"], row["val_loss"])
            for row in folder.log.evaluations()
        ]
        return Finished(
            loss=loss,
            count=count,
            is_exact=count == len(self._corpus.validation) - 1,
            beaten=self._ladder.beaten(loss),
            verdict=judge(points, self._ladder) if points else None,
            best_step=state.best_step,
            seconds=state.seconds,
            evaluations_since_best=state.evaluations_since_best,
            is_out_of_patience=state.is_out_of_patience,
            sample_before=folder.log.first_sample(),
            sample=self._prompt + self._write(best.model, _FINAL_CHARS),
        )

    def _write(self, model: GPT, length: int) -> str:
        """Continue the run's prompt as `zigpt sample` would, so that the text can be reproduced."""
        config = SampleConfig(seed=self._state.config.seed)
        decoder = QuickDecoder(model.config, weights_of(model))
        return "".join(generate_text(decoder, self._corpus.tokenizer, self._prompt, length, config))
