"""What all campaigns share: a budget, a random generator for each case, and a report."""

import random
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

SLOWEST_ALLOWED = 2.0  # seconds of a processor for one case, whatever the input


@dataclass
class Report:
    """What came of a campaign; `failures` name the seed and case that make each again."""

    cases: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    slowest: float = 0.0  # seconds of a processor
    memory_grown: int = 0  # bytes, from before the first case to the highest point
    failures: list[str] = field(default_factory=list)

    def count(self, outcome: str, times: int = 1) -> None:
        """Note how a case ended."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + times

    @contextmanager
    def failing(self, name: str) -> Iterator[None]:
        """Note it, if a case breaks a promise, and go on with the next."""
        try:
            yield
        except (AssertionError, LookupError, ValueError, OSError) as error:
            self.failures.append(f"{name}: {type(error).__name__}: {error}"[:2000])


def each_case(
    report: Report, seed: int, cases: int | None = None, seconds: float | None = None
) -> Iterator[tuple[str, random.Random]]:
    """Yield the name and generator of every case within the budget; measure each."""
    began = time.monotonic()
    before = _peak_memory()
    while (cases is None or report.cases < cases) and (
        seconds is None or time.monotonic() - began < seconds
    ):
        name = f"{seed}/{report.cases}"
        case_began = time.process_time()
        yield name, random.Random(name)
        took = time.process_time() - case_began
        if took > SLOWEST_ALLOWED:
            report.failures.append(f"{name}: took {took:.1f} seconds")
        report.cases += 1
        report.slowest = max(report.slowest, took)
    report.memory_grown = _peak_memory() - before


def _peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
