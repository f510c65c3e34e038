"""`zigpt train`, the part with torch: print the events of a session."""

import shlex
import signal
from contextlib import ExitStack
from functools import singledispatchmethod

from zigpt.cli.describe import describe_ladder, describe_plan, describe_text
from zigpt.cli.retry import with_command
from zigpt.cli.screen import Screen, duration, one_line
from zigpt.cli.spelling import command, with_options
from zigpt.errors import DivergedError, TextMovedError
from zigpt.runs.control import CONTROL_FILE
from zigpt.runs.events import (
    EndMoved,
    Evaluated,
    Event,
    Finished,
    LadderBuilt,
    Notice,
    NotSaved,
    Opened,
    Planned,
    Sampled,
    Stepped,
    Stopped,
    TextRead,
    Trained,
    Waiting,
)
from zigpt.runs.reading import Reading
from zigpt.runs.request import TrainRequest
from zigpt.runs.session import train_run
from zigpt.runs.signals import Signals
from zigpt.training.loop import Progress


def follow(request: TrainRequest, signals: Signals, reading: Reading | None) -> int:
    """Train, or resume a run, until finished or stopped. Returns the exit code.

    Raises:
        DivergedError: the loss is no longer finite; the last good step is saved.
        StorageError: a save failed that has to succeed, or one failed three times in a row.
    """
    with ExitStack() as held:
        printer = _Printer(held)
        try:
            for event in train_run(request, lambda: signals.code is not None, reading):
                printer.show(event)
                if isinstance(event, Opened):
                    signals.graceful = True
                elif isinstance(event, Stopped):
                    return signals.code or 128 + signal.SIGTERM
                elif isinstance(event, Trained) and (code := signals.obey_at_once()):
                    return code
        except DivergedError as error:
            if printer.opened is None:
                raise
            opened = printer.opened
            raise with_command(error, opened.folder, opened.state, request.texts) from error
        except TextMovedError as error:
            run = shlex.quote(str(request.run)) if request.run else "RUN"
            raise error.or_type(f"{command('train')} TEXT --resume --run {run}") from error
    return 0


class _Printer:
    """Prints events as lines, and the newest step in the live line."""

    def __init__(self, held: ExitStack) -> None:
        self.opened: Opened | None = None
        self._held, self._screen = held, Screen()

    @singledispatchmethod
    def show(self, event: Event) -> None:
        """Print what a person wants to know about an event."""

    @show.register
    def _(self, event: TextRead) -> None:
        self._screen.say(*describe_text(event.source, event.corpus))
        self._screen.say(*(f"note    {line}" for line in event.advice))

    @show.register
    def _(self, event: Planned) -> None:
        self._screen.say(*describe_plan(event))

    @show.register
    def _(self, event: LadderBuilt) -> None:
        self._screen.say(*describe_ladder(event.ladder, event.corpus))

    @show.register
    def _(self, event: Opened) -> None:
        self.opened = event
        is_resumed = event.folder.saved_step is not None
        resumed = f": resuming at step {event.state.step}" if is_resumed else ""
        self._screen.say(f"run     {event.folder.path}{resumed}", "")
        self._screen.total_steps = event.state.config.max_steps
        self._held.enter_context(self._screen)

    @show.register
    def _(self, event: Notice) -> None:
        self._screen.say(event.text)

    @show.register
    def _(self, event: Stepped) -> None:
        status = _status(event.progress, self._screen.total_steps, event.saved_step)
        self._screen.show(event.progress.step, status)

    @show.register
    def _(self, event: Evaluated) -> None:
        progress, evaluation = event.progress, event.progress.evaluation
        assert evaluation
        speed = f"  {progress.chars_per_second:,.0f} chars/s" if progress.chars_per_second else ""
        milestone = f"  {event.milestone}" if event.milestone else ""
        self._screen.say(
            f"step {progress.step:>6}  train {evaluation.train_loss:.3f}  "
            f"validation {evaluation.val_loss:.3f}{speed}{milestone}"
        )

    @show.register
    def _(self, event: EndMoved) -> None:
        self._screen.total_steps = event.max_steps
        self._screen.say(f"step {event.step:>6}  the time is enough for {event.max_steps:,} steps")

    @show.register
    def _(self, event: Sampled) -> None:
        self._screen.say(f"step {event.step:>6}  writes: {one_line(event.text)}")

    @show.register
    def _(self, event: NotSaved) -> None:
        saved = event.saved_step
        kept = "nothing is saved yet" if saved is None else f"last saved step {saved}"
        self._screen.say(f"could not save {event.what}: {event.why}; still training, {kept}")

    @show.register
    def _(self, event: Waiting) -> None:
        assert self.opened
        file = self.opened.folder.path / CONTROL_FILE
        self._screen.say(f"paused at step {event.step} by {file}")

    @show.register
    def _(self, event: Stopped) -> None:
        assert self.opened
        again = command("train", "--resume", "--run", self.opened.folder.path)
        self._screen.say(f"stopped and saved at step {event.step}. To resume, type:", f"  {again}")

    @show.register
    def _(self, event: Finished) -> None:
        assert self.opened
        exact = "exact over the whole split"
        scored = exact if event.is_exact else f"estimated from {event.count:,} characters"
        beaten = event.beaten
        above = f"beats the {beaten.name} ({beaten.loss:.3f})" if beaten else "beats no baseline"
        verdict = [f"verdict   {with_options(str(event.verdict))}"] if event.verdict else []
        if event.is_out_of_patience:
            count = event.evaluations_since_best
            self._screen.say(f"stopped early: no lower validation loss in {count} evaluations")
        path = self.opened.folder.path
        words = event.sample.split()
        prompt = [f"--prompt={words[0][:20]}"] if words else []
        self._screen.say(
            "",
            f"validation loss {event.loss:.4f} nats per character, {scored}: {above}",
            f"          model of step {event.best_step}; "
            f"the training took {duration(event.seconds)}",
            *verdict,
            "",
            "The model now writes:",
            "",
            event.sample,
            "",
            f"in {path}: model.safetensors, loss.png, samples.txt, metrics.jsonl. Try next:",
            f"  {command('web', path)}",
            f"  {command('sample', path, *prompt)}",
            f"  {command('eval', path)}",
            f"  {command('explain', 'window', path)}",
        )


def _status(progress: Progress, total: int, saved_step: int | None) -> str:
    if not progress.step or progress.batch_loss is None:
        return f"step 0/{total}"
    left = progress.seconds / progress.step * (total - progress.step)
    return (
        f"step {progress.step}/{total}  loss {progress.batch_loss:.3f}  "
        f"{progress.chars_per_second or 0:,.0f} chars/s  {duration(left)} left  saved {saved_step}"
    )
