"""How a run is made or reopened: text, settings, plan, baselines, folder."""

import time
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import replace

import torch

from zigpt.data.arrangement import END
from zigpt.data.batches import Corpus
from zigpt.errors import RunBusyError
from zigpt.generate.loop import default_prompt
from zigpt.gpt.config import GPTConfig, PresetName, TrainConfig, configure
from zigpt.language import tr
from zigpt.runs.events import Event, LadderBuilt, Notice, Opened, Planned, TextRead
from zigpt.runs.folder import RunFolder
from zigpt.runs.paths import free_path, newest_path
from zigpt.runs.preflight import require_free
from zigpt.runs.reading import Reading, read
from zigpt.runs.record import RunRecord, count_threads, cpu_capability
from zigpt.runs.request import TrainRequest
from zigpt.runs.training_text import find_again, fingerprint
from zigpt.training.advice import (
    Advice,
    advise,
    be_patient,
    drop_out,
    evaluate_often_enough,
    forget,
)
from zigpt.training.device import pick_device
from zigpt.training.loop import TrainState
from zigpt.training.optim import learning_rate_at
from zigpt.training.plan import FEWEST_STEPS, fit_to_seconds, make_plan, require_memory

_LONGEST_PROMPT = 40  # characters
_TRIES = 100  # to find a free folder, where other training runs start at the same time


def start(
    request: TrainRequest, reading: Reading | None = None, processes: int = 1
) -> Generator[Event, None, Opened]:
    """Read the text, unless it has been, decide the settings and their cost, make the folder.

    Raises:
        ZigptError: any of these is refused; nothing has been made then.
    """
    device = pick_device(request.device)
    reading = reading or read(request)
    source, corpus, ladder = reading.source, reading.corpus, reading.ladder
    planned = decide(request, corpus, device, processes)
    path = request.run or free_path(f"{source.name}-{planned.preset}")
    require_free(path)
    yield TextRead(source, corpus, reading.advice)
    yield planned
    ends_at, is_shortest = request.ends_at, planned.plan.steps == FEWEST_STEPS
    if ends_at and is_shortest and time.monotonic() + planned.plan.seconds > ends_at:
        sentence = tr(
            "{steps} steps, the fewest, take longer than was asked for", steps=FEWEST_STEPS
        )
        yield Notice(sentence)
    yield LadderBuilt(ladder, corpus)
    text, prompt = fingerprint(source), _prompt(corpus)
    model, training, preset = planned.model, planned.training, planned.preset
    record = RunRecord(model, training, text, ladder, prompt, preset, str(device), request.minutes)
    state = TrainState.initialise(model, training, device, corpus)
    for tries_left in reversed(range(_TRIES)):
        try:
            return Opened(RunFolder.create(path, record), corpus, state, request.ends_at)
        except RunBusyError:
            if request.run or not tries_left:
                raise
            path = free_path(f"{source.name}-{preset}")  # another training run was quicker
    raise AssertionError


def resume(request: TrainRequest) -> Generator[Event, None, Opened]:
    """Restore the state of a run's newest intact checkpoint, on the same text.

    Raises:
        ZigptError: the run is busy or damaged, its text or a setting of it is another.
    """
    device = pick_device(request.device)
    folder = RunFolder.open(request.run or newest_path())
    source = find_again(folder.record.text, request.texts, request.arrangement.held_out)
    folder.require_text(source)
    with ExitStack() as on_failure:
        folder.lock()
        on_failure.callback(folder.close)
        preset = {} if request.preset == "auto" else {"preset": request.preset}
        settings = {**request.settings, **preset}
        folder.require_changeable(settings)
        corpus = Corpus.from_text(source.text, n_train=source.n_train)
        state = TrainState.initialise(*folder.record.configs, device)
        notices: list[str] = []
        folder.restore(state, notices.append)
        if request.texts:
            folder.move_text(fingerprint(source))
        folder.change(settings, state.step)
        planned, state.config = state.config, folder.record.training
        if state.step >= state.config.max_steps:
            done = {"step": state.step, "steps": state.config.max_steps}
            notices.append(tr("no step is left to make: {step} are made, {steps} wanted", **done))
        notices += filter(None, [_other_machine(folder.record, device)])
        notices += filter(None, [_rate_to_come(state.step, planned, state.config)])
        yield from map(Notice, notices)
        yield TextRead(source, corpus)
        yield LadderBuilt(folder.record.ladder, corpus)
        on_failure.pop_all()
    minutes = folder.record.minutes
    ends_at = None if minutes is None else request.began + 60 * minutes - state.seconds
    return Opened(folder, corpus, state, ends_at)


