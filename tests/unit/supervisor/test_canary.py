"""Who is compared with a canary, and from when on; a real fleet, and statistics that the test writes."""

from __future__ import annotations

import random

import pytest

from sockact.protocols.statistics import BEGUN, DURATION_BUCKETS, EXCEPTIONS, RESPONSES, WORDS, Statistics
from sockact.protocols.statistics_page import MOST
from sockact.supervisor.canary import Canary
from sockact.supervisor.fleet import Fleet
from sockact.supervisor.fleet.rules import Rules


class World:
    """A fleet of two whose canary, worker 3, is ready."""

    def __init__(self) -> None:
        self.fleet = Fleet(Rules(size=2, start_timeout=60.0, probation=1.0, stop_timeout=35.0, canary=1))
        self.words: dict[int, list[int]] = {number: [0] * WORDS for number in range(1, 9)}
        self.canary = Canary(self.fleet, self.serving, self.canaries, self.read)
        self.fleet.start(0.0)
        for number in (1, 2):
            self.fleet.ready(number, 0.0)

    def reload(self) -> None:
        self.fleet.reload(1.0)
        self.canary.follow()
        self.fleet.ready(max(self.fleet.workers), 1.0)
        self.canary.follow()

    def serving(self) -> list[int]:
        workers = self.fleet.workers.values()
        return [each.number for each in workers if each.serves and each.generation == self.fleet.current]

    def canaries(self) -> list[int]:
        canary = self.fleet.canary if self.fleet.compares else -1
        return [each.number for each in self.fleet.workers.values() if each.generation == canary]

    def read(self, number: int) -> Statistics | None:
        return Statistics(tuple(self.words[number])) if number in self.words else None

    def answer(self, number: int, fine: int, failed: int = 0) -> None:
        words = self.words[number]
        words[BEGUN] += fine + failed
        words[EXCEPTIONS] += failed
        words[RESPONSES + DURATION_BUCKETS] += fine
        words[RESPONSES + 4 * DURATION_BUCKETS] += failed

    def look(self, fine: int, failed: int, *, last: bool = False) -> str:
        """Let the canary answer so many requests, and the others twice as many without a failure."""
        self.answer(3, fine, failed)
        for number in (1, 2):
            self.answer(number, fine)
        return self.canary.worse(last=last)


@pytest.fixture
def world() -> World:
    world = World()
    world.answer(1, 0, failed=5000)  # long before
    world.reload()
    return world


def test_only_what_happens_beside_the_canary_is_compared(world: World) -> None:
    assert world.look(90, 10) == ""
    worse = world.look(90, 10)

    assert worse.startswith("the canary is worse in 5xx and exceptions: 10.0 % 5xx, 10.0 % exceptions, p95")
    assert "of 200 responses; the others: 0.0 % 5xx, 0.0 % exceptions" in worse
    assert worse.endswith("of 360 responses")


def test_a_worker_that_starts_meanwhile_is_not_compared(world: World) -> None:
    world.fleet.exited(1, "died", 2.0)
    world.canary.follow()
    (number,) = set(world.fleet.workers) - {1, 2, 3}
    world.fleet.ready(number, 2.0)
    world.canary.follow()
    world.answer(number, 0, failed=1000)

    assert "the others: 0.0 % 5xx" in world.look(90, 10) + world.look(90, 10)


def test_a_canary_that_passes_leaves_its_numbers(world: World) -> None:
    assert world.look(200, 0, last=True) == ""
    assert world.canary.remark.startswith("canary: 0.0 % 5xx, 0.0 % exceptions, p95")


def test_too_few_requests_are_said(world: World) -> None:
    assert world.look(9, 0, last=True) == ""
    assert world.canary.remark.startswith("canary: too few requests to tell: 0.0 % 5xx")


def test_workers_without_statistics_are_too_few_requests(world: World) -> None:
    world.words.clear()

    assert world.canary.worse(last=True) == ""
    assert world.canary.remark.startswith("canary: too few requests to tell: ")


def test_the_next_canary_begins_anew(world: World) -> None:
    world.look(90, 10)
    world.fleet.exited(3, "died", 2.0)
    world.canary.follow()
    world.reload()
    world.answer(4, 90, 10)

    assert world.look(0, 0) == ""
    assert world.canary.worse(last=True) == ""
    assert "of 100 responses" in world.canary.remark


def test_a_worker_that_writes_what_it_likes_does_not_hold_its_supervisor_up(world: World) -> None:
    source = random.Random(1)
    numbers = (0, 1, 2**30, MOST // 2, MOST - 1, MOST)

    for _ in range(200):
        for each in (1, 3):
            world.words[each] = [source.choice(numbers) for _ in range(WORDS)]
        assert isinstance(world.look(source.choice((0, 100)), 0, last=source.random() < 0.1), str)
