"""Writing: logits -> probabilities -> the next id, one character at a time.

Each character needs one uniform random number u: it is the first one whose cumulative probability
exceeds u. The same seed therefore gives the same text, with or without the cache.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from zigpt.config import GPTConfig, SampleConfig
from zigpt.errors import ModelFileError
from zigpt.model import GPT
from zigpt.tokenizer import CharTokenizer, Ids


def next_probabilities(logits: Float[Tensor, "B V"], config: SampleConfig) -> Float[Tensor, "B V"]:
    """Temperature, then top-k, then top-p (arXiv:1904.09751), then softmax; rows sum to 1.

    Temperature 0 puts everything on the likeliest character. Ties at the border of top-k stay in.

    Raises:
        ModelFileError: a logit is not finite: the weights are damaged.
    """
    if not torch.isfinite(logits).all():
        raise ModelFileError(
            "the model's scores are not numbers",
            "its weights are damaged, or the device miscalculates",
            "try --device cpu, or train again",
        )
    if config.temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.size(-1)).double()
    # Relative to the largest and in float64, so that no temperature overflows.
    scores = (logits.double() - logits.amax(-1, keepdim=True)) / config.temperature
    if 0 < config.top_k < scores.size(-1):
        weakest = scores.topk(config.top_k).values[:, -1:]
        scores = scores.masked_fill(scores < weakest, float("-inf"))
    probabilities = scores.softmax(-1)
    if config.top_p < 1:
        ranked, order = probabilities.sort(descending=True, stable=True)
        # A character stays if those before it do not yet reach p: at least one always stays.
        surplus = ranked.cumsum(-1) - ranked >= config.top_p
        probabilities = probabilities.masked_fill(surplus.gather(-1, order.argsort(-1)), 0.0)
        probabilities /= probabilities.sum(-1, keepdim=True)
    return probabilities


def pick(probabilities: Float[Tensor, "B V"], u: Float[Tensor, " B"]) -> Int[Tensor, " B"]:
    """Invert the cumulative distribution: the first id whose sum exceeds u, for u in [0, 1)."""
    cumulative = probabilities.cumsum(-1)
    threshold = u.unsqueeze(-1) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, threshold, right=True).squeeze(-1)


def context_start(length: int, block_size: int) -> int:
    """Where the window begins that predicts the character after `length` known ones.

    Up to block_size characters all are seen. After that the window keeps its later half and fills
    up again: positions are learned, so moving it at every character would renumber, and force to
    recompute, everything in it. The context is never shorter than half the block.
    """
    hop = max(1, block_size // 2)
    return -(-max(0, length - block_size) // hop) * hop


class KVCache:
    """Keys and values of the positions already read; an `Attend` that reads them with the new."""

    def __init__(self, config: GPTConfig, batch_size: int, like: Tensor) -> None:
        head_size = config.n_embd // config.n_head
        shape = (config.n_layer, batch_size, config.n_head, config.block_size, head_size)
        self._keys, self._values = like.new_zeros(shape), like.new_zeros(shape)
        self._start, self._end = 0, 0  # the stretch of text that is remembered

    def __call__(
        self,
        layer: int,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H T D"],
        v: Float[Tensor, "B H T D"],
    ) -> Float[Tensor, "B H T D"]:
        """Remember k and v of this layer and attend to all that is remembered."""
        known = self._end - self._start
        stop = known + q.size(2)
        keys, values = self._keys[layer, :, :, :stop], self._values[layer, :, :, :stop]
        keys[:, :, known:], values[:, :, known:] = k, v
        # A single query is the newest position and may see everything: no mask.
        return F.scaled_dot_product_attention(q, keys, values, is_causal=q.size(2) > 1)

    def next_logits(self, model: GPT, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B V"]:
        """Score the character after `ids`, computing only what is not remembered."""
        start = context_start(ids.size(1), model.config.block_size)
        if start != self._start:
            self._start = self._end = start
        logits = model(ids[:, self._end :], attend=self, start=self._end - self._start)
        self._end = ids.size(1)
        return logits[:, -1]


@torch.inference_mode()
def generate(
    model: GPT,
    prompt: Sequence[int] | Ids,
    length: int,
    config: SampleConfig | None = None,
    count: int = 1,
    cached: bool = True,
) -> Iterator[Int[Tensor, " B"]]:
    """Continue `prompt` (at least one id) by `length` characters in `count` different ways.

    Yields the next id of each continuation. Continuation i draws from a generator seeded with
    `config.seed` + i, so it is the one that seed alone would give. Always in eval mode; without the
    cache the same text is computed the slow way.

    Raises:
        ValueError: the prompt is empty.
        ModelFileError: the model's scores are not finite.
    """
    if not len(prompt):
        raise ValueError("expected a prompt of at least one character, got none")
    config = config or SampleConfig()
    generators = [torch.Generator().manual_seed(config.seed + i) for i in range(count)]
    device = model.head.weight.device
    ids = torch.empty(count, len(prompt) + length, dtype=torch.int64, device=device)
    ids[:, : len(prompt)] = torch.tensor([int(i) for i in prompt])
    cache = KVCache(model.config, count, model.head.weight)
    was_training = model.training
    model.eval()
    try:
        for end in range(len(prompt), ids.size(1)):
            known = ids[:, :end]
            if cached:
                logits = cache.next_logits(model, known)
            else:
                logits = model(known[:, context_start(end, model.config.block_size) :])[:, -1]
            u = torch.stack([torch.rand((), generator=g, dtype=torch.float64) for g in generators])
            # On the CPU whatever the device: same seed, same text.
            chosen = pick(next_probabilities(logits.cpu(), config), u)
            ids[:, end] = chosen
            yield chosen
    finally:
        model.train(was_training)


def write(
    model: GPT,
    tokenizer: CharTokenizer,
    prompt: str,
    length: int,
    config: SampleConfig | None = None,
) -> Iterator[str]:
    """Continue a prompt by `length` characters, one at a time; an empty prompt is a line break.

    Raises:
        VocabularyError: the prompt holds characters that the model has never seen.
    """
    for ids in generate(model, tokenizer.encode(prompt or opening(tokenizer)), length, config):
        yield tokenizer.decode(ids)


def opening(tokenizer: CharTokenizer) -> str:
    """What to continue when there is no prompt: a line break, or else the first character."""
    return "\n" if "\n" in tokenizer else tokenizer.characters[0]


def stop_before(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """Pass text on until the first of `stops` appears, holding back what may be its beginning."""
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
