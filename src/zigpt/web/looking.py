"""What the page may ask about one window of text that a model has read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from zigpt.anatomy.activations import Activations, inspect
from zigpt.anatomy.layers import Label, lens, score_parts
from zigpt.anatomy.predictions import judge
from zigpt.formats.saved_model import SavedModel
from zigpt.web.guard import Refused
from zigpt.web.questions import field, index, known
from zigpt.web.shelf import Shown

GUESSES = 8
_MOST_KEPT = 4  # windows; one of the seed shape takes some 60 MB


@dataclass(frozen=True)
class Looked:
    """A window, the model that read it, and everything that this computed."""

    saved: SavedModel
    file: str
    text: str
    seen: Activations


class Windows:
    """The windows that were looked into last: whoever walks about in one does not wait again."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Looked] = {}

    def look(self, shown: Shown, asked: Any) -> Looked:
        """Read the text that is asked about, or remember it.

        Raises:
            Refused: it is empty or longer than the model sees, or has unknown characters.
        """
        saved, text = shown.saved, field(asked, "text", str)
        longest = saved.model.config.block_size
        if not 0 < len(text) <= longest:
            raise Refused(422, f"the model sees 1 to {longest} characters, not {len(text)}")
        known(saved, text)
        key = (shown.version, text)
        looked = self._kept.pop(key, None)
        if looked is None:
            looked = Looked(saved, shown.file, text, inspect(saved.model, saved.ids(text)))
        self._kept[key] = looked
        if len(self._kept) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        return looked


def positions(looked: Looked, asked: Any) -> dict[str, Any]:
    """Each position as a question: loss and rank of what really came, and the best guesses.

    The last position has no answer yet: only guesses.
    """
    seen = looked.seen
    answered = judge(seen.logits[:-1], seen.ids[1:], GUESSES)
    best = seen.probabilities.topk(min(GUESSES, seen.logits.size(-1)))
    decode = looked.saved.tokenizer.decode
    return {
        "losses": answered.losses.tolist(),
        "ranks": answered.ranks.tolist(),
        "guesses": [
            [[decode([i]), p] for i, p in zip(ids, chances, strict=True)]
            for ids, chances in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ],
    }


def layers(looked: Looked, asked: Any) -> dict[str, Any]:
    """What the model would say after each state of its stream, and what it says of the target.

    The target of the last position is the character that is named, or else the best guess.
    """
    seen, decode = looked.seen, looked.saved.tokenizer.decode
    last = _last_target(looked, asked)
    found = lens(seen, torch.cat([seen.ids[1:], last]))
    states: list[Label] = [("embeddings",)]
    for layer in range(seen.model.config.n_layer):
        states += [("attention", layer), ("feed-forward", layer)]
    return {
        "states": states,
        "target": decode(last.tolist()),
        "guesses": [list(decode(row)) for row in found.guesses.squeeze(-1).tolist()],
        "chances": found.chances.squeeze(-1).tolist(),
        "probabilities": found.probabilities.tolist(),
        "ranks": found.ranks.tolist(),
    }


def parts(looked: Looked, asked: Any) -> dict[str, Any]:
    """What each part of the model adds to the logit of the target at one position."""
    seen, position = looked.seen, index(asked, "position", len(looked.text))
    targets = torch.cat([seen.ids[1:], _last_target(looked, asked)])
    found = score_parts(seen, position, int(targets[position]))
    return {
        "labels": found.labels,
        "values": found.values.tolist(),
        "score": found.score,
    }


def _last_target(looked: Looked, asked: Any) -> torch.Tensor:
    """What is asked about where the text ends: its id, in one dimension."""
    if asked.get("target") is None:
        return looked.seen.logits[-1:].argmax(-1)
    target = field(asked, "target", str)
    if len(target) != 1:
        raise Refused(422, f"the target has to be one character, not {len(target)}")
    known(looked.saved, target)
    return looked.saved.ids(target)


Question = Callable[[Looked, Any], dict[str, Any] | bytes]
QUESTIONS: dict[str, Question] = {"positions": positions, "layers": layers, "parts": parts}


def numbers(*tensors: torch.Tensor) -> bytes:
    """Lay out tensors for a Float32Array, one after the other."""
    return b"".join(tensor.cpu().numpy().astype("<f4").tobytes() for tensor in tensors)