def _other_machine(record: RunRecord, device: torch.device) -> str:
    """Say what makes the rest of a run differ from an uninterrupted one; nothing if it will not."""
    made = record.machine
    here = replace(
        record,
        device=str(device),
        torch=torch.__version__,
        threads=count_threads(),
        cpu=cpu_capability(),
    ).machine
    changed = [name for name in made if made[name] != here[name]]
    if not changed:
        return ""
    return tr(
        "this run was made with {made}; with {here} the last digits of its numbers will differ",
        made=", ".join(made[name] for name in changed),
        here=", ".join(here[name] for name in changed),
    )


def _rate_to_come(step: int, planned: TrainConfig, now: TrainConfig) -> str:
    """Say what a changed schedule means for the learning rate; nothing where it is as planned."""
    if now.max_steps <= step or replace(now, patience=planned.patience) == planned:
        return ""
    rate, final = learning_rate_at(step, now), now.final_learning_rate
    if rate == final:
        return tr(
            "the learning rate stays at {rate:.2g} until step {steps:,}; "
            "`learning_rate` changes it",
            rate=rate,
            steps=now.max_steps,
        )
    return tr(
        "the learning rate falls from {rate:.2g} to {final:.2g} at step {steps:,}",
        rate=rate,
        final=final,
        steps=now.max_steps,
    )


def decide(
    request: TrainRequest, corpus: Corpus, device: torch.device, processes: int = 1
) -> Planned:
    """Take a preset, or what suits text, device and time; lay the settings over it; time a step.

    Raises:
        ConfigError: the settings are impossible.
        TextError: the text is too short for them.
        OutOfMemoryError: they need more memory than this machine has.
    """
    given = request.settings
    preset, why, model, training = _choose(request, corpus, device)
    if "parts" not in given:
        training = replace(training, parts=_parts(processes, training.batch_size))
    plan = make_plan(model, training, corpus, device).shared(min(processes, training.parts))
    if request.ends_at is not None:
        left = request.ends_at - time.monotonic()
        training = fit_to_seconds(training, left, plan, given)
        plan = plan.of(training)
    if request.preset == "auto" and "dropout" not in given:
        model = drop_out(model, plan.epochs)
    if preset != "seed" and "patience" not in given:
        training = be_patient(training, corpus, model.block_size)
    return Planned(preset, why, model, training, device, plan)


def _parts(processes: int, batch_size: int) -> int:
    """Cut a batch into a part for each process, or a power of two above, if it has so many."""
    return 1 << min((processes - 1).bit_length(), batch_size.bit_length() - 1)


def _choose(
    request: TrainRequest, corpus: Corpus, device: torch.device
) -> tuple[PresetName, str, GPTConfig, TrainConfig]:
    given = request.settings
    if request.preset == "auto":
        advice = advise(corpus, device, request.minutes, given.get("precision", "auto"))
    else:
        advice = Advice(request.preset, {}, "")
    settings = {**advice.settings, **given}
    if "n_embd" in given and "n_head" not in given:
        settings.pop("n_head", None)  # what auto takes need not divide a person's width
    model, training = configure(corpus.tokenizer.vocab_size, advice.preset, settings)
    corpus.require(model.block_size)
    require_memory(model, training, device, corpus.length)
    if request.preset == "auto" and "weight_decay" not in given:
        training = forget(training, corpus, model.block_size)
    if advice.preset != "seed" and "eval_interval" not in given:
        training = evaluate_often_enough(training, corpus, model.block_size)
    return advice.preset, advice.why, model, training


def _prompt(corpus: Corpus) -> str:
    """Take the first whole line of words in the validation split: every sample continues it."""
    text = corpus.tokenizer.decode(corpus.validation[:2000]).replace(END, "\n")
    lines = [line.strip() for line in text.split("\n")[1:-1] if line.strip()]
    lines = [_shortened(line) for line in lines]
    words = [line for line in lines if sum(map(str.isalpha, line)) > len(line) / 2]
    return (words or lines)[0] + "\n" if lines else default_prompt(corpus.tokenizer)


def _shortened(line: str) -> str:
    """Cut a long line at the end of a word, where it has words."""
    if len(line) <= _LONGEST_PROMPT:
        return line
    return line[:_LONGEST_PROMPT].rpartition(" ")[0] or line[:_LONGEST_PROMPT]
