"""AdamW with decay groups, and the learning-rate schedule."""

import math

import torch
from torch import nn

from zigpt.config import TrainConfig


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (arXiv:1711.05101): weight matrices decay, biases and LayerNorm gains do not."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=(0.9, config.beta2),
        fused=True,
    )


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


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group the same rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
