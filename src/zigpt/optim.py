"""AdamW with decay groups, Muon for the matrices inside the blocks, and the schedule of both."""

import math
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.adamw import adamw

from zigpt.config import TrainConfig
from zigpt.device import pick_precision

Parameters = Mapping[str, nn.Parameter]

_BETA1, _EPSILON = 0.9, 1e-8
_MOMENTUM = 0.95
_STEPS = 5  # of Newton and Schulz: every singular value then lies between about 0.7 and 1.2
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ADAMW_LIKE = 0.2  # the usual size of one value's update in AdamW, per learning rate


@runtime_checkable
class Optimizer(Protocol):
    """Moves weights by their gradients; not torch's class, whose import takes two seconds."""

    memory: dict[str, Tensor]
    """All that is remembered from step to step, by name: to be saved, or overwritten in place."""

    def step(self, rate: float) -> None:
        """Make one update with the gradients that the weights hold now."""
        ...


def build_optimizers(model: nn.Module, config: TrainConfig) -> tuple[Optimizer, ...]:
    """AdamW for all weights or, with Muon, for all but the matrices inside the blocks.

    Weight matrices decay, biases and LayerNorm gains do not.
    """
    named = dict(model.named_parameters())
    muon = config.optimizer == "muon"
    inside = {n: p for n, p in named.items() if muon and "blocks." in n and p.dim() == 2}
    rest = {name: p for name, p in named.items() if name not in inside}
    matrices = {name: p for name, p in rest.items() if p.dim() >= 2}
    vectors = {name: p for name, p in rest.items() if p.dim() < 2}
    adamw = (AdamW(matrices, config.beta2, config.weight_decay), AdamW(vectors, config.beta2, 0.0))
    if not muon:
        return adamw
    precision = pick_precision(next(model.parameters()).device, config.precision)
    # One parameter holds the projections to q, k and v, which have nothing to do with each other.
    parts = {name: 3 if name.endswith("qkv.weight") else 1 for name in inside}
    return Muon(inside, parts, config.weight_decay, precision), *adamw


class AdamW:
    """AdamW (arXiv:1711.05101), by torch's fused kernel."""

    def __init__(self, parameters: Parameters, beta2: float, weight_decay: float) -> None:
        self._beta2, self._weight_decay = beta2, weight_decay
        self._parameters: list[Tensor] = list(parameters.values())
        self._means = [torch.zeros_like(p) for p in self._parameters]
        self._squares = [torch.zeros_like(p) for p in self._parameters]
        self._steps = [torch.zeros((), device=p.device) for p in self._parameters]
        parts = {"mean": self._means, "square": self._squares, "steps": self._steps}
        self.memory = {
            f"{name}.{part}": tensor
            for part, tensors in parts.items()
            for name, tensor in zip(parameters, tensors, strict=True)
        }

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Make one update with the gradients that the weights hold now."""
        adamw(
            self._parameters, _gradients(self._parameters), self._means, self._squares, [],
            self._steps, fused=True, amsgrad=False, maximize=False, beta1=_BETA1,
            beta2=self._beta2, lr=rate, weight_decay=self._weight_decay, eps=_EPSILON,
        )  # fmt: skip


class Muon:
    """Momentum, orthogonalised: a step turns every direction of a matrix by the same amount.

    Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; scaled as in
    arXiv:2502.16982, so that one learning rate suits it and AdamW alike. `parts` says how many
    matrices a parameter holds, one above the other. Matrices of one shape go through together.
    """

    def __init__(
        self,
        parameters: Parameters,
        parts: Mapping[str, int],
        weight_decay: float,
        precision: torch.dtype,
    ) -> None:
        self._weight_decay, self._precision = weight_decay, precision
        self._parameters: list[Tensor] = list(parameters.values())
        self._parts = [parts[name] for name in parameters]
        self._moments = [torch.zeros_like(p) for p in self._parameters]
        names = (f"{name}.momentum" for name in parameters)
        self.memory = dict(zip(names, self._moments, strict=True))

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Make one update with the gradients that the weights hold now."""
        gradients = _gradients(self._parameters)
        torch._foreach_lerp_(self._moments, gradients, 1 - _MOMENTUM)
        # Nesterov: look where the momentum will be.
        ahead = torch._foreach_lerp(gradients, self._moments, _MOMENTUM)
        torch._foreach_mul_(self._parameters, 1 - rate * self._weight_decay)
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
        for parameter, direction, parts in zip(self._parameters, ahead, self._parts, strict=True):
            for pair in zip(parameter.chunk(parts), direction.chunk(parts), strict=True):
                upright = pair if pair[0].size(0) <= pair[0].size(1) else (pair[0].mT, pair[1].mT)
                by_shape.setdefault(upright[0].shape, []).append(upright)
        for shape, pairs in by_shape.items():
            matrices, directions = (list(column) for column in zip(*pairs, strict=True))
            turned = orthogonalise(torch.stack(directions), self._precision)
            size = _ADAMW_LIKE * math.sqrt(max(shape))
            torch._foreach_add_(matrices, list(turned), alpha=-rate * size)


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def orthogonalise(
    matrices: Float[Tensor, "N R C"], precision: torch.dtype
) -> Float[Tensor, "N R C"]:
    """Bring all singular values of each matrix near 1 and keep its directions: U S Vᵀ to U Vᵀ.

    A polynomial that pulls every number in (0, 1] towards 1, applied to the singular values by
    matrix products alone. Cheapest where R <= C.
    """
    a, b, c = _QUINTIC
    x = matrices.to(precision)
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.to(matrices.dtype)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Rise linearly for `warmup_steps`, then follow half a cosine down to the final rate.

    `step` counts from 0. With equal peak and final rate and no warm-up it is a constant.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    span = max(1, config.max_steps - config.warmup_steps)
    progress = min(1.0, (step - config.warmup_steps) / span)
    height = 0.5 * (1 + math.cos(math.pi * progress))
    return config.final_learning_rate + height * (config.learning_rate - config.final_learning_rate)
