"""Speed as ratios taken in one run: ours, the plain textbook, and this machine's own limit.

    make bench

Both sides of a ratio take turns, several times; medians and the spread are printed. Nothing here
passes or fails: a busy machine only makes the spread wide.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import textbook
from zigpt.config import GPTConfig, SampleConfig, TrainConfig, configure
from zigpt.corpus import Corpus
from zigpt.device import describe, micro_batch_size, pick_device, pick_precision
from zigpt.generate.loop import Decoder, generate
from zigpt.generate.quick import QuickDecoder
from zigpt.generate.reference import ReferenceDecoder
from zigpt.model import GPT
from zigpt.runs.saved_model import SavedModel, save_model
from zigpt.tokenizer import CharTokenizer
from zigpt.train import TrainState, train_step

_ROUNDS = 3
_ALPHABET = "etaoin shrdlu\nETAOIN.,;cmfwypvbgkjqxz"


def take_turns(**sides: Callable[[], float]) -> dict[str, list[float]]:
    """Call every side once to warm up, then in turns; each call returns a rate."""
    for side in sides.values():
        side()
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(_ROUNDS):
        for name, side in sides.items():
            rates[name].append(side())
    return rates


def report(title: str, unit: str, rates: dict[str, list[float]]) -> None:
    """Print the median, spread and ratio to the last side of each side."""
    *_, base = rates.values()
    print(f"\n{title}")
    for name, values in rates.items():
        median = statistics.median(values)
        ratio = median / statistics.median(base)
        print(
            f"  {name:<34}{shown(median):>12} {unit:<10}"
            f"{shown(min(values)):>12} ... {shown(max(values)):<12}{ratio:>7.2f} x"
        )


def shown(number: float) -> str:
    """Three digits, or all before the point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def rate(work: Callable[[], object], amount: float) -> float:
    """Time `work` once: amount per second."""
    began = time.perf_counter()
    work()
    return amount / (time.perf_counter() - began)


def text(length: int, alphabet: str = _ALPHABET) -> str:
    """Make a text that any tokenizer finds as hard as a real one."""
    numbers = torch.randint(len(alphabet), (length,), generator=torch.Generator().manual_seed(0))
    return "".join(alphabet[i] for i in numbers.tolist())


def textbook_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor
) -> None:
    """Forward, backward, update: all windows at once, in float32."""
    loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def bench_training(device: torch.device) -> None:
    """Whole training steps at the textbook shape and the laptop preset."""
    corpus = Corpus.from_text(text(200_000))
    vocab_size = corpus.tokenizer.vocab_size
    seed = GPTConfig(vocab_size=vocab_size), TrainConfig()
    for name, (model, config) in (
        ("textbook shape: 6 x 6 x 384, block 256, dropout 0.2", seed),
        ("preset laptop: 4 x 4 x 128, block 64", configure(vocab_size, "laptop", {})),
    ):
        state = TrainState.fresh(model, config, device)
        plain = textbook.Textbook(model)
        optimizer = torch.optim.AdamW(plain.parameters(), lr=3e-4)
        batch = corpus.batch(0, config.batch_size, model.block_size, 0)
        inputs, targets = torch.from_numpy(batch[0]), torch.from_numpy(batch[1])

        step = partial(train_step, state, inputs, targets)
        lecture = partial(textbook_step, plain, optimizer, inputs, targets)
        amount = inputs.numel()
        sides = {
            "zigpt": partial(rate, step, amount),
            "textbook": partial(rate, lecture, amount),
        }
        report(f"training, {name}", "chars/s", take_turns(**sides))


