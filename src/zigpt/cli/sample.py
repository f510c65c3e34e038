"""`zigpt sample`: the model writes; the text alone goes to stdout, everything else to stderr."""

import sys
from collections.abc import Iterator

from zigpt.cli.options import SampleOptions, said
from zigpt.config import SampleConfig
from zigpt.device import pick_device
from zigpt.errors import UsageError
from zigpt.generate import generate, opening, stop_before
from zigpt.runs import SavedModel, load_model


def run(options: SampleOptions) -> int:
    """Write `count` continuations of the prompt. Returns the exit code.

    Raises:
        UsageError: no text of that length or number can be written.
    """
    config = SampleConfig(**said(options.settings))
    if options.chars < 0 or options.count < 1:
        raise UsageError(
            f"cannot write {options.count} texts of {options.chars} characters",
            "--count must be at least 1 and --chars at least 0",
            "try --count 1 --chars 500",
        )
    saved = load_model(options.run, pick_device(options.device))
    prompt = saved.tokenizer.decode(saved.tokenizer.encode(options.prompt, options.unknown))
    stops = [stop for stop in options.stop if stop]
    if options.count == 1:
        pieces = (text for (text,) in _continue(saved, prompt, options, config))
        sys.stdout.write(prompt)
        for piece in stop_before(pieces, stops):
            sys.stdout.write(piece)
            sys.stdout.flush()
        sys.stdout.write("\n")
        return 0
    # Several at once share every pass through the model, so none can be shown before the others.
    columns = zip(*_continue(saved, prompt, options, config), strict=True)
    texts = ["".join(stop_before(column, stops)) for column in columns]
    sys.stdout.write("---\n".join(f"{prompt}{text}\n" for text in texts or [""] * options.count))
    return 0


def _continue(
    saved: SavedModel, prompt: str, options: SampleOptions, config: SampleConfig
) -> Iterator[list[str]]:
    start = saved.tokenizer.encode(prompt or opening(saved.tokenizer))
    for ids in generate(saved.model, start, options.chars, config, options.count):
        yield list(saved.tokenizer.decode(ids))
