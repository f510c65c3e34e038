"""What this process may use of the machine: memory and processors. Loads in milliseconds.

A container or a batch system grants a part of a machine. Linux says so in control groups (cgroups,
version 1 or 2), a shell by `ulimit`.
"""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")


def usable_memory() -> float:
    """How many bytes this process can have at most; infinite where the system does not say."""
    limits = (*_physical_memory(), *_memory_of_groups(), *_memory_of_shell())
    return float(min(limits, default=math.inf))


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


def _physical_memory() -> Iterator[float]:
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):  # not on Windows
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _memory_of_shell() -> Iterator[float]:
    with suppress(ImportError):  # not on Windows
        import resource

        for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
            soft, _ = resource.getrlimit(kind)
            if soft != resource.RLIM_INFINITY:
                yield soft


def _memory_of_groups() -> Iterator[float]:
    for name in ("memory.max", "memory.limit_in_bytes"):
        yield from (float(text) for text in _group_files(name) if text != "max")


def _group_files(name: str) -> Iterator[str]:
    """Read the file of this name in every group that this process belongs to, and those above."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            # In a container the path may be the host's, and what is mounted begins at our group.
            for mount in (_GROUPS, *(_GROUPS / part for part in controllers.split(",") if part)):
                place = Path(group.lstrip("/"))
                for folder in (place, *place.parents):
                    with suppress(OSError):
                        yield (mount / folder / name).read_text().strip()
