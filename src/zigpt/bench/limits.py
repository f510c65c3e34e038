"""The limits of this machine: arithmetic, memory bandwidth, and the overhead of one call."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from zigpt.bench.rounds import Comparison, compare, rate
from zigpt.training.device import pick_precision, precision_name

_SIDE = 2048  # of a square matrix: large enough for full speed, small enough to be quick
_PRODUCTS = 5
_BYTES = 1 << 28  # far beyond any cache
_CALLS = 2000


def matrix_products(device: torch.device, precision: torch.dtype) -> float:
    """Multiply square matrices; return FLOP per second."""
    matrix = torch.ones(_SIDE, _SIDE, device=device, dtype=precision)
    product = torch.empty_like(matrix)

    def multiply() -> None:
        for _ in range(_PRODUCTS):
            torch.mm(matrix, matrix, out=product)
        product[0, 0].item()  # waits for a GPU

    multiply()
    return rate(multiply, _PRODUCTS * 2 * _SIDE**3)


def memory_read(device: torch.device) -> float:
    """Sum a large array; return bytes per second."""
    array = torch.ones(_BYTES // 4, device=device)
    return rate(lambda: array.sum().item(), _BYTES)


def call(device: torch.device) -> float:
    """Add two numbers many times; return the seconds of one call."""
    number = torch.zeros(1, device=device)

    def add() -> None:
        for _ in range(_CALLS):
            number.add_(1)

    return 1 / rate(add, _CALLS)


def measure_limits(device: torch.device, rounds: int) -> Iterator[Comparison]:
    """Measure all limits; bfloat16 only in hardware, because without it a product takes minutes."""
    products = {
        precision_name(precision): partial(_giga, matrix_products, device, precision)
        for precision in (torch.float32, pick_precision(device))
    }
    yield compare("matrix products", "GFLOP/s", rounds, products)
    yield compare("memory", "GB/s", rounds, {"read": partial(_giga, memory_read, device)})
    calls = {"sum of two numbers": lambda: 1e6 * call(device)}
    yield compare("one call of torch", "microseconds", rounds, calls, less_is_better=True)


def _giga(measure: Callable[..., float], *arguments: Any) -> float:
    return measure(*arguments) / 1e9