def bench_limit(device: torch.device) -> None:
    """How much of this machine's arithmetic a training step uses."""
    precision = pick_precision(device)
    matrix = torch.randn(2048, 2048, device=device, dtype=precision)
    corpus = Corpus.from_text(text(200_000))
    model = GPTConfig(vocab_size=corpus.tokenizer.vocab_size)
    state = TrainState.fresh(model, TrainConfig(), device)
    size = micro_batch_size(64, model.block_size, model.n_embd, device)
    batch = corpus.batch(0, size, model.block_size, 0)
    inputs, targets = torch.from_numpy(batch[0]), torch.from_numpy(batch[1])
    per_char = 6 * model.n_parameters + 6 * model.n_layer * model.block_size * model.n_embd
    report(
        f"arithmetic, textbook shape, {precision}",
        "GFLOP/s",
        take_turns(
            training=lambda: rate(
                lambda: train_step(state, inputs, targets), per_char * inputs.numel() / 1e9
            ),
            **{"matrix product 2048^3": lambda: rate(lambda: matrix @ matrix, 2 * 2048**3 / 1e9)},
        ),
    )


def bench_writing(device: torch.device) -> None:
    """Writing one character after another, from the first on to a full window and past it."""
    model = GPT(GPTConfig()).to(device).eval()
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}

    def decode(decoder: Decoder, length: int) -> float:
        steps = generate(decoder, [0], length + 1, SampleConfig())
        next(steps)  # a session is built, memory touched: the steady state is what is asked for
        return rate(lambda: list(steps), decoder.count * length)

    @torch.inference_mode()
    def whole_window(length: int) -> None:
        ids = torch.zeros(1, 256, dtype=torch.int64, device=device)
        for _ in range(length):
            drawn = torch.multinomial(model(ids[:, -256:])[:, -1].softmax(-1), 1)
            ids = torch.cat([ids, drawn], dim=1)

    def quick(count: int) -> float:
        return decode(QuickDecoder(model.config, weights, count), 400)

    title = "writing, textbook shape"
    sides = {
        "zigpt sample (8-bit weights)": lambda: quick(1),
        "torch, float32, cached": lambda: decode(ReferenceDecoder(model), 100),
        "whole window for each": lambda: rate(lambda: whole_window(16), 16),
    }
    report(f"{title}, one text", "chars/s", take_turns(**sides))
    sides = {
        "zigpt sample --count 64": lambda: quick(64),
        "torch, float32, cached": lambda: decode(ReferenceDecoder(model, 64), 100),
    }
    report(f"{title}, 64 texts side by side", "chars/s", take_turns(**sides))


def bench_encoding() -> None:
    """Text to ids, the vocabulary known."""
    for name, sample in (
        ("ASCII", text(1_000_000) * 4),
        ("Chinese", text(500_000, "".join(map(chr, range(0x4E00, 0x4E00 + 3000))))),
    ):
        megabytes = len(sample.encode()) / 1e6
        tokenizer = CharTokenizer.from_text(sample)
        sides: dict[str, Callable[[], object]] = {
            "zigpt": partial(tokenizer.encode, sample),
            "zigpt, vocabulary included": partial(Corpus.from_text, sample),
            "textbook": partial(textbook.encode, sample),
        }
        rates = take_turns(**{side: partial(rate, work, megabytes) for side, work in sides.items()})
        report(f"text to ids, {name}", "MB/s", rates)


def bench_start() -> None:
    """From pressing Enter to the help text, and to the first character written."""
    model = GPT(GPTConfig())
    tokenizer = CharTokenizer("".join(map(chr, range(40, 40 + model.config.vocab_size))))

    def run(*arguments: str) -> float:
        with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE) as process:
            assert process.stdout
            return 1 / rate(partial(process.stdout.read, 1), 1)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        save_model(path, SavedModel(model, tokenizer, {}))
        sides = {
            "zigpt sample, first character": partial(run, "-m", "zigpt", "sample", str(path)),
            "zigpt --help": partial(run, "-m", "zigpt", "--help"),
            "python, doing nothing": partial(run, "-c", "print()"),
        }
        report("start", "seconds", take_turns(**sides))


def main() -> None:
    """Print every ratio."""
    device = pick_device("cpu")
    print(f"{describe(device)}; median of {_ROUNDS} rounds, min ... max, ratio to the last line")
    bench_training(device)
    bench_limit(device)
    bench_writing(device)
    bench_encoding()
    bench_start()


if __name__ == "__main__":
    main()
