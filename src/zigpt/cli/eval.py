"""`zigpt eval`: the exact loss of a model on a text."""

import json
import math
from pathlib import Path
from typing import Any

from zigpt.cli.options import take_decoding
from zigpt.cli.spelling import command
from zigpt.cli.terminal import note
from zigpt.data.batches import Corpus
from zigpt.data.encodings import Decoding
from zigpt.data.source import Source, read_texts
from zigpt.data.stored import encode
from zigpt.errors import ModelFileError, TextError, TextMovedError
from zigpt.formats.saved_model import SavedModel, load_model
from zigpt.language import tr
from zigpt.runs.training_text import find_again, text_of_model, with_standard_input
from zigpt.tokenizers.base import Unknown
from zigpt.training.device import pick_device
from zigpt.training.loop import split_loss


def run(
    path: Path, text: Path | None, unknown: Unknown, device: str, as_json: bool, **options: Any
) -> int:
    """Print the loss. Returns the exit code.

    Raises:
        ModelFileError: the loss is not finite.
    """
    saved = load_model(path, pick_device(device))
    corpus, what = _corpus(saved, path, text, unknown, take_decoding(options))
    loss = split_loss(saved.model, corpus, "validation")
    if not math.isfinite(loss):
        raise ModelFileError(
            tr("the loss is not finite"),
            tr("the model's weights are damaged, or the device computes wrongly"),
            tr("try --device cpu, another copy, or train again"),
        )
    count = len(corpus.validation) - 1
    if as_json:
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
            tr(
                "{nats:.6f} nats per character   {bits:.6f} bits per character   "
                "perplexity {perplexity:.4f}",
                nats=loss,
                bits=loss / math.log(2),
                perplexity=math.exp(loss),
            )
        )
        print(tr("exact over all {count:,} predictions of {text}", count=count, text=what))
    return 0


def _corpus(
    saved: SavedModel, path: Path, text: Path | None, unknown: Unknown, how: Decoding
) -> tuple[Corpus, str]:
    """The validation split of the model's own text, or the whole of another."""
    own = text_of_model(path, saved.about)
    if text:
        source: Source = read_texts(with_standard_input([text], note), how)
    else:
        try:
            source = find_again(own)
        except TextMovedError as error:
            raise error.or_type(f"{command('eval', path)} TEXT") from error
    for notice in source.notices:
        note(notice)
    if source.sha256 == own["sha256"]:
        what = tr("the validation split of {text}", text=source.origin)
        return Corpus.from_text(source.text, saved.tokenizer, source.n_train), what
    if text is None:
        raise TextError(
            tr("{text} is not the text that {run} was trained on", text=source.origin, run=path),
            tr("its SHA-256 differs, so its validation split would be a different one"),
            tr("name a text: all of it is then scored"),
        )
    ids = encode(source.text, saved.tokenizer, unknown)
    if len(ids) < 2:
        raise TextError(
            tr("{text} has nothing to score", text=source.origin),
            tr("a loss needs at least two characters that the model knows"),
            tr("name a longer text"),
        )
    return Corpus(saved.tokenizer, ids[:0], ids), source.origin
