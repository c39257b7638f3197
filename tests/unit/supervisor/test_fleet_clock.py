"""The clock of a fleet: whoever was frozen with the whole service has missed no deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sockact.supervisor.fleet_clock import EARLY, LATE, FleetClock


class Loop:
    """A loop whose time the test tells."""

    def __init__(self) -> None:
        self.present = 100.0
        self.timer: tuple[float, Callable[[], None]] | None = None

    def time(self) -> float:
        return self.present

    def call_at(self, when: float, called: Callable[[], None]) -> Any:
        self.timer = when, called
        return self

    def cancel(self) -> None:
        self.timer = None


class Deadline:
    """A fleet with one deadline."""

    def __init__(self, at: float) -> None:
        self.at = at

    def deadline(self) -> float:
        return self.at

    def postpone(self, seconds: float) -> None:
        self.at += seconds


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    loop = Loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    return loop


def wake_up(loop: Loop, at: float) -> None:
    """Run the timer, though not before a time."""
    assert loop.timer is not None
    when, called = loop.timer
    loop.present = max(at, when)
    called()


def clock(loop: Loop, fleet: Deadline) -> FleetClock:
    """Return a clock that looks at the time, and sets its timer again, when something is due."""

    def due() -> None:
        made.now()
        made.wake()

    made = FleetClock(fleet, due)  # type: ignore[arg-type]
    made.wake()
    return made


@pytest.mark.parametrize("late", [0.001, LATE - 0.001, LATE + 0.001, 60.0])
def test_a_deadline_that_a_freeze_has_missed_is_postponed_by_it(loop: Loop, late: float) -> None:
    fleet = Deadline(103.0)
    clock(loop, fleet)

    wake_up(loop, 103.0 + late)

    assert fleet.at >= 103.0 + late + EARLY


def test_a_deadline_is_kept_where_nothing_was_frozen(loop: Loop) -> None:
    fleet = Deadline(103.0)
    clock(loop, fleet)

    wake_up(loop, 0)
    assert loop.present == 103.0 - EARLY
    wake_up(loop, 0)
    assert loop.present == fleet.at == 103.0


def test_a_deadline_that_is_near_is_looked_at_once(loop: Loop) -> None:
    fleet = Deadline(100.0 + EARLY / 2)
    clock(loop, fleet)

    wake_up(loop, 0)

    assert loop.present == fleet.at
