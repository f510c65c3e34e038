"""Logits -> probabilities -> one id. Plain numpy, whatever computed the logits."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from zigpt.errors import ModelFileError
from zigpt.gpt.config import SampleConfig
from zigpt.language import tr


@dataclass(frozen=True)
class Stages:
    """Each stage on the way from logits to the probabilities of the next character, in order."""

    penalised: Float[np.ndarray, "B V"]  # logits, those of characters in the context made lower
    scaled: Float[np.ndarray, "B V"]  # relative to the largest, divided by temperature
    top_k: Float[np.ndarray, "B V"]  # the same, with those that top-k drops at -inf
    softmax: Float[np.ndarray, "B V"]  # probabilities of those left; rows sum to 1
    top_p: Float[np.ndarray, "B V"]  # the same, with those that top-p drops at 0
    min_p: Float[np.ndarray, "B V"]  # the same, with those that min-p drops at 0 as well
    probabilities: Float[np.ndarray, "B V"]  # of those left; rows sum to 1 again


def next_probabilities(
    logits: Float[np.ndarray, "B V"], config: SampleConfig, context: Int[np.ndarray, "B T"]
) -> Float[np.ndarray, "B V"]:
    """Compute the probabilities that the next character is drawn with; rows sum to 1.

    Raises:
        ModelFileError: a logit is not finite: the weights are damaged.
    """
    return stages(logits, config, context).probabilities


def stages(
    logits: Float[np.ndarray, "B V"], config: SampleConfig, context: Int[np.ndarray, "B T"]
) -> Stages:
    """Turn the logits after `context` (ids that the model sees) into probabilities, by stages.

    Repetition penalty (arXiv:1909.05858), temperature, top-k, softmax, top-p (arXiv:1904.09751),
    min-p (arXiv:2407.01082): the order of Hugging Face, so that equal settings mean the same there.
    The penalty comes first because it divides by the sign of the model's own logits, which is lost
    once they are relative to the largest; the filters act on what the temperature has left.

    Temperature 0 leaves only the likeliest character. Characters that tie with the k-th stay in.

    Raises:
        ModelFileError: a logit is not finite: the weights are damaged.
    """
    if not np.isfinite(logits).all():
        raise ModelFileError(
            tr("the model's scores are not finite"),
            tr("its weights are damaged, or the device computes wrongly"),
            tr("try `device` cpu, or train again"),
        )
    penalised = _penalised(logits, context, config.repetition_penalty)
    scaled = _scaled(penalised, config.temperature)
    top_k = _keep_top_k(scaled, config.top_k)
    softmax = _normalised(np.exp(top_k))
    top_p = _keep_top_p(softmax, config.top_p)
    min_p = _keep_min_p(top_p, config.min_p)
    probabilities = softmax if min_p is softmax else _normalised(min_p)
    return Stages(penalised, scaled, top_k, softmax, top_p, min_p, probabilities)


def _penalised(
    logits: Float[np.ndarray, "B V"], context: Int[np.ndarray, "B T"], penalty: float
) -> Float[np.ndarray, "B V"]:
    if penalty == 1:
        return logits
    is_repeated = np.zeros(logits.shape, bool)
    np.put_along_axis(is_repeated, context, True, -1)  # once, however often it occurs
    logits = logits.astype(np.float64)  # float32 could overflow
    lowered = np.where(logits > 0, logits / penalty, logits * penalty)
    return np.where(is_repeated, lowered, logits)


def _scaled(logits: Float[np.ndarray, "B V"], temperature: float) -> Float[np.ndarray, "B V"]:
    if temperature == 0:  # the limit as the temperature falls to 0
        first = np.arange(logits.shape[1]) == logits.argmax(-1)[:, None]
        return np.where(first, 0, -np.inf)
    # The largest becomes 0, so no temperature can make it overflow; the lowest may become -inf.
    with np.errstate(over="ignore"):
        logits = logits.astype(np.float64)
        return (logits - logits.max(-1, keepdims=True)) / temperature


def _keep_top_k(logits: Float[np.ndarray, "B V"], k: int) -> Float[np.ndarray, "B V"]:
    if not 0 < k < logits.shape[1]:
        return logits
    kth = np.partition(logits, -k)[:, -k, None]
    return np.where(logits < kth, -np.inf, logits)


def _keep_top_p(probabilities: Float[np.ndarray, "B V"], p: float) -> Float[np.ndarray, "B V"]:
    if p == 1:
        return probabilities
    order = (-probabilities).argsort(-1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, -1)
    # A character stays if those before it do not yet reach p, so the first always stays.
    ranked[ranked.cumsum(-1) - ranked >= p] = 0
    kept = np.empty_like(probabilities)
    np.put_along_axis(kept, order, ranked, -1)
    return kept


def _keep_min_p(probabilities: Float[np.ndarray, "B V"], p: float) -> Float[np.ndarray, "B V"]:
    if p == 0:
        return probabilities
    least = p * probabilities.max(-1, keepdims=True)
    return np.where(probabilities < least, 0, probabilities)


def _normalised(weights: Float[np.ndarray, "B V"]) -> Float[np.ndarray, "B V"]:
    return weights / weights.sum(-1, keepdims=True)


def pick(
    probabilities: Float[np.ndarray, "B V"], u: Float[np.ndarray, " B"]
) -> Int[np.ndarray, " B"]:
    """Find the first id whose cumulative probability exceeds u, for u in [0, 1)."""
    cumulative = probabilities.cumsum(-1)
    threshold = u[:, None] * cumulative[:, -1:]  # by rounding, the last may not be exactly 1
    return (cumulative <= threshold).sum(-1)
