"""Device, precision and micro-batch size: what suits this machine."""

import contextlib
import ctypes
import math
import os
from contextlib import AbstractContextManager

import torch

from zigpt.errors import UsageError
from zigpt.gpt.config import Precision
from zigpt.language import tr

# Activations of a micro-batch that still fit into a CPU's caches: B x T x C values.
_CACHE_FRIENDLY = 1 << 21

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # names of the C library's <malloc.h>


def pick_device(name: str = "auto") -> torch.device:
    """Turn "auto", "cpu", "cuda", "cuda:1" or "mps" into a device that this machine has.

    Raises:
        UsageError: the named device is not on this machine.
    """
    have = ["cpu"]
    if torch.backends.mps.is_available():
        have.insert(0, "mps")
    if torch.cuda.is_available():
        have[:0] = ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if name != "auto" and name not in have:
        raise UsageError(
            tr("no device named {name!r} here", name=name),
            tr("this machine offers {devices}", devices=", ".join(have)),
            tr("use `device` {device}, or leave it out", device=have[0]),
        )
    return torch.device(have[0] if name == "auto" else name)


def describe(device: torch.device) -> str:
    """Name a device the way its owner would."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return tr("CPU, 1 thread") if threads == 1 else tr("CPU, {count} threads", count=threads)
    return str(device)


def pick_precision(device: torch.device, wanted: Precision = "auto") -> torch.dtype:
    """Choose the precision of matrix products: bfloat16 where the hardware has it.

    Never float16: it needs loss scaling, and on MPS it produces NaNs.
    """
    if wanted != "auto":
        return torch.bfloat16 if wanted == "bfloat16" else torch.float32
    has_bfloat16 = {
        "cuda": lambda: torch.cuda.is_bf16_supported(including_emulation=False),
        "cpu": _cpu_has_bfloat16,
    }
    in_hardware = has_bfloat16.get(device.type, lambda: False)()
    return torch.bfloat16 if in_hardware else torch.float32


def _cpu_has_bfloat16() -> bool:
    return bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def precision_name(precision: torch.dtype) -> str:
    """Name a precision as the setting `precision` does: "float32" or "bfloat16"."""
    return str(precision).removeprefix("torch.")


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for the next training step to reuse.

    By default the GNU C library returns large blocks to the system at once, and every step gets
    them back page by page: a tenth to a quarter of its time on a CPU. Elsewhere does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """Run matrix products in `precision`; weights, sums and the loss stay in float32."""
    if precision == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=precision)


def micro_batch_size(batch_size: int, block_size: int, n_embd: int, device: torch.device) -> int:
    """Choose how many windows go through the model at once; their gradients add up.

    On a CPU few enough for the activations to stay in its caches, in micro-batches of nearly equal
    size; elsewhere the whole batch.
    """
    if device.type != "cpu":
        return batch_size
    largest = max(1, _CACHE_FRIENDLY // (block_size * n_embd))
    n_micro_batches = math.ceil(batch_size / largest)
    return math.ceil(batch_size / n_micro_batches)
