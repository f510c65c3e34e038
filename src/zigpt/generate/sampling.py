"""Scores -> probabilities -> one id. Plain numpy, whatever computed the scores."""

import numpy as np
from jaxtyping import Float, Int

from zigpt.config import SampleConfig
from zigpt.errors import ModelFileError


def next_probabilities(
    scores: Float[np.ndarray, "B V"], config: SampleConfig
) -> Float[np.ndarray, "B V"]:
    """Temperature, then top-k, then top-p (arXiv:1904.09751), then softmax; rows sum to 1.

    Temperature 0 puts everything on the likeliest character. Ties at the border of top-k stay in.

    Raises:
        ModelFileError: a score is not finite: the weights are damaged.
    """
    if not np.isfinite(scores).all():
        raise ModelFileError(
            "the model's scores are not numbers",
            "its weights are damaged, or the device miscalculates",
            "try --device cpu, or train again",
        )
    if config.temperature == 0:
        return np.eye(scores.shape[1])[scores.argmax(-1)]
    # Relative to the largest and in float64: no temperature can make that one overflow.
    with np.errstate(over="ignore"):
        scores = scores.astype(np.float64)
        scores = (scores - scores.max(-1, keepdims=True)) / config.temperature
    if 0 < config.top_k < scores.shape[1]:
        weakest = np.partition(scores, -config.top_k)[:, -config.top_k, None]
        scores = np.where(scores < weakest, -np.inf, scores)
    probabilities = np.exp(scores)
    probabilities /= probabilities.sum(-1, keepdims=True)
    if config.top_p < 1:
        order = (-probabilities).argsort(-1, kind="stable")
        ranked = np.take_along_axis(probabilities, order, -1)
        # A character stays if those before it do not yet reach p: at least one always stays.
        ranked[ranked.cumsum(-1) - ranked >= config.top_p] = 0
        np.put_along_axis(probabilities, order, ranked, -1)
        probabilities /= probabilities.sum(-1, keepdims=True)
    return probabilities


def pick(
    probabilities: Float[np.ndarray, "B V"], u: Float[np.ndarray, " B"]
) -> Int[np.ndarray, " B"]:
    """Invert the cumulative distribution: the first id whose sum exceeds u, for u in [0, 1)."""
    cumulative = probabilities.cumsum(-1)
    threshold = u[:, None] * cumulative[:, -1:]
    return (cumulative <= threshold).sum(-1)
