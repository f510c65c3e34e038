"""What this process may use of the machine: memory and processors. Loads in milliseconds.

A container or a batch system grants a part of a machine. Linux says so in control groups (cgroups,
version 1 or 2), a shell by `ulimit`.
"""

import math
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zigpt.errors import OutOfMemoryError
from zigpt.language import tr

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_THREAD_ADDRESSES = 40 << 20  # for each but the first: buffers of NumPy's OpenBLAS, and a stack


@dataclass(frozen=True)
class Library:
    """What a process takes once a library and all that comes with it are loaded, in bytes.

    Of the addresses, which `ulimit -v` limits, most never become memory. Measured with builds for
    the CPU; those for a GPU take more.
    """

    module: str
    memory: int
    addresses: int


ONNXRUNTIME = Library("onnxruntime", memory=100 << 20, addresses=220 << 20)
TORCH = Library("torch", memory=300 << 20, addresses=800 << 20)


def require_library(library: Library) -> None:
    """Check that a library can be loaded: where it cannot, some end the process without a word.

    Raises:
        OutOfMemoryError: it takes more than this process may have.
    """
    if library.module in sys.modules:
        return
    addresses = library.addresses + (_threads() - 1) * _THREAD_ADDRESSES
    limits = [(limit, addresses) for limit in _limit_of_shell("RLIMIT_AS")]
    limits.append((_memory(), library.memory))
    for limit, needed in limits:
        if limit < needed:
            why = tr(
                "its libraries need {needed:,.0f} MB, and this process may have {limit:,.0f} MB",
                needed=needed / 2**20,
                limit=limit / 2**20,
            )
            raise no_room_for_libraries(why)


def no_room_for_libraries(why: str) -> OutOfMemoryError:
    """Refuse a command whose libraries cannot be loaded; smaller settings would not help."""
    return OutOfMemoryError(
        tr("zigpt cannot be loaded into the memory that it is granted"),
        why,
        tr(
            "raise the limit (of the shell: ulimit -v; or of the container), or use a machine with "
            "more memory"
        ),
    )


def usable_memory() -> float:
    """How many bytes this process can have at most; infinite where the system does not say."""
    never_touched = TORCH.addresses - TORCH.memory
    addresses = (max(0, limit - never_touched) for limit in _limit_of_shell("RLIMIT_AS"))
    return float(min([_memory(), *addresses]))


def granted_processors() -> int | None:
    """How many processors a control group grants; None where it does not limit them."""
    limits: list[float] = []
    for quota, period in zip(
        _group_files("cpu.cfs_quota_us"), _group_files("cpu.cfs_period_us"), strict=False
    ):
        if int(quota) > 0:  # -1: as many as there are
            limits.append(int(quota) / int(period))
    for text in _group_files("cpu.max"):
        quota, _, period = text.partition(" ")
        if quota != "max":
            limits.append(int(quota) / int(period))
    return max(1, math.ceil(min(limits))) if limits else None


def _threads() -> int:
    given = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(given)) if given.isdecimal() else os.cpu_count() or 1


def _memory() -> float:
    limits = (*_physical_memory(), *_memory_of_groups(), *_limit_of_shell("RLIMIT_DATA"))
    return float(min(limits, default=math.inf))


def _physical_memory() -> Iterator[float]:
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):  # not on Windows
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _limit_of_shell(kind: str) -> Iterator[float]:
    with suppress(ImportError):  # not on Windows
        import resource

        soft, _ = resource.getrlimit(getattr(resource, kind))
        if soft != resource.RLIM_INFINITY:
            yield float(soft)


def _memory_of_groups() -> Iterator[float]:
    for name in ("memory.max", "memory.limit_in_bytes"):
        yield from (float(text) for text in _group_files(name) if text != "max")


def _group_files(name: str) -> Iterator[str]:
    """Read the file of this name in every group that this process belongs to, and those above."""
    with suppress(OSError):
        for line in _OWN_GROUPS.read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            # In a container the path may be the host's, and what is mounted begins at our group.
            for mount in (_GROUPS, *(_GROUPS / part for part in controllers.split(",") if part)):
                place = Path(group.lstrip("/"))
                for folder in (place, *place.parents):
                    with suppress(OSError):
                        yield (mount / folder / name).read_text().strip()
