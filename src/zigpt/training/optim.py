"""The optimizers, AdamW and Muon, and the schedule of the learning rate."""

import inspect
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.adamw import adamw

from zigpt.gpt.config import TrainConfig
from zigpt.training.device import pick_precision

_BETA1, _EPSILON = 0.9, 1e-8
_MOMENTUM = 0.95
_NEWTON_SCHULZ_STEPS = 5  # all but tiny singular values then lie between about 0.7 and 1.2
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ADAMW_RMS = 0.2  # root mean square of an AdamW update, in units of the learning rate


def build_optimizers(model: nn.Module, config: TrainConfig) -> tuple[torch.optim.Optimizer, ...]:
    """AdamW for all weights or, with Muon, for all but the matrices inside the blocks.

    Matrices decay, the embeddings among them; biases and LayerNorm weights do not.
    """
    named = dict(model.named_parameters())
    muon = config.optimizer == "muon"
    inside = {n: p for n, p in named.items() if muon and "blocks." in n and p.dim() == 2}
    rest = [p for name, p in named.items() if name not in inside]
    groups = [
        {"params": [p for p in rest if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0},
    ]
    adam = AdamW(groups, config.learning_rate, config.beta2)
    if not muon:
        return (adam,)
    precision = pick_precision(next(model.parameters()).device, config.precision)
    # One parameter holds three matrices, the projections to q, k and v: orthogonalised one by one.
    stacked = [3 if name.endswith("qkv.weight") else 1 for name in inside]
    lr, weight_decay = config.learning_rate, config.weight_decay
    return Muon(list(inside.values()), stacked, lr, weight_decay, precision), adam


def named_state(optimizers: Iterable[torch.optim.Optimizer], model: nn.Module) -> dict[str, Tensor]:
    """Name every tensor the optimizers keep between steps, such as "head.weight.exp_avg"."""
    names: dict[Tensor, str] = {weight: name for name, weight in model.named_parameters()}
    return {
        f"{names[weight]}.{kind}": tensor
        for optimizer in optimizers
        for weight, state in optimizer.state.items()
        for kind, tensor in state.items()
    }


class _Optimizer(torch.optim.Optimizer):
    """torch's base class, with state from the start: a checkpoint of step 0 is like any other."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group as torch does, but unwrapped: the wrapper loads a compiler for a second."""
        inspect.unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)
        for parameter in param_group["params"]:
            self.state[parameter] = self._initial_state(parameter)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one update with the gradients the parameters hold, or those `closure` computes."""
        with torch.enable_grad():
            loss = None if closure is None else closure()
        for group in self.param_groups:
            self._update(group)
        return loss

    def _initial_state(self, parameter: Tensor) -> dict[str, Tensor]:
        raise NotImplementedError

    def _update(self, group: dict[str, Any]) -> None:
        raise NotImplementedError


class AdamW(_Optimizer):
    """AdamW (arXiv:1711.05101), by torch's fused kernel.

    torch's own class would load a compiler, a second at every start.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, beta2: float) -> None:
        # With "fused", torch's load_state_dict keeps each "step" on the device of its parameter.
        options = {"lr": lr, "betas": (_BETA1, beta2), "weight_decay": 0.0, "fused": True}
        super().__init__(groups, options)

    def _initial_state(self, parameter: Tensor) -> dict[str, Tensor]:
        return {
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
            "step": torch.zeros((), device=parameter.device),
        }

    def _update(self, group: dict[str, Any]) -> None:
        parameters = [p for p in group["params"] if p.grad is not None]
        gradients = [p.grad for p in parameters]
        means, squares, steps = (
            [self.state[p][kind] for p in parameters] for kind in ("exp_avg", "exp_avg_sq", "step")
        )
        beta1, beta2 = group["betas"]
        adamw(
            parameters, gradients, means, squares, [], steps,
            fused=True, amsgrad=False, maximize=False, beta1=beta1, beta2=beta2,
            lr=group["lr"], weight_decay=group["weight_decay"], eps=_EPSILON,
        )  # fmt: skip


class Muon(_Optimizer):
    """Momentum, orthogonalised: the singular values of an update are nearly equal.

    Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; scaled as in
    arXiv:2502.16982, so that one learning rate suits it and AdamW alike. `stacked` says how many
    matrices each parameter holds, stacked along its rows. Matrices of one shape are orthogonalised
    together.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        stacked: Sequence[int],
        lr: float,
        weight_decay: float,
        precision: torch.dtype,
    ) -> None:
        group = {"params": list(parameters), "stacked": list(stacked)}
        super().__init__([group], {"lr": lr, "weight_decay": weight_decay, "precision": precision})

    def _initial_state(self, parameter: Tensor) -> dict[str, Tensor]:
        return {"momentum_buffer": torch.zeros_like(parameter)}

    def _update(self, group: dict[str, Any]) -> None:
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for weight, n in zip(group["params"], group["stacked"], strict=True):
            if weight.grad is None:
                continue
            momentum = self.state[weight]["momentum_buffer"].lerp_(weight.grad, 1 - _MOMENTUM)
            nesterov = weight.grad.lerp(momentum, _MOMENTUM)  # where the momentum will be
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            for matrix, update in zip(weight.chunk(n), nesterov.chunk(n), strict=True):
                if matrix.size(0) > matrix.size(1):  # orthogonalising is cheaper for a wide one
                    matrix, update = matrix.mT, update.mT
                by_shape[matrix.shape].append((matrix, update))
        for shape, pairs in by_shape.items():
            matrices, updates = zip(*pairs, strict=True)
            step_size = group["lr"] * _ADAMW_RMS * math.sqrt(max(shape))
            orthogonal = orthogonalise(torch.stack(updates), group["precision"])
            for matrix, update in zip(matrices, orthogonal, strict=True):
                matrix.add_(update, alpha=-step_size)


def orthogonalise(
    matrices: Float[Tensor, "N rows columns"], precision: torch.dtype
) -> Float[Tensor, "N rows columns"]:
    """Bring the singular values of each matrix near 1, keep its singular vectors: U S Vᵀ to U Vᵀ.

    Newton-Schulz: a polynomial that pulls numbers in (0, 1] up to about 1, applied to the singular
    values by matrix products alone. Cheapest where no matrix has more rows than columns.
    """
    a, b, c = _QUINTIC
    x = matrices.to(precision)
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.to(matrices.dtype)


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """Rise linearly for `warmup_steps`, stay, fall along half a cosine in the last `decay_steps`.

    `step` counts from 0. Where peak and final rate are equal and nothing rises, it is constant.
    Before the fall the rate does not depend on `max_steps`, so until then the end may be moved.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    start = config.max_steps - config.decay_steps if config.decay_steps else config.warmup_steps
    span = max(1, config.max_steps - start)
    progress = min(1.0, max(0, step - start) / span)
    height = 0.5 * (1 + math.cos(math.pi * progress))
    return config.final_learning_rate + height * (config.learning_rate - config.final_learning_rate)
