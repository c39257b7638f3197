"""Memory that is returned to the kernel, and how often."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from sockact.system.memory import SHARE, Trimmer, free


class Work:
    """A clock, and work that takes time by it."""

    def __init__(self, seconds: float) -> None:
        self.now = 100.0
        self.times: list[float] = []
        self._seconds = seconds

    def clock(self) -> float:
        return self.now

    def free(self) -> None:
        self.times.append(self.now)
        self.now += self._seconds


class Cycle:
    """An object that only a collection of garbage destroys."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def no_collection() -> Iterator[None]:
    """No automatic collection, though none is switched off."""
    before = gc.get_threshold()
    gc.set_threshold(0)
    yield
    gc.set_threshold(*before)
    gc.enable()


def test_memory_is_freed_for_a_hundredth_of_the_time_at_most() -> None:
    work = Work(0.5)
    trimmer = Trimmer(work.free, work.clock)
    while work.now < 1100:
        trimmer.trim()
        work.now += 0.1

    assert len(work.times) * 0.5 <= 1000 * SHARE
    assert len(work.times) > 15


def test_what_costs_nothing_is_done_each_time() -> None:
    work = Work(0)
    trimmer = Trimmer(work.free, work.clock)
    for _ in range(3):
        trimmer.trim()

    assert len(work.times) == 3


def test_garbage_is_collected(no_collection: None) -> None:
    garbage = weakref.ref(Cycle())
    assert garbage()

    free()

    assert garbage() is None


def test_an_app_that_collects_itself_is_left_alone(no_collection: None) -> None:
    gc.disable()
    garbage = weakref.ref(Cycle())

    free()

    assert garbage()
