"""`zigpt sample`: the model writes; the text alone goes to stdout, everything else to stderr."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zigpt.cli.terminal import write_out
from zigpt.errors import UsageError, VocabularyError
from zigpt.formats.safetensors import read_lazily
from zigpt.generate.loop import Decoder, default_prompt, generate, stop_before
from zigpt.gpt.config import SampleConfig
from zigpt.language import tr
from zigpt.tokenizers.base import Tokenizer, Unknown

_MOST_CHARS, _MOST_TEXTS = 10**9, 10**4  # no machine at hand has the memory for more


def run(
    path: Path,
    prompt: str = "",
    chars: int = 500,
    count: int = 1,
    stop: Sequence[str] = (),
    unknown: Unknown = "error",
    device: str = "auto",
    **settings: Any,
) -> int:
    """Write `count` continuations of the prompt. Returns the exit code.

    Raises:
        UsageError: no text of that length or number can be written.
        VocabularyError: the model has never seen a character of the prompt or of a stop.
    """
    config = SampleConfig(**settings)
    if not (0 <= chars <= _MOST_CHARS and 1 <= count <= _MOST_TEXTS):
        raise UsageError(
            tr("cannot write {count} texts of {chars} characters", count=count, chars=chars),
            tr(
                "--count goes from 1 to {texts:,} and --chars from 0 to {chars:,}",
                texts=_MOST_TEXTS,
                chars=_MOST_CHARS,
            ),
            tr("try --count 1 --chars 500"),
        )
    decoder, tokenizer = _load(path, device, count)
    stops = [text for text in stop if text]
    _require_possible(stops, tokenizer)
    prompt = tokenizer.decode(tokenizer.encode(prompt, unknown))
    start = tokenizer.encode(prompt or default_prompt(tokenizer))
    rows = map(tokenizer.decode, generate(decoder, start, chars, config))
    if count == 1:
        write_out(prompt)
        for piece in stop_before(rows, stops):
            write_out(piece)
        write_out("\n")
        return 0
    # Several at once share every pass through the model, so none can be shown before the others.
    texts = ["".join(stop_before(column, stops)) for column in zip(*rows, strict=True)]
    write_out("---\n".join(f"{prompt}{text}\n" for text in texts or [""] * count))
    return 0


def _require_possible(stops: Sequence[str], tokenizer: Tokenizer) -> None:
    for stop in stops:
        try:
            tokenizer.encode(stop)
        except VocabularyError as error:
            raise VocabularyError(
                tr("--stop {stop!r} can never be reached: the model cannot write it", stop=stop),
                error.what,
                tr("choose another text; a line break is typed as $'\\n' in bash"),
            ) from error


def _load(path: Path, device: str, count: int) -> tuple[Decoder, Tokenizer]:
    """Load the quick decoder, or with a device torch's; each is imported only if needed."""
    if device == "auto":
        from zigpt.generate.quick import QuickDecoder

        file = read_lazily(path)
        return QuickDecoder(file.config, file.weights, count), file.tokenizer
    from zigpt.formats.saved_model import load_model
    from zigpt.generate.reference import ReferenceDecoder
    from zigpt.training.device import pick_device

    saved = load_model(path, pick_device(device))
    return ReferenceDecoder(saved.model, count), saved.tokenizer
