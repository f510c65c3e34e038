"""`zigpt train`, the part with torch: print the events of a session."""

import signal
from contextlib import ExitStack
from functools import singledispatchmethod

from rich.cells import cell_len

from zigpt.cli.describe import describe_ladder, describe_plan, describe_text
from zigpt.cli.layout import column, labelled, one_line, side_by_side
from zigpt.cli.retry import with_command
from zigpt.cli.screen import Screen, duration
from zigpt.cli.spelling import command, with_options
from zigpt.cli.terminal import harmless
from zigpt.errors import DivergedError, TextMovedError
from zigpt.language import tr
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
from zigpt.training.team import ALONE, Team

_HALF = 39  # terminal cells of either sample


def follow(
    request: TrainRequest, signals: Signals, reading: Reading | None, team: Team = ALONE
) -> int:
    """Train, or resume a run, until finished or stopped. Returns the exit code.

    Raises:
        DivergedError: the loss is no longer finite; the last good step is saved.
        StorageError: a save failed that has to succeed, or one failed three times in a row.
    """
    with ExitStack() as held:
        printer = _Printer(held)
        try:
            events = train_run(request, lambda: signals.code is not None, reading, team)
            for event in events:
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
            again = command("train", "TEXT", "--resume", "--run", request.run or "RUN")
            raise error.or_type(again) from error
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
        self._screen.say(*(labelled(tr("note"), with_options(line)) for line in event.advice))

    @show.register
    def _(self, event: Planned) -> None:
        self._screen.say(*describe_plan(event))

    @show.register
    def _(self, event: LadderBuilt) -> None:
        self._screen.say(*describe_ladder(event.ladder, event.corpus))

    @show.register
    def _(self, event: Opened) -> None:
        self.opened = event
        run = str(event.folder.path)
        if event.folder.saved_step is not None:
            run = tr("{run}: resuming at step {step}", run=run, step=event.state.step)
        self._screen.say(labelled(tr("run"), run), "")
        self._screen.total_steps = event.state.config.max_steps
        self._held.enter_context(self._screen)

    @show.register
    def _(self, event: Notice) -> None:
        self._screen.say(with_options(event.text))

    @show.register
    def _(self, event: Stepped) -> None:
        status = _status(event.progress, self._screen.total_steps, event.saved_step)
        self._screen.show(event.progress.step, status)

    @show.register
    def _(self, event: Evaluated) -> None:
        progress, evaluation = event.progress, event.progress.evaluation
        assert evaluation
        losses = tr(
            "train {evaluation.train_loss:.3f}  validation {evaluation.val_loss:.3f}",
            evaluation=evaluation,
        )
        speed = _speed(progress.chars_per_second) if progress.chars_per_second else ""
        self._at(progress.step, "  ".join(filter(None, [losses, speed, event.milestone])))

    @show.register
    def _(self, event: EndMoved) -> None:
        self._screen.total_steps = event.max_steps
        self._at(event.step, tr("the time is enough for {steps:,} steps", steps=event.max_steps))

    @show.register
    def _(self, event: Sampled) -> None:
        self._at(event.step, tr("writes: {text}", text=one_line(event.text)))

    @show.register
    def _(self, event: NotSaved) -> None:
        saved = event.saved_step
        kept = tr("nothing is saved yet")
        if saved is not None:
            kept = tr("last saved step {step}", step=saved)
        self._screen.say(
            tr(
                "could not save {what}: {why}; still training, {kept}",
                what=event.what,
                why=event.why,
                kept=kept,
            )
        )

    @show.register
    def _(self, event: Waiting) -> None:
        assert self.opened
        file = self.opened.folder.path / CONTROL_FILE
        self._screen.say(tr("paused at step {step} by {file}", step=event.step, file=file))

    @show.register
    def _(self, event: Stopped) -> None:
        assert self.opened
        again = command("train", "--resume", "--run", self.opened.folder.path)
        stopped = tr("stopped and saved at step {step}. To resume, type:", step=event.step)
        self._screen.say(stopped, f"  {again}")

    @show.register
    def _(self, event: Finished) -> None:
        assert self.opened
        if event.is_out_of_patience:
            count = event.evaluations_since_best
            self._screen.say(
                tr("stopped early: no lower validation loss in {count} evaluations", count=count)
            )
        path = self.opened.folder.path
        words = event.sample.split()
        prompt = [f"--prompt={words[0][:20]}"] if words else []
        files = "model.safetensors, loss.png, samples.txt, metrics.jsonl"
        self._screen.say(
            "",
            *_describe_result(event),
            "",
            *_describe_progress(event),
            "",
            tr("in {run}: {files}. Try next:", run=path, files=files),
            f"  {command('web', path)}",
            f"  {command('sample', path, *prompt)}",
            f"  {command('eval', path)}",
            f"  {command('explain', 'window', path)}",
        )

    def _at(self, step: int, text: str) -> None:
        at = tr("step {step:>6}", step=step)
        self._screen.say(f"{at}  {text}")


def _describe_result(result: Finished) -> list[str]:
    scored = (
        tr("exact over the whole split")
        if result.is_exact
        else tr("estimated from {count:,} characters", count=result.count)
    )
    beaten = (
        tr("beats the {rung.name} ({rung.loss:.3f})", rung=result.beaten)
        if result.beaten
        else tr("beats no baseline")
    )
    lines = [
        tr(
            "validation loss {loss:.4f} nats per character, {scored}: {beaten}",
            loss=result.loss,
            scored=scored,
            beaten=beaten,
        ),
        " " * 10
        + tr(
            "model of step {step}; the training took {time}",
            step=result.best_step,
            time=duration(result.seconds),
        ),
    ]
    if result.verdict:
        lines.append(column(tr("verdict"), 10) + with_options(str(result.verdict)))
    return lines


def _describe_progress(result: Finished) -> list[str]:
    titles = tr("before the first step"), tr("after {step:,} steps", step=result.best_step)
    samples = harmless(result.sample_before), harmless(result.sample)
    before, after = (
        f"{title}\n{'─' * cell_len(title)}\n{sample}"
        for title, sample in zip(titles, samples, strict=True)
    )
    return side_by_side(before, after, _HALF)


def _speed(chars_per_second: float) -> str:
    return tr("{speed:,.0f} chars/s", speed=chars_per_second)


def _status(progress: Progress, total: int, saved_step: int | None) -> str:
    """Describe the newest step; each part may be read alone."""
    at = tr("step {step}/{total}", step=progress.step, total=total)
    if not progress.step or progress.batch_loss is None:
        return at
    left = progress.seconds / progress.step * (total - progress.step)
    parts = [
        at,
        tr("loss {loss:.3f}", loss=progress.batch_loss),
        _speed(progress.chars_per_second or 0),
        tr("{time} left", time=duration(left)),
        tr("saved {step}", step=saved_step),
    ]
    return "  ".join(parts)
