"""The cost formula of a training step: what is counted, and how long this machine takes for it.

seconds = FLOP of the matrix products x a + attention scores x b + activations x c

Everything else grows with one of the three: the products within attention with the scores that they
make and use; dropout, norms and additions with the activations.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from zigpt.gpt.config import GPTConfig


@dataclass(frozen=True)
class Step:
    """A training step of `batch_size` windows, and how long it took."""

    model: GPTConfig
    batch_size: int
    seconds: float

    @property
    def chars(self) -> int:
        """Predictions learned."""
        return self.batch_size * self.model.block_size

    @property
    def counts(self) -> Float[np.ndarray, "3"]:
        """FLOP of the matrix products, attention scores, activations."""
        model = self.model
        scores = model.n_layer * model.n_head * (model.block_size + 1) / 2
        activations = model.n_layer * model.n_embd
        return self.chars * np.array([matrix_flops(model), scores, activations])


@dataclass(frozen=True)
class Prices:
    """Seconds for one of each."""

    flop: float
    score: float
    activation: float

    @classmethod
    def fit(cls, steps: Sequence[Step]) -> "Prices":
        """Fit the prices to measured steps, by least squares of the relative error."""
        relative = np.array([step.counts / step.seconds for step in steps])
        scale = relative.max(axis=0)
        prices, *_ = np.linalg.lstsq(relative / scale, np.ones(len(steps)), rcond=None)
        return cls(*(prices / scale).tolist())

    def seconds(self, step: Step) -> float:
        """Predict how long a step takes."""
        return float(step.counts @ np.array([self.flop, self.score, self.activation]))


def matrix_flops(model: GPTConfig) -> int:
    """FLOP of one character's way through the matrices, forward and backward.

    Each weight of a matrix takes 6: a product and a sum, forward once and backward twice.
    """
    shapes = model.shapes().items()
    # An embedding is looked up, not multiplied with.
    matrices = [shape for name, shape in shapes if len(shape) == 2 and "embedding" not in name]
    return 6 * sum(rows * columns for rows, columns in matrices)


def training_flops(model: GPTConfig) -> int:
    """FLOP of one character with those of attention, of which a causal mask needs only half."""
    return matrix_flops(model) + 6 * model.n_layer * model.block_size * model.n_embd


def deviations(steps: Sequence[Step]) -> list[float]:
    """Predict each step from all others; return the errors as a fraction of the measured time."""
    errors = []
    for index, step in enumerate(steps):
        prices = Prices.fit([*steps[:index], *steps[index + 1 :]])
        errors.append(prices.seconds(step) / step.seconds - 1)
    return errors
