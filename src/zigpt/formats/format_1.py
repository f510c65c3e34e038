"""Files of format 1, read as if they were of the current one."""

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
    """Rename the fields of a line of metrics, of counters, or of what a model file is about."""
    return {_RENAMED.get(name, name): value for name, value in record.items()}


def upgrade_header(header: dict[str, Any]) -> dict[str, Any]:
    """Rewrite the header of a model file; one of a later format is returned as it is."""
    if header["format"] != 1:
        return header
    tokenizer = {"kind": "char", "vocabulary": header["characters"]}
    about = header["about"]
    return {
        **header,
        "tokenizer": tokenizer,
        "about": upgrade(about) if isinstance(about, dict) else about,
    }


def upgrade_state(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the tensors of an optimizer as torch names them."""
    named = ((name.rpartition("."), tensor) for name, tensor in tensors.items())
    return {
        f"{weight}.{_STATE_RENAMED.get(kind, kind)}": tensor for (weight, _, kind), tensor in named
    }
