"""`zigpt train`, the part with torch: text in, model out, watched as it learns."""

import contextlib
import os
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import torch

from zigpt.baselines import Ladder, build_ladder, extent
from zigpt.cli.options import TrainOptions, said
from zigpt.cli.screen import Screen, duration, one_line, program
from zigpt.cli.signals import Signals
from zigpt.cli.source import choose, describe_text, find_text, require_possible
from zigpt.config import GPTConfig, PresetName, SampleConfig, TrainConfig, overrides_of
from zigpt.corpus import Corpus
from zigpt.device import describe, keep_freed_memory, pick_device, pick_precision
from zigpt.errors import DivergedError, RunBusyError, StorageError
from zigpt.generate.loop import opening, write
from zigpt.generate.reference import ReferenceDecoder
from zigpt.plan import fit_to_minutes, make_plan
from zigpt.runs.folder import SAVE_EVERY, RunFolder, is_blank
from zigpt.runs.own_text import find_again, text_of
from zigpt.runs.paths import free_path, newest_path, numbered
from zigpt.runs.record import sample_steps
from zigpt.runs.saved_model import load_model
from zigpt.runs.wish import WISH_FILE, read_wish
from zigpt.survey import advice, survey
from zigpt.tokenizer import CharTokenizer
from zigpt.train import Progress, TrainState, final_loss, train
from zigpt.verdict import Point, judge, milestone

_PATIENCE = 3  # refusals of the same thing in a row that end a training
_SAMPLE_CHARS = 200
_GLANCE = 0.05  # seconds between looks for a new wish
_MOST_SPELLED = 10  # texts in a command: a line has no room for many


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
    folder, corpus, state, screen = _resume(options) if resumes else _start(options)
    with closing(folder), screen:
        signals.gently = True
        try:
            _follow(folder, corpus, state, screen, signals)
        except DivergedError as error:
            folder.save(state)
            folder.record.draw(folder.ladder)
            raise _with_command(error, folder, state, options.texts) from error
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


def _start(options: TrainOptions) -> tuple[RunFolder, Corpus, TrainState, Screen]:
    device = pick_device(options.device)
    require_possible(options.preset, said(options.settings))
    source = find_text(options.texts)
    corpus = Corpus.from_text(source.text)
    preset, model, training = choose(options.preset, corpus, device, said(options.settings))
    path = options.run or free_path(f"{source.name}-{preset}")
    RunFolder.require_free(path)
    if options.minutes is not None:
        training = fit_to_minutes(options.minutes, model, training, corpus, device)
    screen = Screen(training.max_steps)
    screen.say(*describe_text(source, corpus))
    screen.say(*(f"note    {line}" for line in advice(survey(source.text, len(corpus.train)))))
    screen.say(*_describe_plan(preset, model, training, corpus, device))
    ladder = build_ladder(corpus.train, corpus.test, corpus.tokenizer.vocab_size)
    screen.say(*_describe_ladder(ladder, corpus), f"run     {path}", "")
    extra = {"preset": preset, "device": str(device), "prompt": _prompt(corpus)}
    state = TrainState.fresh(model, training, device)
    while True:
        try:
            folder = RunFolder.create(path, (model, training), source, ladder, extra)
            return folder, corpus, state, screen
        except RunBusyError:
            if options.run:
                raise
            path = free_path(f"{source.name}-{preset}")  # another training was quicker


