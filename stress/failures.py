"""Every disk operation of a training run, failing in every way."""

import random
from pathlib import Path

from stress.crashes import (
    SIGKILLED,
    Life,
    check_next_start,
    fresh,
    in_a_process,
    outcome,
    undisturbed,
    with_faults,
)
from stress.faulty_disk import FAILURES, KILLS, FaultyDisk
from stress.report import Report, each_case

_FAULTS = (
    *((fault, False) for fault in KILLS),
    *((fault, lasting) for fault in FAILURES for lasting in (False, True)),
)


def campaign(
    folder: Path, seed: int, cases: int | None = None, seconds: float | None = None
) -> Report:
    """Go through lives, operations and faults in random order; then again."""
    lives = [
        (life, *undisturbed(life)) for life in (Life.small(folder / "s"), *Life.several(folder))
    ]
    all_faults = [
        (life, expected, n, fault, lasting)
        for life, expected, operations in lives
        for n in range(operations)
        for fault, lasting in _FAULTS
    ]
    random.Random(seed).shuffle(all_faults)
    report = Report()
    for name, _ in each_case(report, seed, cases, seconds):
        life, expected, n, fault, lasting = all_faults[report.cases % len(all_faults)]
        report.count(f"{fault}{' for good' * lasting}")
        case = f"{name} ({life.folder.name}: {fault} at {n}{' for good' * lasting})"
        with report.failing(case), fresh(folder) as (path, notes):
            disk = FaultyDisk(n, fault, lasting)
            code = in_a_process(with_faults(life, path, notes, disk))
            assert code == SIGKILLED if fault in KILLS else code in (0, 5), f"ended with {code}"
            if code == 0:
                assert outcome(path) == expected
            check_next_start(life, path, notes, expected)
    return report
