"""Killed at any instant, or with a disk that fails at any operation: nothing is lost or wrong."""

import shutil

import numpy as np
import pytest

from tests.campaigns.crashes import (
    Life,
    check_next_start,
    fresh_places,
    in_a_process,
    outcome,
    undisturbed,
    with_faults,
)
from tests.campaigns.faulty_disk import FAILURES, KILLS, FaultyDisk

SIGKILLED = -9


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    folder = tmp_path_factory.mktemp("life")
    life = Life.small(folder)
    expected, operations = undisturbed(life, folder)
    assert operations > 50
    return life, expected, operations


def test_killed_at_every_operation_the_next_start_ends_the_same(life, tmp_path):
    """Halfway through what it writes; before it, where that is not after another operation."""
    life, expected, operations = life
    place = fresh_places(tmp_path)
    for n in range(operations):
        for fault in KILLS if n % 10 == 0 else KILLS[1:]:
            path, said = place()
            assert in_a_process(with_faults(life, path, said, FaultyDisk(n, fault))) == SIGKILLED, n
            check_next_start(life, path, said, expected)
            shutil.rmtree(path, ignore_errors=True)


def test_a_disk_that_fails_once_at_any_operation_changes_nothing(life, tmp_path):
    life, expected, operations = life
    place = fresh_places(tmp_path)
    for n in range(operations):
        path, said = place()
        fault = FAILURES[n % len(FAILURES)]
        code = in_a_process(with_faults(life, path, said, FaultyDisk(n, fault)))
        assert code in (0, 5), f"{fault} at operation {n}: {code}"
        if code == 0:
            assert outcome(path) == expected, f"{fault} at operation {n}"
        else:
            check_next_start(life, path, said, expected)
        shutil.rmtree(path, ignore_errors=True)


@pytest.mark.parametrize("fault", FAILURES)
def test_a_disk_that_stays_full_ends_the_training_and_loses_nothing(life, tmp_path, fault):
    life, expected, operations = life
    place = fresh_places(tmp_path)
    for n in range(FAILURES.index(fault), operations - 12, 11):
        path, said = place()
        code = in_a_process(with_faults(life, path, said, FaultyDisk(n, fault, lasting=True)))
        assert code == 5, f"operation {n}: {code}"
        check_next_start(life, path, said, expected)
        shutil.rmtree(path, ignore_errors=True)


def test_killed_at_random_instants_again_and_again_it_ends_the_same(life, tmp_path):
    life, expected, _ = life
    place, random = fresh_places(tmp_path), np.random.default_rng(4)
    kills = 0
    while kills < 100:
        path, said = place()
        while (
            in_a_process(with_faults(life, path, said, FaultyDisk()), random.uniform(0, 0.1))
            == SIGKILLED
        ):
            kills += 1
        check_next_start(life, path, said, expected)
        shutil.rmtree(path, ignore_errors=True)
