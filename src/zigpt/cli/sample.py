"""`zigpt sample`: the model writes; the text alone goes to stdout, everything else to stderr."""

from pathlib import Path

from zigpt.cli.options import SampleOptions, given
from zigpt.cli.terminal import write_out
from zigpt.errors import UsageError
from zigpt.formats.safetensors import read_lazily
from zigpt.generate.loop import Decoder, generate, opening, stop_before
from zigpt.gpt.config import SampleConfig
from zigpt.tokenizers.base import Tokenizer

_MOST_CHARS, _MOST_TEXTS = 10**9, 10**4  # beyond that no machine at hand has the memory


def run(options: SampleOptions) -> int:
    """Write `count` continuations of the prompt. Returns the exit code.

    Raises:
        UsageError: no text of that length or number can be written.
    """
    config = SampleConfig(**given(options.settings))
    if not (0 <= options.chars <= _MOST_CHARS and 1 <= options.count <= _MOST_TEXTS):
        raise UsageError(
            f"cannot write {options.count} texts of {options.chars} characters",
            f"--count goes from 1 to {_MOST_TEXTS:,} and --chars from 0 to {_MOST_CHARS:,}",
            "try --count 1 --chars 500",
        )
    decoder, tokenizer = _load(options.run, options.device, options.count)
    prompt = tokenizer.decode(tokenizer.encode(options.prompt, options.unknown))
    start = tokenizer.encode(prompt or opening(tokenizer))
    rows = map(tokenizer.decode, generate(decoder, start, options.chars, config))
    stops = [stop for stop in options.stop if stop]
    if options.count == 1:
        write_out(prompt)
        for piece in stop_before(rows, stops):
            write_out(piece)
        write_out("\n")
        return 0
    # Several at once share every pass through the model, so none can be shown before the others.
    texts = ["".join(stop_before(column, stops)) for column in zip(*rows, strict=True)]
    write_out("---\n".join(f"{prompt}{text}\n" for text in texts or [""] * options.count))
    return 0


def _load(path: Path, device: str, count: int) -> tuple[Decoder, Tokenizer]:
    """The quick decoder, unless a device was asked for; either is imported only if needed."""
    if device == "auto":
        from zigpt.generate.quick import QuickDecoder

        file = read_lazily(path)
        return QuickDecoder(file.config, file.weights, count), file.tokenizer
    from zigpt.formats.saved_model import load_model
    from zigpt.generate.reference import ReferenceDecoder
    from zigpt.training.device import pick_device

    saved = load_model(path, pick_device(device))
    return ReferenceDecoder(saved.model, count), saved.tokenizer
