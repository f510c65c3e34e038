"""Text as the model writes it: one character at a time, each with how it was chosen."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from zigpt.formats.saved_model import SavedModel
from zigpt.generate.loop import context_start, default_prompt
from zigpt.generate.reference import ReferenceDecoder
from zigpt.generate.sampling import next_probabilities, pick
from zigpt.gpt.config import SampleConfig
from zigpt.web.handlers.requests import SamplingRequest, WriteRequest


def stream_text(saved: SavedModel, request: WriteRequest) -> Iterator[dict[str, Any]]:
    """Continue a text character by character, exactly as `zigpt sample` does with float32 on a CPU.

    Character n after the prompt takes random number n of the seed, whichever characters are before
    it: so a text can be continued from any of its characters.

    Raises:
        VocabularyError: the model does not know one of the characters.
    """
    config = request.sampling
    ids = start_ids(saved, request)
    decoder = ReferenceDecoder(saved.model)
    generator = np.random.default_rng(config.seed)
    generator.random(len(request.after))
    for _ in range(request.length):
        given = np.array([ids], np.int64)
        logits = decoder.next_logits(given)
        context = given[:, context_start(len(ids), decoder.block_size) :]
        probabilities, u = next_probabilities(logits, config, context), generator.random()
        ids.append(int(pick(probabilities, np.array([u]))[0]))
        plain = next_probabilities(logits, SampleConfig(), context)
        yield {
            "character": saved.tokenizer.decode(ids[-1:]),
            "probability": float(plain[0, ids[-1]]),
            "drawn_with": float(probabilities[0, ids[-1]]),
            "number": u,
        }


def start_ids(saved: SavedModel, request: SamplingRequest) -> list[int]:
    """Encode the prompt, or the default prompt, and what was written after it.

    Raises:
        VocabularyError: the model does not know one of the characters.
    """
    prompt = request.prompt or default_prompt(saved.tokenizer)
    return saved.tokenizer.encode(prompt + request.after).tolist()
