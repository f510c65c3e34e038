"""The loop: score, draw, append, repeat.

Each character needs one uniform random number u: it is the first one whose cumulative probability
exceeds u. What computes the scores is a parameter, `Decoder`; this module imports no torch.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from zigpt.generate.sampling import next_probabilities, pick
from zigpt.gpt.config import SampleConfig
from zigpt.tokenizers.base import Ids, Tokenizer


@runtime_checkable
class Decoder(Protocol):
    """Scores the next character of `count` texts side by side."""

    count: int

    def next_scores(self, ids: Int[np.ndarray, "B T"]) -> Float[np.ndarray, "B V"]:
        """Score the character after `ids`, which continue those of the call before."""
        ...


def context_start(length: int, block_size: int) -> int:
    """Find the start of the window that predicts the character after the first `length`.

    The window holds all of up to block_size characters. After that it keeps its later half and
    fills up again: to move it at every character would be to recompute everything in it, because
    positions would be renumbered, and cached keys and values of deep layers depend on characters
    now outside. The context is never shorter than half the block.
    """
    hop = max(1, block_size // 2)
    return -(-max(0, length - block_size) // hop) * hop


def generate(
    decoder: Decoder,
    prompt: Sequence[int] | Ids,
    length: int,
    config: SampleConfig | None = None,
) -> Iterator[Int[np.ndarray, " B"]]:
    """Continue `prompt` (at least one id) by `length` characters in `decoder.count` ways.

    Yields the next id of each continuation. Continuation i draws from a generator seeded with
    `config.seed` + i: it is what that seed alone would give.

    Raises:
        ValueError: the prompt is empty.
        ModelFileError: the model's scores are not finite.
    """
    if not len(prompt):
        raise ValueError("expected a prompt of at least one character, got none")
    config = config or SampleConfig()
    generators = [np.random.default_rng(config.seed + i) for i in range(decoder.count)]
    ids = np.empty((decoder.count, len(prompt) + length), np.int64)
    ids[:, : len(prompt)] = prompt
    for end in range(len(prompt), ids.shape[1]):
        scores = decoder.next_scores(ids[:, :end])
        u = np.array([generator.random() for generator in generators])
        ids[:, end] = pick(next_probabilities(scores, config), u)
        yield ids[:, end]


def write(
    decoder: Decoder,
    tokenizer: Tokenizer,
    prompt: str,
    length: int,
    config: SampleConfig | None = None,
) -> Iterator[str]:
    """Continue a prompt by `length` characters, one at a time; an empty prompt is a line break.

    Raises:
        VocabularyError: the prompt holds characters that the model has never seen.
    """
    for ids in generate(decoder, tokenizer.encode(prompt or opening(tokenizer)), length, config):
        yield tokenizer.decode(ids)


def opening(tokenizer: Tokenizer) -> str:
    """Choose what to continue where there is no prompt: a line break, or the first character."""
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
