"""`zigpt train`, the part with torch: text in, model out, watched as it learns."""

import contextlib
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial

from zigpt.cli.again import with_command
from zigpt.cli.beginning import resume, start
from zigpt.cli.options import TrainOptions
from zigpt.cli.screen import Screen, duration, one_line, program
from zigpt.cli.signals import Signals
from zigpt.config import SampleConfig
from zigpt.corpus import Corpus
from zigpt.device import keep_freed_memory
from zigpt.errors import DivergedError, StorageError
from zigpt.generate.loop import write
from zigpt.generate.quick import QuickDecoder
from zigpt.runs.custody import is_blank
from zigpt.runs.folder import SAVE_EVERY, RunFolder
from zigpt.runs.record import sample_steps
from zigpt.runs.saved_model import load_model, weights_of
from zigpt.runs.wish import WISH_FILE
from zigpt.tokenizer import CharTokenizer
from zigpt.train import Progress, TrainState, final_loss, train
from zigpt.verdict import Point, judge, milestone

_PATIENCE = 3  # refusals of the same thing in a row that end a training
_SAMPLE_CHARS = 200
_GLANCE = 0.05  # seconds between looks for a new wish


def learn(options: TrainOptions, signals: Signals) -> int:
    """Train, or go on training, until finished or stopped. Returns the exit code.

    Raises:
        DivergedError: the loss is no longer a number; the last good step is saved.
        StorageError: the disk refused what had to be saved, or the same three times in a row.
    """
    keep_freed_memory()
    resumes = options.resume and not (
        options.run and options.run.is_dir() and is_blank(options.run)
    )
    folder, corpus, state, screen = resume(options) if resumes else start(options)
    with closing(folder), screen:
        signals.gently = True
        try:
            _follow(folder, corpus, state, screen, signals)
        except DivergedError as error:
            folder.save(state)
            folder.record.draw(folder.ladder)
            raise with_command(error, folder, state, options.texts) from error
        if signals.code:
            folder.save(state)
            screen.say(
                f"stopped and saved at step {state.step}. To go on, type:",
                f"  {program()} train --resume --run {shlex.quote(str(folder.path))}",
            )
            folder.record.draw(folder.ladder)
            return signals.code
        if code := signals.obey_at_once():  # all is saved
            return code
        _finish(folder, corpus, state, screen)
    return 0


def _follow(
    folder: RunFolder, corpus: Corpus, state: TrainState, screen: Screen, signals: Signals
) -> None:
    """Train until it is finished or somebody asks to stop."""

    def breathe() -> None:
        if signals.code:
            raise _Enough

    with contextlib.suppress(_Enough):
        _consume(train(state, corpus, breathe), folder, corpus, state, screen, signals)


class _Enough(Exception):
    """Stop here: nothing of the step that is being made has been changed yet."""


def _consume(
    steps: Iterator[Progress],
    folder: RunFolder,
    corpus: Corpus,
    state: TrainState,
    screen: Screen,
    signals: Signals,
) -> None:
    """Show, record, sample and save what each step brings."""
    ladder, tokenizer = folder.ladder, corpus.tokenizer
    keep = _Keeper(folder, screen)
    sampled = sample_steps(state.config.max_steps)
    best_before, saved = state.best_loss, time.monotonic()
    before = saved
    for progress in steps:
        last, before = time.monotonic() - before, time.monotonic()
        if progress.look:
            keep("the log", partial(folder.record.add, progress, ladder))
            if progress.look.is_best:
                keep("the best model", partial(folder.save_best, state, tokenizer))
            screen.say(_describe_look(progress, milestone(best_before, state.best_loss, ladder)))
            best_before = state.best_loss
        else:
            screen.show(progress.step, _status(progress, state.config.max_steps, folder))
        out_of_patience = state.is_finished and state.step not in sampled
        if out_of_patience or (progress.step in sampled and not (progress.step and progress.look)):
            text = _sample(state, corpus, folder.info["prompt"], _SAMPLE_CHARS)
            keep("the sample", partial(folder.record.add_sample, state.step, text))
            keep("the snapshot", partial(folder.save_snapshot, state, tokenizer))
            written = text.removeprefix(folder.info["prompt"])
            screen.say(f"step {progress.step:>6}  writes: {one_line(written)}")
        # At step 0 as well: from then on there is always something to go on from.
        if state.is_finished or not progress.step:
            folder.save(state)
        # As if the next step took as long as this one: it is lost as well.
        elif time.monotonic() + last - saved > SAVE_EVERY:
            keep("the checkpoint", partial(folder.save, state), f"step {state.step}")
            saved = time.monotonic()
        if _wait(folder, state, tokenizer, keep, screen, signals):
            saved = time.monotonic()
        if signals.code and not state.is_finished:
            return


