"""Several ways to do one thing, measured in alternation: medians, spreads and ratios.

A busy machine slows down whatever is running at the time. So nothing is compared across runs, every
side is measured several times with the others in between, and the spread is shown.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Measure = Callable[[], float]


@dataclass(frozen=True)
class Comparison:
    """The result of each side, round by round, in `unit`; those compared with come last.

    `reference` and `limit` name the sides that are a plain implementation and the limit of this
    machine; either may be missing.
    """

    title: str
    unit: str
    values: Mapping[str, Sequence[float]]
    reference: str | None = None
    limit: str | None = None
    less_is_better: bool = False

    def median(self, side: str) -> float:
        """The median of one side."""
        return statistics.median(self.values[side])

    def times_better(self, side: str, than: str) -> float:
        """How many times better the median of one side is than that of another."""
        ratio = self.median(side) / self.median(than)
        return 1 / ratio if self.less_is_better else ratio

    def lines(self) -> list[str]:
        """Lay the numbers out as a table."""
        titles = ["median", "lowest", "highest"]
        titles += [f"x {self.reference}"] * bool(self.reference) + ["of limit"] * bool(self.limit)
        head = "".join(f"{title:>12}" for title in titles)
        rows = [f"{f'{self.title}, {self.unit}':<44}{head}"]
        for side, values in self.values.items():
            cells = [shown(self.median(side)), shown(min(values)), shown(max(values))]
            if self.reference:
                cells.append(f"{self.times_better(side, self.reference):.2f}")
            if self.limit:
                cells.append(f"{self.times_better(side, self.limit):.0%}")
            rows.append(f"  {side:<42}" + "".join(f"{cell:>12}" for cell in cells))
        return rows


def compare(
    title: str,
    unit: str,
    rounds: int,
    sides: Mapping[str, Measure],
    reference: str | None = None,
    limit: str | None = None,
    less_is_better: bool = False,
) -> Comparison:
    """Call every side once to warm up, then all of them in turn, `rounds` times."""
    for side in sides.values():
        side()
    values: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            values[name].append(side())
    return Comparison(title, unit, values, reference, limit, less_is_better)


def rate(work: Callable[[], object], amount: int | float) -> float:
    """Do `work` once and return `amount` per second."""
    began = time.perf_counter()
    work()
    return amount / (time.perf_counter() - began)


def shown(number: float) -> str:
    """Format with three digits, or with all before the decimal point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
