"""What the page may ask of a model: plain values in, plain values out.

Values come from outside: each question says what it expects, and refuses the rest with a sentence.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from zigpt.errors import ConfigError, VocabularyError
from zigpt.formats.saved_model import SavedModel
from zigpt.generate.loop import opening
from zigpt.generate.reference import ReferenceDecoder
from zigpt.generate.sampling import next_probabilities, pick
from zigpt.gpt.config import SampleConfig
from zigpt.tokenizers.base import Ids
from zigpt.web.guard import Refused

MOST_WRITTEN = 10_000  # characters of one answer
_TOO_LARGE = 2**1023  # as a float


def describe(saved: SavedModel) -> dict[str, Any]:
    """What the page has to know of a model before it asks anything."""
    config = saved.model.config
    return {
        "characters": saved.tokenizer.vocabulary,
        "block_size": config.block_size,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_embd": config.n_embd,
        "parameters": config.n_parameters,
        "step": saved.about.get("step"),
    }


def written(saved: SavedModel, asked: Any) -> Iterator[dict[str, Any]]:
    """Continue a prompt, character by character, each with how it came to be chosen.

    Drawn as `zigpt sample --device cpu` draws, from the model's own float32: whoever looks closely
    at a number finds it in the model file. What was already written `after` the prompt is gone on
    from: with the random numbers that come next, whichever characters the ones before have drawn.
    """
    length = index(asked, "length", MOST_WRITTEN + 1)
    config = sampling(asked)
    ids, n_drawn = begun(saved, asked)
    decoder = ReferenceDecoder(saved.model)
    generator = np.random.default_rng(config.seed)
    generator.random(n_drawn)
    for _ in range(length):
        scores = decoder.next_scores(np.array([ids], np.int64))
        probabilities, u = next_probabilities(scores, config), generator.random()
        ids.append(int(pick(probabilities, np.array([u]))[0]))
        plain = next_probabilities(scores, SampleConfig())
        yield {
            "character": saved.tokenizer.decode(ids[-1:]),
            "probability": float(plain[0, ids[-1]]),
            "drawn_with": float(probabilities[0, ids[-1]]),
            "number": u,
        }


def begun(saved: SavedModel, asked: Any) -> tuple[list[int], int]:
    """The ids that a text begins with, and how many of them are after the prompt."""
    prompt = field(asked, "prompt", str) or opening(saved.tokenizer)
    after = field(asked, "after", str) if "after" in asked else ""
    if len(after) > MOST_WRITTEN:
        raise Refused(422, f"no more than {MOST_WRITTEN:,} characters are written")
    return known(saved, prompt + after).tolist(), len(after)


def sampling(asked: Any) -> SampleConfig:
    """Take the settings out of a question."""
    try:
        return SampleConfig(
            temperature=field(asked, "temperature", float),
            top_k=field(asked, "top_k", int),
            top_p=field(asked, "top_p", float),
            seed=field(asked, "seed", int),
        )
    except ConfigError as error:
        raise Refused(422, error.why) from error


def known(saved: SavedModel, text: str) -> Ids:
    """Encode, or say which character the model has never seen."""
    try:
        return saved.tokenizer.encode(text)
    except VocabularyError as error:
        raise Refused(422, f"{error.what}: {error.why}") from error


def moment(asked: Any) -> int | None:
    """The step of the snapshot that is asked; None for the newest model."""
    if isinstance(asked, dict) and asked.get("at") is None:
        return None
    return index(asked, "at", 10**12)


def field(asked: Any, name: str, kind: type) -> Any:
    """Take one value out of a question, if it is of its kind."""
    value = asked.get(name) if isinstance(asked, dict) else None
    if kind is float and type(value) is int and abs(value) < _TOO_LARGE:
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Refused(422, f"{name} has to be of the kind {kind.__name__}")
    return value


def index(asked: Any, name: str, length: int) -> int:
    """Take a whole number from 0 up to, and without, `length`."""
    number: int = field(asked, name, int)
    if not 0 <= number < length:
        raise Refused(422, f"{name} goes from 0 to {length - 1}, not {number}")
    return number
