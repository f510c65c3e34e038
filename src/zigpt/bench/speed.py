"""Training, writing, reading text and starting: ours, the textbook, the machine's own limit."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from zigpt.bench.cost import training_flops
from zigpt.bench.limits import matrix_products, memory_read
from zigpt.bench.plain import load_textbook
from zigpt.bench.rounds import Comparison, Measure, compare, rate
from zigpt.data.batches import Corpus
from zigpt.formats.saved_model import SavedModel, save_model, weights_of
from zigpt.generate.loop import Decoder, generate
from zigpt.generate.quick import QuickDecoder
from zigpt.generate.reference import ReferenceDecoder
from zigpt.gpt.config import GPTConfig, PresetName, SampleConfig, TrainConfig, configure
from zigpt.gpt.model import GPT
from zigpt.tokenizers.char import CharTokenizer
from zigpt.training.device import pick_precision, precision_name
from zigpt.training.loop import TrainState, train_step

_ASCII = "etaoin shrdlu\nETAOIN.,;cmfwypvbgkjqxz"
_TWO_STEPS = """
import sys, torch
from zigpt.bench.speed import TRAINERS
from zigpt.gpt.config import configure
side, preset, vocab_size = sys.argv[1:]
step = TRAINERS[side](*configure(int(vocab_size), preset, {}), torch.device("cpu"))
step(), step()
"""
# Ctrl-C reaches the measured process too: it ends without a traceback. (`signal` is slower.)
_QUIETLY = "import _signal; _signal.signal(_signal.SIGINT, _signal.SIG_DFL)\n"
_LAUNCHER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
_HANZI = "".join(map(chr, range(0x4E00, 0x4E00 + 3000)))


def random_text(length: int, alphabet: str = _ASCII) -> str:
    """Make a text that is as much work for a tokenizer and a model as a real one."""
    numbers = np.random.default_rng(0).integers(len(alphabet), size=length)
    return "".join(map(alphabet.__getitem__, numbers.tolist()))


def measure_training(device: torch.device, rounds: int) -> Iterator[Comparison]:
    """Measure whole steps (forward, backward, update) of the presets seed and laptop."""
    presets: dict[PresetName, int] = {"seed": 1, "laptop": 10}  # steps in a turn
    for preset, n_steps in presets.items():
        yield compare_training(*configure(len(_ASCII), preset, {}), device, rounds, n_steps)
    if device.type == "cpu":  # elsewhere memory does not belong to the process
        yield from map(compare_memory, presets)


def compare_training(
    model: GPTConfig, config: TrainConfig, device: torch.device, rounds: int, n_steps: int = 1
) -> Comparison:
    """Train on one batch, `n_steps` times per measurement."""
    predictions, precision = config.batch_size * model.block_size, pick_precision(device)

    def steps(step: Callable[[], object]) -> float:
        return rate(lambda: [step() for _ in range(n_steps)], n_steps * predictions)

    ours, theirs = (trainer(model, config, device) for trainer in TRAINERS.values())
    limit = f"limit: {precision_name(precision)} products"
    return compare(
        f"training {model.n_layer}/{model.n_head}/{model.n_embd}, block {model.block_size}",
        "chars/s",
        rounds,
        {
            "zigpt": lambda: steps(ours),
            "textbook": lambda: steps(theirs),
            limit: lambda: matrix_products(device, precision) / training_flops(model),
        },
        "textbook",
        limit,
    )


def _ours(model: GPTConfig, config: TrainConfig, device: torch.device) -> Callable[[], object]:
    state = TrainState.initialise(model, config, device)
    return partial(train_step, state, *_batch(model, config))


def _textbook(model: GPTConfig, config: TrainConfig, device: torch.device) -> Callable[[], object]:
    v2 = load_textbook(model)
    plain = v2.GPT(model.vocab_size).to(device)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=config.learning_rate)
    inputs, targets = (ids.to(device) for ids in _batch(model, config))
    return partial(v2.train_step, plain, optimizer, inputs, targets, at_once=len(inputs))


TRAINERS = {"zigpt": _ours, "textbook": _textbook}


def _batch(model: GPTConfig, config: TrainConfig) -> list[torch.Tensor]:
    corpus = Corpus.from_text(random_text(20 * model.block_size))
    windows = corpus.batch(0, config.batch_size, model.block_size, 0)
    return [torch.from_numpy(ids) for ids in windows]


def compare_memory(preset: PresetName) -> Comparison:
    """Measure the peak memory of two steps of a preset, each side in its own process.

    Once only: it hardly varies.
    """
    model, _ = configure(len(_ASCII), preset, {})
    nothing = "importing torch"
    vocab_size = str(model.vocab_size)
    programs = {name: _python(_TWO_STEPS, name, preset, vocab_size) for name in TRAINERS}
    programs[nothing] = _python("import torch")
    return Comparison(
        f"peak memory training {model.n_layer}/{model.n_head}/{model.n_embd}",
        "MB",
        {name: [_peak_memory(program)] for name, program in programs.items()},
        "textbook",
        nothing,
        less_is_better=True,
    )


def measure_writing(device: torch.device, rounds: int) -> Iterator[Comparison]:
    """Measure writing at the textbook's shape: one text, then 64 side by side."""
    yield compare_writing(GPTConfig(), 1, device, rounds, (400, 100, 16))
    yield compare_writing(GPTConfig(), 64, device, rounds, (200, 100, 2))


