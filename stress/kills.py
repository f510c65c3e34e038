"""Training runs killed at random instants, again and again, until they finish."""

from pathlib import Path

from stress.crashes import (
    SIGKILLED,
    Life,
    check_next_start,
    fresh,
    in_a_process,
    undisturbed,
    with_faults,
)
from stress.faulty_disk import FaultyDisk
from stress.report import Report, each_case


def campaign(
    folder: Path,
    seed: int,
    cases: int | None = None,
    seconds: float | None = None,
    kills: int | None = None,
) -> Report:
    """Kill until the budget is spent; a case is one run with all of its kills."""
    lives = [(life, *undisturbed(life)) for life in Life.several(folder)]
    report = Report()
    for name, choose in each_case(report, seed, cases, seconds):
        life, expected, _ = choose.choice(lives)
        # A short time may not be enough for any progress: now and then it has to be longer.
        longest = choose.choice((0.05, 0.1, 0.2, 0.4))
        with report.failing(name), fresh(folder) as (path, notes):
            live = with_faults(life, path, notes, FaultyDisk())
            while (code := in_a_process(live, choose.uniform(0, longest))) == SIGKILLED:
                report.count("killed")
                longest *= 1.05
            assert code == 0, f"ended with {code}"
            check_next_start(life, path, notes, expected)
        if kills and report.outcomes.get("killed", 0) >= kills:
            break
    return report
