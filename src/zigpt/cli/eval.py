"""`zigpt eval`: one exact number for a model on a text."""

import json
import math
import shlex
import sys

from zigpt.cli.options import EvalOptions
from zigpt.cli.screen import program
from zigpt.corpus import Corpus, Source, encode, read_texts
from zigpt.device import pick_device
from zigpt.errors import ModelFileError, TextError
from zigpt.runs.own_text import find_again, text_of
from zigpt.runs.saved_model import SavedModel, load_model
from zigpt.train import split_loss


def run(options: EvalOptions) -> int:
    """Print the loss. Returns the exit code.

    Raises:
        ModelFileError: the loss is not finite.
    """
    saved = load_model(options.run, pick_device(options.device))
    corpus, what = _corpus(options, saved)
    loss = split_loss(saved.model, corpus, "test")
    if not math.isfinite(loss):
        raise ModelFileError(
            "the loss is not a number",
            "the model's weights are damaged, or the device miscalculates",
            "try --device cpu, another copy, or train again",
        )
    count = len(corpus.test) - 1
    if options.json:
        numbers = {
            "nats_per_char": loss,
            "bits_per_char": loss / math.log(2),
            "perplexity": math.exp(loss),
            "characters": count,
            "text": what,
        }
        print(json.dumps(numbers, ensure_ascii=False))
    else:
        print(
            f"{loss:.6f} nats per character   {loss / math.log(2):.6f} bits per character   "
            f"perplexity {math.exp(loss):.4f}\n"
            f"exact over all {count:,} predictions of {what}"
        )
    return 0


def _corpus(options: EvalOptions, saved: SavedModel) -> tuple[Corpus, str]:
    """The test split of the model's own text, or the whole of another."""
    own = text_of(saved.about)
    if options.text:
        source: Source = read_texts([options.text])
    else:
        again = f"{program()} eval {shlex.quote(str(options.run))} TEXT"
        source = find_again(own, again)
    for notice in source.notices:
        print(f"note: {notice}", file=sys.stderr)
    if source.sha256 == own["sha256"]:
        return Corpus.from_text(source.text, saved.tokenizer), f"the test split of {source.origin}"
    if options.text is None:
        raise TextError(
            f"{source.origin} is not the text that {options.run} was trained on",
            "its SHA-256 differs, so its test split is another one",
            "name a text: it is then scored whole",
        )
    ids = encode(source.text, saved.tokenizer, options.unknown)
    if len(ids) < 2:
        raise TextError(
            f"{source.origin} has nothing to score",
            "a loss needs at least two characters that the model knows",
            "name a longer text",
        )
    return Corpus(saved.tokenizer, ids[:0], ids), source.origin
