"""The supervisor's answer to pressure on memory, in simulated time."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pytest

from sockact.supervisor.fleet.backoff import YOUNG
from sockact.supervisor.relief import CALM, FIRST_PAUSE, IN_A_ROW, LONGEST_PAUSE, PressureRelief

MIB = 1024**2
STEP = 10.0
"""Seconds between two events, as `process.pressure` lets them through."""


class Workers:
    """Workers of which the relief decides, and what it has done to them."""

    def __init__(self, sizes: Mapping[int, tuple[int, float]]) -> None:
        self.sizes = dict(sizes)
        self.trims = 0
        self.recycled: list[tuple[int, str]] = []
        self.relief = PressureRelief(self._trim, lambda: self.sizes, self._recycle)

    def _trim(self) -> None:
        self.trims += 1

    def _recycle(self, number: int, reason: str) -> None:
        self.recycled.append((number, reason))

    def press(self, begin: float, seconds: float, step: float = STEP) -> list[float]:
        """Put them under pressure for a time; return when a worker was replaced."""
        times, now = [], begin
        while now < begin + seconds:
            before = len(self.recycled)
            self.relief.on_pressure(now)
            times += [now] * (len(self.recycled) - before)
            now += step
        return times


@pytest.fixture
def workers() -> Workers:
    return Workers({1: (100 * MIB, 600.0), 2: (300 * MIB, 600.0), 3: (200 * MIB, 600.0)})


def test_each_event_makes_the_workers_trim(workers: Workers) -> None:
    workers.press(1000, 2 * STEP)

    assert (workers.trims, workers.recycled) == (2, [])


def test_pressure_that_goes_on_replaces_the_largest_worker(workers: Workers) -> None:
    assert workers.press(1000, 3 * STEP) == [1020]
    assert workers.recycled == [(2, "pressure on memory, 300 MiB in memory")]


def test_events_far_apart_are_no_row(workers: Workers) -> None:
    workers.press(1000, 3600, step=IN_A_ROW + 1)

    assert workers.recycled == []


def test_a_young_worker_is_not_replaced_for_its_size(workers: Workers) -> None:
    workers.sizes[2] = 300 * MIB, YOUNG - 1

    workers.press(1000, 3 * STEP)

    assert [number for number, _ in workers.recycled] == [3]


def test_where_all_are_young_none_is_replaced_until_one_is_old_enough(workers: Workers) -> None:
    workers.sizes = {4: (500 * MIB, 0.0)}
    assert workers.press(1000, 5 * STEP) == []

    workers.sizes = {4: (500 * MIB, YOUNG)}
    assert workers.press(1000 + 5 * STEP, STEP) == [1050]


def test_under_permanent_pressure_replacements_become_rare(workers: Workers) -> None:
    times = workers.press(1000, 24 * 3600)

    pauses = [after - before for before, after in pairwise(times)]
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE
    assert len(times) < 24 + 8
    assert workers.trims == 24 * 3600 / STEP


def test_after_a_calm_time_all_is_as_at_the_beginning(workers: Workers) -> None:
    workers.press(1000, 3600)
    times = workers.press(5000 + CALM, 200)

    assert times == [5000 + CALM + 2 * STEP, 5000 + CALM + 2 * STEP + FIRST_PAUSE]


def test_the_first_event_of_a_row_is_told_from_the_others(workers: Workers) -> None:
    assert workers.relief.on_pressure(0)
    assert not workers.relief.on_pressure(STEP)
    assert workers.relief.on_pressure(STEP + IN_A_ROW + 1)
