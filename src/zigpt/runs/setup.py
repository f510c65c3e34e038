"""How a run is made or reopened: text, settings, plan, baselines, folder."""

import time
from collections.abc import Generator
from contextlib import ExitStack

import torch

from zigpt.data.batches import Corpus
from zigpt.errors import RunBusyError
from zigpt.generate.loop import default_prompt
from zigpt.gpt.config import GPTConfig, PresetName, TrainConfig, configure
from zigpt.runs.events import Event, LadderBuilt, Notice, Opened, Planned, TextRead
from zigpt.runs.folder import RunFolder
from zigpt.runs.paths import free_path, newest_path
from zigpt.runs.preflight import require_free
from zigpt.runs.reading import Reading, find_text, read
from zigpt.runs.record import RunRecord
from zigpt.runs.request import TrainRequest
from zigpt.runs.training_text import find_again, fingerprint
from zigpt.training.advice import Advice, advise, be_patient, drop_out, evaluate_often_enough
from zigpt.training.device import pick_device
from zigpt.training.loop import TrainState
from zigpt.training.plan import fit_to_seconds, make_plan, require_memory


def start(request: TrainRequest, reading: Reading | None = None) -> Generator[Event, None, Opened]:
    """Read the text, unless it has been, decide the settings and their cost, make the folder.

    Raises:
        ZigptError: any of these is refused; nothing has been made then.
    """
    device = pick_device(request.device)
    reading = reading or read(request)
    source, corpus, ladder = reading.source, reading.corpus, reading.ladder
    preset, why, model, training = decide_settings(request, corpus, device)
    path = request.run or free_path(f"{source.name}-{preset}")
    require_free(path)
    plan = make_plan(model, training, corpus, device)
    ends_at = None
    if request.minutes is not None:
        ends_at = request.began + 60 * request.minutes
        training = fit_to_seconds(training, ends_at - time.monotonic(), plan)
        plan = plan.of(training)
    model, training = suit_passes(request, preset, corpus, model, training)
    yield TextRead(source, corpus, reading.advice)
    yield Planned(preset, why, model, training, device, plan)
    if request.minutes is not None and plan.seconds > 60 * request.minutes:
        yield Notice(f"{training.max_steps} steps, the fewest, take longer than was asked for")
    yield LadderBuilt(ladder, corpus)
    text, prompt = fingerprint(source), _prompt(corpus)
    record = RunRecord(model, training, text, ladder, prompt, preset, str(device), request.minutes)
    state = TrainState.initialise(model, training, device, corpus)
    while True:
        try:
            return Opened(RunFolder.create(path, record), corpus, state, ends_at)
        except RunBusyError:
            if request.run:
                raise
            path = free_path(f"{source.name}-{preset}")  # another training run was quicker


def resume(request: TrainRequest) -> Generator[Event, None, Opened]:
    """Restore the state of a run's newest intact checkpoint, on the same text.

    Raises:
        ZigptError: the run is busy or damaged, its text or a setting of it is another.
    """
    device = pick_device(request.device)
    folder = RunFolder.open(request.run or newest_path())
    source = find_text(request.texts) if request.texts else find_again(folder.record.text)
    folder.require_text(source)
    with ExitStack() as on_failure:
        folder.lock()
        on_failure.callback(folder.close)
        preset = {} if request.preset == "auto" else {"preset": request.preset}
        folder.change({**request.settings, **preset})
        corpus = Corpus.from_text(source.text)
        state = TrainState.initialise(*folder.record.configs, device)
        notices: list[str] = []
        folder.restore(state, notices.append)
        yield from map(Notice, notices)
        yield TextRead(source, corpus)
        yield LadderBuilt(folder.record.ladder, corpus)
        on_failure.pop_all()
    minutes = folder.record.minutes
    ends_at = None if minutes is None else request.began + 60 * minutes - state.seconds
    return Opened(folder, corpus, state, ends_at)


def decide_settings(
    request: TrainRequest, corpus: Corpus, device: torch.device
) -> tuple[PresetName, str, GPTConfig, TrainConfig]:
    """Take a preset, or what suits the text and the device, and lay the settings over it.

    Returns the name of the preset, why it was chosen (empty if a person did), and the settings.

    Raises:
        ConfigError: they are impossible.
        TextError: the text is too short for them.
        OutOfMemoryError: they need more memory than this machine has.
    """
    if request.preset == "auto":
        precision = request.settings.get("precision", "auto")
        advice = advise(corpus, device, request.minutes, precision)
    else:
        advice = Advice(request.preset, {}, "")
    settings = {**advice.settings, **request.settings}
    model, training = configure(corpus.tokenizer.vocab_size, advice.preset, settings)
    corpus.require(model.block_size)
    require_memory(model, training, device)
    if advice.preset != "seed" and "eval_interval" not in settings:
        training = evaluate_often_enough(training, corpus, model.block_size)
    return advice.preset, advice.why, model, training


def suit_passes(
    request: TrainRequest,
    preset: PresetName,
    corpus: Corpus,
    model: GPTConfig,
    training: TrainConfig,
) -> tuple[GPTConfig, TrainConfig]:
    """Fit patience, and dropout where `auto` decides, to how often the text will be read."""
    if request.preset == "auto" and "dropout" not in request.settings:
        model = drop_out(model, training, corpus)
    if preset != "seed" and "patience" not in request.settings:
        training = be_patient(training, corpus, model.block_size)
    return model, training


def _prompt(corpus: Corpus) -> str:
    """Take the first whole line of the validation split: every sample continues the same one."""
    text = corpus.tokenizer.decode(corpus.validation[:2000])
    whole = [line for line in text.split("\n")[1:-1] if line.strip()]
    return whole[0][:40] + "\n" if whole else default_prompt(corpus.tokenizer)
