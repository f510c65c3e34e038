"""How one character was chosen: from the logits to the random number, stage by stage."""

from typing import Any

import numpy as np

from zigpt.formats.saved_model import SavedModel
from zigpt.generate.loop import context_start
from zigpt.generate.reference import ReferenceDecoder
from zigpt.generate.sampling import Stages, next_probabilities, pick, stages
from zigpt.gpt.config import SampleConfig
from zigpt.web.handlers.requests import RedrawRequest
from zigpt.web.handlers.writing import start_ids

CANDIDATES = 12
_VISIBLE = 0.004  # of the strip of all probabilities: narrower parts could not be seen


def redraw(saved: SavedModel, request: RedrawRequest) -> dict[str, Any]:
    """Choose a character again with the same random number, keeping every stage of the choice.

    The likeliest candidates come first; the chosen one is always among them.

    Raises:
        VocabularyError: the model does not know one of the characters.
    """
    ids = np.array([start_ids(saved, request)], np.int64)
    decoder = ReferenceDecoder(saved.model)
    logits = decoder.next_logits(ids)
    context = ids[:, context_start(ids.shape[1], decoder.block_size) :]
    found = stages(logits, request.sampling, context)
    plain = next_probabilities(logits, SampleConfig(), context)[0]
    chosen = int(pick(found.probabilities, np.array([request.number]))[0])
    shown = (-found.penalised[0]).argsort(kind="stable")[:CANDIDATES].tolist()
    if chosen not in shown:
        shown.append(chosen)
    probabilities = found.probabilities[0]
    ends = np.concatenate([[0.0], probabilities.cumsum()])
    ends /= ends[-1]
    decode = saved.tokenizer.decode
    wide = {*np.flatnonzero(probabilities >= _VISIBLE).tolist(), chosen}
    return {
        "drawn": decode([chosen]),
        "candidates": [
            {
                "character": decode([i]),
                "logit": float(logits[0, i]),
                "probability": float(plain[i]),
                **_stages_of(found, i),
            }
            for i in shown
        ],
        "others": len(probabilities) - len(shown),
        "others_share": max(0.0, 1 - float(probabilities[shown].sum())),
        "parts": [[decode([i]), float(ends[i]), float(ends[i + 1])] for i in sorted(wide)],
    }


def _stages_of(found: Stages, i: int) -> dict[str, Any]:
    """List what each stage made of one character, and which of them dropped it."""
    scaled = float(found.scaled[0, i])
    dropped = None
    if np.isinf(scaled):
        dropped = "temperature"
    elif np.isinf(found.top_k[0, i]):
        dropped = "top_k"
    elif found.top_p[0, i] == 0 < found.softmax[0, i]:
        dropped = "top_p"
    elif found.min_p[0, i] == 0 < found.top_p[0, i]:
        dropped = "min_p"
    return {
        "penalised": float(found.penalised[0, i]),
        "scaled": None if np.isinf(scaled) else scaled,  # JSON has no infinity
        "softmax": float(found.softmax[0, i]),
        "drawn_with": float(found.probabilities[0, i]),
        "dropped": dropped,
    }