def compare_writing(
    config: GPTConfig, count: int, device: torch.device, rounds: int, chars: tuple[int, int, int]
) -> Comparison:
    """Write `count` texts; `chars` for the quick way, the reference and the textbook."""
    model = GPT(config).eval()
    weights = weights_of(model)
    v2 = load_textbook(config)
    model, plain = model.to(device), v2.GPT(config.vocab_size).to(device)
    quick, cached, whole = chars

    def decode(decoder: Decoder, length: int) -> float:
        steps = generate(decoder, [0], length + 1, SampleConfig())
        next(steps)  # touches memory: the steady state is measured
        return rate(lambda: list(steps), count * length)

    window = torch.zeros(count, config.block_size, dtype=torch.int64, device=device)
    read = partial(v2.generate, plain, window, whole)
    sides: dict[str, Measure] = {
        "zigpt sample, 8-bit weights": lambda: decode(QuickDecoder(config, weights, count), quick),
        "the model itself, float32, cached": lambda: decode(ReferenceDecoder(model, count), cached),
        "textbook": lambda: rate(read, count * whole),
    }
    flops, bytes_read = training_flops(config) / 3, 9 / 8 * config.n_parameters
    if count == 1:
        limit = "limit: reading 8-bit weights"
        sides[limit] = lambda: memory_read(device) / bytes_read
    else:
        precision = pick_precision(device)
        limit = f"limit: {precision_name(precision)} products"
        sides[limit] = lambda: matrix_products(device, precision) / flops
    texts = "one text" if count == 1 else f"{count} texts"
    return compare(f"writing {texts}", "chars/s", rounds, sides, "textbook", limit)


def measure_text(
    device: torch.device, rounds: int, length: int = 4_000_000
) -> Iterator[Comparison]:
    """Measure text to ids; the limit is reading the text and writing ids of one or two bytes."""
    v2 = load_textbook(GPTConfig())
    for name, alphabet in (("ASCII", _ASCII), ("Chinese", _HANZI)):
        text = random_text(length // 4, alphabet) * 4
        tokenizer, megabytes = CharTokenizer.from_text(text), len(text.encode()) / 1e6
        traffic = 1 + tokenizer.encode(text).nbytes / len(text.encode())
        sides: dict[str, Measure] = {
            "zigpt": partial(rate, partial(tokenizer.encode, text), megabytes),
            "zigpt, vocabulary included": partial(rate, partial(Corpus.from_text, text), megabytes),
            "textbook": partial(rate, partial(_encode_plainly, v2, text), megabytes),
        }
        limit = "limit: memory"
        sides[limit] = partial(_memory_limit, 1e6 * traffic)
        yield compare(f"text to ids, {name}", "MB/s", rounds, sides, "textbook", limit)


def _encode_plainly(v2: ModuleType, text: str) -> list[int]:
    return v2.encode(text, sorted(set(text)))


def _memory_limit(traffic: float) -> float:
    return memory_read(torch.device("cpu")) / traffic


def measure_start(device: torch.device, rounds: int) -> Iterator[Comparison]:
    """Measure the time from Enter to the first character, and peak memory."""
    model = GPT(GPTConfig())
    tokenizer = CharTokenizer("".join(map(chr, range(40, 40 + model.config.vocab_size))))
    nothing = "python, doing nothing"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        save_model(path, SavedModel(model, tokenizer, {}))
        commands = {
            "zigpt sample": ("-m", "zigpt", "sample", str(path), "--chars=20"),
            "zigpt --help": ("-m", "zigpt", "--help"),
            "importing torch": _python("import torch; print()"),
            nothing: _python("print()"),
        }
        for title, unit, measure in (
            ("first character", "seconds", _first_character),
            ("peak memory", "MB", _peak_memory),
        ):
            sides = {name: partial(measure, words) for name, words in commands.items()}
            yield compare(title, unit, rounds, sides, limit=nothing, less_is_better=True)


def _python(program: str, *arguments: str) -> tuple[str, ...]:
    return ("-c", _QUIETLY + program, *arguments)


def _first_character(words: Sequence[str]) -> float:
    """Run a Python process; return the seconds until its first character."""
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE) as process:
        assert process.stdout
        return 1 / rate(partial(process.stdout.read, 1), 1)


def _peak_memory(words: Sequence[str]) -> float:
    """Run a Python process; return its peak memory in MB.

    A small process in between starts it: the peak of a child includes its parent's.
    """
    command = [sys.executable, *_python(_LAUNCHER, sys.executable, *words)]
    peak = int(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return peak / (1e6 if sys.platform == "darwin" else 1e3)  # counted in bytes there
