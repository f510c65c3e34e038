"""Scores -> probabilities -> one id. Plain numpy, whatever computed the scores."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from zigpt.errors import ModelFileError
from zigpt.gpt.config import SampleConfig


@dataclass(frozen=True)
class Stages:
    """Each stage on the way from scores to the probabilities that the next character has."""

    scaled: Float[np.ndarray, "B V"]  # scores relative to the largest, divided by temperature
    top_k: Float[np.ndarray, "B V"]  # the same, with those that top-k drops at -inf
    softmax: Float[np.ndarray, "B V"]  # probabilities of those left; rows sum to 1
    top_p: Float[np.ndarray, "B V"]  # the same, with those that top-p drops at 0
    probabilities: Float[np.ndarray, "B V"]  # of those left; rows sum to 1 again


def next_probabilities(
    scores: Float[np.ndarray, "B V"], config: SampleConfig
) -> Float[np.ndarray, "B V"]:
    """Compute the probabilities that the next character is drawn with; rows sum to 1.

    Raises:
        ModelFileError: a score is not finite: the weights are damaged.
    """
    return stages(scores, config).probabilities


def stages(scores: Float[np.ndarray, "B V"], config: SampleConfig) -> Stages:
    """Apply temperature, top-k, softmax, and top-p (arXiv:1904.09751); keep every stage.

    Temperature 0 leaves only the likeliest character. Characters that tie with the k-th stay in.

    Raises:
        ModelFileError: a score is not finite: the weights are damaged.
    """
    if not np.isfinite(scores).all():
        raise ModelFileError(
            "the model's scores are not finite",
            "its weights are damaged, or the device computes wrongly",
            "try the `device` cpu, or train again",
        )
    scaled = _scaled(scores, config.temperature)
    top_k = _likeliest(scaled, config.top_k)
    softmax = _sum_to_one(np.exp(top_k))
    if config.top_p == 1:
        return Stages(scaled, top_k, softmax, softmax, softmax)
    top_p = _nucleus(softmax, config.top_p)
    return Stages(scaled, top_k, softmax, top_p, _sum_to_one(top_p))


def _scaled(scores: Float[np.ndarray, "B V"], temperature: float) -> Float[np.ndarray, "B V"]:
    if temperature == 0:  # the limit of ever lower temperatures
        first = np.arange(scores.shape[1]) == scores.argmax(-1)[:, None]
        return np.where(first, 0, -np.inf)
    # Relative to the largest and in float64: that one cannot overflow at any temperature.
    with np.errstate(over="ignore"):
        scores = scores.astype(np.float64)
        return (scores - scores.max(-1, keepdims=True)) / temperature


def _likeliest(scores: Float[np.ndarray, "B V"], k: int) -> Float[np.ndarray, "B V"]:
    if not 0 < k < scores.shape[1]:
        return scores
    weakest = np.partition(scores, -k)[:, -k, None]
    return np.where(scores < weakest, -np.inf, scores)


def _nucleus(probabilities: Float[np.ndarray, "B V"], p: float) -> Float[np.ndarray, "B V"]:
    order = (-probabilities).argsort(-1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, -1)
    # A character stays if those before it do not yet reach p: at least one always stays.
    ranked[ranked.cumsum(-1) - ranked >= p] = 0
    kept = np.empty_like(probabilities)
    np.put_along_axis(kept, order, ranked, -1)
    return kept


def _sum_to_one(weights: Float[np.ndarray, "B V"]) -> Float[np.ndarray, "B V"]:
    return weights / weights.sum(-1, keepdims=True)


def pick(
    probabilities: Float[np.ndarray, "B V"], u: Float[np.ndarray, " B"]
) -> Int[np.ndarray, " B"]:
    """Invert the cumulative distribution: the first id whose sum exceeds u, for u in [0, 1)."""
    cumulative = probabilities.cumsum(-1)
    threshold = u[:, None] * cumulative[:, -1:]
    return (cumulative <= threshold).sum(-1)
