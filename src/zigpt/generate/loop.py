"""Writing a text: compute logits, draw a character, append it, repeat.

Each character needs one uniform random number u: it is the first one whose cumulative probability
exceeds u. What computes the logits is a parameter, `Decoder`; this module imports no torch.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from zigpt.generate.sampling import next_probabilities, pick
from zigpt.gpt.config import SampleConfig
from zigpt.tokenizers.base import Ids, Tokenizer


@runtime_checkable
class Decoder(Protocol):
    """Computes the logits of the next character, of `count` texts side by side."""

    count: int
    block_size: int

    def reset(self) -> None:
        """Forget the text: the ids of the next call are another."""
        ...

    def next_logits(self, ids: Int[np.ndarray, "B T"]) -> Float[np.ndarray, "B V"]:
        """Compute the logits after `ids`, which continue those of the previous call."""
        ...


def context_start(length: int, block_size: int) -> int:
    """Find the start of the window that predicts the character after the first `length`.

    The window holds all of up to block_size characters. A full window keeps its later half and
    fills up again, so from then on the context is between half a block and a block. Sliding it by
    one at each character would make the cache useless: every position would get a new number, and
    the keys and values of deep layers depend on the character that has left.
    """
    stride = max(1, block_size // 2)
    return math.ceil(max(0, length - block_size) / stride) * stride


def generate(
    decoder: Decoder,
    prompt: Sequence[int] | Ids,
    length: int,
    config: SampleConfig | None = None,
) -> Iterator[Int[np.ndarray, " B"]]:
    """Continue `prompt` (at least one id) by `length` characters in `decoder.count` ways.

    Yields the next id of each continuation. Continuation i draws from a generator seeded with
    `config.seed` + i, so it is the text that this seed alone would give.

    Raises:
        ValueError: the prompt is empty.
        ModelFileError: the model's scores are not finite.
    """
    if not len(prompt):
        raise ValueError("expected a prompt of at least one character, got none")
    config = config or SampleConfig()
    decoder.reset()
    generators = [np.random.default_rng(config.seed + i) for i in range(decoder.count)]
    ids = np.empty((decoder.count, len(prompt) + length), np.int64)
    ids[:, : len(prompt)] = prompt
    for end in range(len(prompt), ids.shape[1]):
        logits = decoder.next_logits(ids[:, :end])
        u = np.array([generator.random() for generator in generators])
        context = ids[:, context_start(end, decoder.block_size) : end]
        ids[:, end] = pick(next_probabilities(logits, config, context), u)
        yield ids[:, end]


def generate_text(
    decoder: Decoder,
    tokenizer: Tokenizer,
    prompt: str,
    length: int,
    config: SampleConfig | None = None,
) -> Iterator[str]:
    """Continue a prompt by `length` characters, one at a time; see `default_prompt`.

    Raises:
        VocabularyError: the prompt holds characters that the model has never seen.
    """
    for ids in generate(
        decoder, tokenizer.encode(prompt or default_prompt(tokenizer)), length, config
    ):
        yield tokenizer.decode(ids)


def default_prompt(tokenizer: Tokenizer) -> str:
    """Choose what to continue if the prompt is empty: a line break, or the first character."""
    return "\n" if "\n" in tokenizer else tokenizer.vocabulary[0]


def stop_before(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """Pass text on until the first of `stops` appears; hold back what may be its beginning."""
    longest = max(map(len, stops), default=0)
    held = ""
    for piece in pieces:
        held += piece
        found = [held.find(stop) for stop in stops if stop in held]
        if found:
            yield held[: min(found)]
            return
        # Only the last longest - 1 characters can still become part of a stop.
        safe = len(held) - longest + 1 if longest else len(held)
        if safe > 0:
            yield held[:safe]
            held = held[safe:]
    yield held