def _resume(options: TrainOptions) -> tuple[RunFolder, Corpus, TrainState, Screen]:
    device = pick_device(options.device)
    folder = RunFolder.open(options.run or newest_path())
    again = f"{program()} train TEXT --resume --run {shlex.quote(str(folder.path))}"
    source = find_text(options.texts) if options.texts else find_again(text_of(folder.info), again)
    folder.require_text(source)
    folder.lock()
    preset = {} if options.preset == "auto" else {"preset": options.preset}
    folder.change({**said(options.settings), **preset})
    corpus = Corpus.from_text(source.text)
    model, training = folder.configs
    screen = Screen(training.max_steps)
    state = TrainState.fresh(model, training, device)
    folder.restore(state, screen.say)
    screen.say(*describe_text(source, corpus), *_describe_ladder(folder.ladder, corpus))
    screen.say(f"run     {folder.path}: going on at step {state.step}", "")
    return folder, corpus, state, screen


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
        wish = read_wish(folder.path)
        if wish.stop:
            signals.stop()
        elif wish.until is None or state.step < wish.until:
            break
        elif not waits:
            waits = True
            keep("the checkpoint", partial(folder.save, state), f"step {state.step}")
            keep("the snapshot", partial(folder.save_snapshot, state, tokenizer))
            screen.say(f"waiting at step {state.step}, as {folder.path / WISH_FILE} says")
        time.sleep(_GLANCE if waits else 0)
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


def _with_command(
    error: DivergedError, folder: RunFolder, state: TrainState, texts: Sequence[Path]
) -> DivergedError:
    """Say what was kept, and spell the same training with a lower learning rate."""
    known = folder.info["preset"]
    preset: PresetName = known if known in get_args(PresetName) else "seed"
    rate = float(f"{state.config.learning_rate / 3:.2g}")
    settings = overrides_of(preset, *folder.configs) | {"learning_rate": rate}
    if "final_learning_rate" in settings:  # it was not that of the preset's schedule
        settings["final_learning_rate"] = min(settings["final_learning_rate"], rate)
    if state.device != pick_device("auto"):
        settings["device"] = state.device
    # Whole paths: they hold in any folder, and none begins like an option.
    words = [os.path.abspath(path) for path in texts or folder.info["text"]["paths"]]
    if len(words) > _MOST_SPELLED:
        words = ["TEXT"]
    words += ["--preset", preset]
    for name, value in settings.items():
        words += [f"--{name.replace('_', '-')}", f"{value}"]
    words += ["--run", str(numbered(Path(os.path.abspath(folder.path))))]
    return DivergedError(
        error.what,
        f"{error.why}; step {state.step} is saved in {folder.path}",
        f"try {program()} train {shlex.join(words)}",
    )


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


def _describe_plan(
    preset: str, model: GPTConfig, config: TrainConfig, corpus: Corpus, device: torch.device
) -> list[str]:
    plan = make_plan(model, config, corpus, device)
    precision = str(pick_precision(device, config.precision)).removeprefix("torch.")
    return [
        f"device  {describe(device)}, {precision}",
        f"preset  {preset}: {model.n_layer} layers x {model.n_head} heads x {model.n_embd} wide, "
        f"block {model.block_size}, batch {config.batch_size}: "
        f"{config.batch_size * model.block_size:,} predictions a step",
        f"model   {plan.parameters:,} parameters, about {plan.memory_bytes / 2**30:.1f} GB memory",
        f"plan    {plan.steps:,} steps, {plan.epochs:.1f} times through the text, "
        f"about {duration(plan.seconds)}",
    ]


def _describe_ladder(ladder: Ladder, corpus: Corpus) -> list[str]:
    rungs = " > ".join(f"{rung.name} {rung.loss:.3f}" for rung in ladder.rungs)
    line = f"ladder  {rungs}  (test loss in nats per character of simpler models)"
    part = extent(len(corpus.train), len(corpus.test))
    return [line, f"        {part}"] if part else [line]


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


def _prompt(corpus: Corpus) -> str:
    """Take the first whole line of the test split, so that every sample continues the same."""
    text = corpus.tokenizer.decode(corpus.test[:2000])
    whole = [line for line in text.split("\n")[1:-1] if line.strip()]
    return whole[0][:40] + "\n" if whole else opening(corpus.tokenizer)


def _sample(state: TrainState, corpus: Corpus, prompt: str, length: int) -> str:
    config = SampleConfig(seed=state.config.seed)
    return prompt + "".join(
        write(ReferenceDecoder(state.model), corpus.tokenizer, prompt, length, config)
    )
