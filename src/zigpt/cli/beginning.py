"""How a training begins, or is gone on with: text, settings, ladder, run folder."""

import shlex

import torch

from zigpt.baselines import Ladder, build_ladder, extent
from zigpt.cli.options import TrainOptions, said
from zigpt.cli.screen import Screen, duration, program
from zigpt.cli.source import choose, describe_text, find_text, require_possible
from zigpt.config import GPTConfig, TrainConfig
from zigpt.corpus import Corpus
from zigpt.device import describe, pick_device, pick_precision, precision_name
from zigpt.errors import RunBusyError
from zigpt.generate.loop import opening
from zigpt.plan import fit_to_minutes, make_plan
from zigpt.runs.folder import RunFolder
from zigpt.runs.own_text import find_again, text_of
from zigpt.runs.paths import free_path, newest_path
from zigpt.survey import advice, survey
from zigpt.train import TrainState


def start(options: TrainOptions) -> tuple[RunFolder, Corpus, TrainState, Screen]:
    """Read the text, settle the settings, measure the ladder, and make the run folder.

    Raises:
        ZigptError: any of these is refused; nothing has been made then.
    """
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


def resume(options: TrainOptions) -> tuple[RunFolder, Corpus, TrainState, Screen]:
    """Bring back the state of a run's newest intact checkpoint, on the same text.

    Raises:
        ZigptError: it is taken or damaged, its text has changed, or the settings would change it.
    """
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


def _describe_plan(
    preset: str, model: GPTConfig, config: TrainConfig, corpus: Corpus, device: torch.device
) -> list[str]:
    plan = make_plan(model, config, corpus, device)
    precision = precision_name(pick_precision(device, config.precision))
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


def _prompt(corpus: Corpus) -> str:
    """Take the first whole line of the test split, so that every sample continues the same."""
    text = corpus.tokenizer.decode(corpus.test[:2000])
    whole = [line for line in text.split("\n")[1:-1] if line.strip()]
    return whole[0][:40] + "\n" if whole else opening(corpus.tokenizer)
