"""A window of text that a model has read: its predictions, layer by layer and part by part."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

from zigpt.anatomy.activations import Activations, inspect
from zigpt.anatomy.layers import Label, lens, score_parts
from zigpt.anatomy.predictions import judge
from zigpt.formats.saved_model import SavedModel
from zigpt.language import tr
from zigpt.web.guard import Refused
from zigpt.web.handlers.requests import (
    PartsRequest,
    TargetRequest,
    WindowRequest,
    require_index,
)
from zigpt.web.model_cache import CachedModel

N_GUESSES = 8
_MOST_KEPT = 4  # windows; one of the seed shape takes some 60 MB
Answer = dict[str, Any] | bytes
Wanted = TypeVar("Wanted", bound=WindowRequest)


@dataclass(frozen=True)
class Window:
    """A text, the model that has read it, and everything that this computed."""

    saved: SavedModel
    file: str
    text: str
    activations: Activations


@dataclass(frozen=True)
class Handler(Generic[Wanted]):
    """What answers a request of one kind about a window."""

    request: type[Wanted]
    answer: Callable[[Window, Wanted], Answer]


class WindowCache:
    """Holds the windows that were read last: exploring one does not compute it again."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Window] = {}

    def read(self, model: CachedModel, text: str) -> Window:
        """Have a model read a text, unless it just has.

        Raises:
            Refused: it is empty, or longer than the model's window.
            VocabularyError: the model does not know one of its characters.
        """
        saved, longest = model.saved, model.saved.model.config.block_size
        if not 0 < len(text) <= longest:
            sentence = tr(
                "the model reads 1 to {longest:,} characters, not {count:,}",
                longest=longest,
                count=len(text),
            )
            raise Refused(422, sentence)
        key = (model.version, text)
        window = self._kept.pop(key, None)
        if window is None:
            window = Window(saved, model.file, text, inspect(saved.model, saved.ids(text)))
        self._kept[key] = window
        if len(self._kept) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        return window


def predictions(window: Window, _: WindowRequest) -> Answer:
    """Give loss and rank of the character after each position, and the best guesses there.

    After the last position there is no character, and there are only guesses.
    """
    seen = window.activations
    judged = judge(seen.logits[:-1], seen.ids[1:], N_GUESSES)
    best = seen.probabilities.topk(min(N_GUESSES, seen.logits.size(-1)))
    decode = window.saved.tokenizer.decode
    return {
        "losses": judged.losses.tolist(),
        "ranks": judged.ranks.tolist(),
        "guesses": [
            [[decode([i]), p] for i, p in zip(ids, probabilities, strict=True)]
            for ids, probabilities in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ],
    }


def layers(window: Window, request: TargetRequest) -> Answer:
    """Give the prediction after each state of the residual stream, and how likely the target is."""
    seen, decode = window.activations, window.saved.tokenizer.decode
    last = _last_target(window, request)
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


def parts(window: Window, request: PartsRequest) -> Answer:
    """Give what each part of the model adds to the logit of the target at one position."""
    require_index("position", request.position, len(window.text))
    seen = window.activations
    targets = torch.cat([seen.ids[1:], _last_target(window, request)])
    found = score_parts(seen, request.position, int(targets[request.position]))
    return {
        "labels": found.labels,
        "values": found.values.tolist(),
        "score": found.score,
    }


def _last_target(window: Window, request: TargetRequest) -> torch.Tensor:
    """The id of the target after the last position, in one dimension."""
    target = request.target
    if target is None:
        return window.activations.logits[-1:].argmax(-1)
    if len(target) != 1:
        sentence = tr("the target has to be one character, not {count:,}", count=len(target))
        raise Refused(422, sentence)
    return window.saved.ids(target)


def pack_float32(*tensors: torch.Tensor) -> bytes:
    """Lay out tensors for a Float32Array, one after the other."""
    return b"".join(tensor.cpu().numpy().astype("<f4").tobytes() for tensor in tensors)
