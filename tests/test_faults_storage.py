"""Kills, power losses and failing disks: nothing is lost or wrong."""

import pytest

from stress import damage, kills, power
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


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    life = Life.small(tmp_path_factory.mktemp("life"))
    expected, operations = undisturbed(life)
    assert operations > 50
    return life, expected, operations


def test_a_kill_at_any_operation_changes_nothing(life, tmp_path):
    """Halfway through each write, and before some of them."""
    life, expected, operations = life
    for n in range(operations):
        for fault in KILLS if n % 10 == 0 else KILLS[1:]:
            with fresh(tmp_path) as (path, notes):
                code = in_a_process(with_faults(life, path, notes, FaultyDisk(n, fault)))
                assert code == SIGKILLED, n
                check_next_start(life, path, notes, expected)


def test_a_disk_that_fails_once_at_any_operation_changes_nothing(life, tmp_path):
    life, expected, operations = life
    for n in range(operations):
        fault = FAILURES[n % len(FAILURES)]
        with fresh(tmp_path) as (path, notes):
            code = in_a_process(with_faults(life, path, notes, FaultyDisk(n, fault)))
            assert code in (0, 5), f"{fault} at operation {n}: {code}"
            if code == 0:
                assert outcome(path) == expected, f"{fault} at operation {n}"
            else:
                check_next_start(life, path, notes, expected)


@pytest.mark.parametrize("fault", FAILURES)
def test_a_disk_that_stays_full_ends_the_training_and_loses_nothing(life, tmp_path, fault):
    life, expected, operations = life
    for n in range(FAILURES.index(fault), operations - 12, 11):
        with fresh(tmp_path) as (path, notes):
            code = in_a_process(with_faults(life, path, notes, FaultyDisk(n, fault, lasting=True)))
            assert code == 5, f"operation {n}: {code}"
            check_next_start(life, path, notes, expected)


def test_repeated_kills_at_random_instants_change_nothing(tmp_path):
    report = kills.campaign(tmp_path, 4, kills=50)
    assert report.failures == []
    assert report.outcomes["killed"] >= 50


def test_after_a_power_loss_at_any_moment_what_was_reported_as_saved_is_there(life, tmp_path):
    life, expected, _ = life
    different = power.check_all(life, tmp_path, expected)
    assert different > 30


def test_repeated_power_losses_and_a_failing_disk_change_nothing(tmp_path):
    assert power.campaign(tmp_path, 1, cases=10).failures == []


def test_a_damaged_checkpoint_is_detected_and_the_previous_one_loaded(tmp_path):
    report = damage.campaign(tmp_path, 9, cases=100)
    assert report.failures == []
    assert len(report.outcomes) == len(set(damage.KINDS))