def _wait(
    folder: RunFolder,
    state: TrainState,
    tokenizer: CharTokenizer,
    keep: "_Keeper",
    screen: Screen,
    signals: Signals,
) -> bool:
    """Wait as long as somebody wishes it, with all saved and a model to look at; whether it did."""
    waits = False
    while not (signals.code or state.is_finished):
        wish = folder.wish
        if wish.stop:
            signals.stop()
        elif wish.until is None or state.step < wish.until:
            break
        elif not waits:
            waits = True
            keep("the checkpoint", partial(folder.save, state), f"step {state.step}")
            keep("the snapshot", partial(folder.save_snapshot, state, tokenizer))
            keep("the lock", partial(folder.wait_at, state.step))
            screen.say(f"waiting at step {state.step}, as {folder.path / WISH_FILE} says")
        time.sleep(_GLANCE if waits else 0)
    if waits:
        keep("the lock", partial(folder.wait_at, None))
    return waits


class _Keeper:
    """Writes what a training brings, and lets it go on when the disk refuses a thing twice."""

    def __init__(self, folder: RunFolder, screen: Screen) -> None:
        self._folder, self._screen = folder, screen
        self._refusals = Counter[str]()

    def __call__(self, kind: str, write: Callable[[], None], name: str | None = None) -> None:
        """Carry out `write`, which is of a kind, and perhaps has a name of its own.

        Raises:
            StorageError: it is the third refusal since one of its kind was taken.
        """
        try:
            write()
            self._refusals[kind] = 0
        except StorageError as error:
            self._refusals[kind] += 1
            if self._refusals[kind] == _PATIENCE:
                raise
            saved = self._folder.saved_step
            kept = "nothing is saved yet" if saved is None else f"last saved step {saved}"
            self._screen.say(f"could not save {name or kind}: {error.why}; still training, {kept}")


def _finish(folder: RunFolder, corpus: Corpus, state: TrainState, screen: Screen) -> None:
    """Measure the best model exactly, say what came of it and what to do next."""
    ladder = folder.ladder
    folder.record.draw(ladder)
    best = load_model(folder.path, state.device)
    loss, count = final_loss(best.model, corpus)
    is_exact = count == len(corpus.test) - 1
    scored = "exact over the whole split" if is_exact else f"estimated from {count:,} characters"
    beaten = ladder.beaten(loss)
    above = f"beats the {beaten.name} ({beaten.loss:.3f})" if beaten else "beats no baseline"
    text = _sample(replace(state, model=best.model), corpus, folder.info["prompt"], 500)
    path, words = shlex.quote(str(folder.path)), text.split()
    prompt = shlex.quote(f"--prompt={words[0][:20]}") if words else ""
    rows = folder.record.rows()
    points = [Point(row["step"], row["train_loss"], row["test_loss"]) for row in rows]
    if state.out_of_patience:
        screen.say(f"stopped early: no better test loss in {state.looks_since_best} looks")
    screen.say(
        "",
        f"test loss {loss:.4f} nats per character, {scored}: {above}",
        f"          model of step {state.best_step}, after {duration(state.seconds)} of training",
        *([f"verdict   {judge(points, ladder)}"] if points else []),
        "",
        "It writes now:",
        "",
        text,
        "",
        f"in {folder.path}: model.safetensors, loss.png, samples.txt, metrics.jsonl. Type next:",
        f"  {program()} web {path}",
        f"  {program()} sample {path} {prompt}",
        f"  {program()} eval {path}",
        f"  {program()} explain window {path}",
    )


def _describe_look(progress: Progress, beaten: str | None) -> str:
    assert progress.look
    look = progress.look
    speed = f"  {progress.chars_per_second:,.0f} chars/s" if progress.chars_per_second else ""
    news = f"  {beaten}" if beaten else ""
    return (
        f"step {progress.step:>6}  train {look.train_loss:.3f}  test {look.test_loss:.3f}"
        f"{speed}{news}"
    )


def _status(progress: Progress, max_steps: int, folder: RunFolder) -> str:
    if not progress.step or progress.batch_loss is None:
        return f"step 0/{max_steps}"
    left = progress.seconds / progress.step * (max_steps - progress.step)
    return (
        f"step {progress.step}/{max_steps}  loss {progress.batch_loss:.3f}  "
        f"{progress.chars_per_second or 0:,.0f} chars/s  {duration(left)} left  "
        f"saved {folder.saved_step}"
    )


def _sample(state: TrainState, corpus: Corpus, prompt: str, length: int) -> str:
    """Write as `zigpt sample` would, so that the same text can be had again."""
    config = SampleConfig(seed=state.config.seed)
    decoder = QuickDecoder(state.model.config, weights_of(state.model))
    return prompt + "".join(write(decoder, corpus.tokenizer, prompt, length, config))
