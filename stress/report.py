"""Shared by all campaigns: a budget, a random generator for each case, and a report."""

import random
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

SLOWEST_ALLOWED = 2.0  # seconds of a processor for one case, whatever the input


@dataclass
class Report:
    """The result of a campaign; `failures` name the seed and case that reproduce each."""

    cases: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    slowest: float = 0.0  # seconds of a processor
    most_memory: int = 0  # bytes that one case added to those in use before it
    failures: list[str] = field(default_factory=list)
    before: int = 0  # bytes in use when the present case started

    def forget_memory(self) -> None:
        """Count the memory of this case from here: creating it took some too."""
        self.before = _forget_peak()

    def count(self, outcome: str, times: int = 1) -> None:
        """Note how a case ended."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + times

    @contextmanager
    def failing(self, name: str) -> Iterator[None]:
        """Record a broken promise and continue with the next case."""
        try:
            yield
        except (AssertionError, LookupError, ValueError, OSError) as error:
            self.failures.append(f"{name}: {type(error).__name__}: {error}"[:2000])


def each_case(
    report: Report, seed: int, cases: int | None = None, seconds: float | None = None
) -> Iterator[tuple[str, random.Random]]:
    """Yield the name and generator of each case within the budget; measure it."""
    began = time.monotonic()
    while (cases is None or report.cases < cases) and (
        seconds is None or time.monotonic() - began < seconds
    ):
        name = f"{seed}/{report.cases}"
        report.forget_memory()
        case_began = time.process_time()
        yield name, random.Random(name)
        took = time.process_time() - case_began
        if took > SLOWEST_ALLOWED:
            report.failures.append(f"{name}: took {took:.1f} seconds")
        report.cases += 1
        report.slowest = max(report.slowest, took)
        report.most_memory = max(report.most_memory, _peak_memory() - report.before)


def _forget_peak() -> int:
    """Reset the peak to the memory in use, where possible (Linux); return that memory."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak_memory()


def _peak_memory() -> int:
    with suppress(OSError):  # the peak of getrusage cannot be reset
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
