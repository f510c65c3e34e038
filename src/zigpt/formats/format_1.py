"""Files of format 1, read as if they were of today's."""

from collections.abc import Mapping
from typing import Any

_RENAMED = {
    "test_loss": "val_loss",
    "looks_since_best": "evaluations_since_best",
    "looked_at": "evaluated_at",
}
_STATE_RENAMED = {
    "mean": "exp_avg",
    "square": "exp_avg_sq",
    "steps": "step",
    "momentum": "momentum_buffer",
}


def upgrade(record: Mapping[str, Any]) -> dict[str, Any]:
    """Give the fields of a line of metrics, of counters or of a model's origin today's names."""
    return {_RENAMED.get(name, name): value for name, value in record.items()}


def upgrade_state(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Give the tensors of an optimizer today's names, which are torch's."""
    named = ((name.rpartition("."), tensor) for name, tensor in tensors.items())
    return {
        f"{weight}.{_STATE_RENAMED.get(kind, kind)}": tensor for (weight, _, kind), tensor in named
    }
