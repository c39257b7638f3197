"""The end of a process is told to one worker that serves and has asked for it."""

from __future__ import annotations

import pytest

from sockact.protocols.worker_messages import WorkerMessage
from sockact.supervisor.worker_exits import MAX_REMEMBERED, Exits


class World:
    """Workers that serve, and what each was told."""

    def __init__(self) -> None:
        self.serving: list[int] = []
        self.told: list[tuple[int, int]] = []
        self.reached = True
        self.exits = Exits(self.tell, lambda: self.serving)

    def tell(self, worker: int, pid: int) -> bool:
        if self.reached:
            self.told.append((worker, pid))
        return self.reached

    def serve(self, *workers: int) -> None:
        """Have these workers serve, and ask for exits."""
        self.serving = list(workers)
        for worker in workers:
            self.exits.heard(worker, WorkerMessage(watches_exits=True))


@pytest.fixture
def world() -> World:
    return World()


def test_one_of_those_that_serve_is_told_once(world: World) -> None:
    world.serve(1, 2)
    world.exits.ended(100)
    world.exits.pass_on()

    assert world.told == [(1, 100)]


def test_what_has_ended_before_waits_for_the_first_that_wants_to_know(world: World) -> None:
    world.serving = [1]
    world.exits.ended(100)
    world.exits.ended(101)
    assert world.told == []

    world.serve(1)
    assert world.told == [(1, 100), (1, 101)]


def test_who_does_not_serve_is_told_nothing(world: World) -> None:
    world.serve(1)
    world.serving = []
    world.exits.ended(100)
    assert world.told == []

    world.serving = [1]
    world.exits.pass_on()
    assert world.told == [(1, 100)]


def test_what_was_not_seen_by_one_that_has_ended_is_told_to_another(world: World) -> None:
    world.serve(1, 2)
    world.exits.ended(100)
    world.exits.ended(101)
    world.exits.heard(1, WorkerMessage(exit_seen=100))
    world.serving = [2]
    world.exits.forget(1)
    world.exits.ended(1001)

    assert world.told == [(1, 100), (1, 101), (2, 101), (2, 1001)]


@pytest.mark.parametrize("seen", ["", "x", "-1", "\u0661", "9" * 400, "101"])
def test_only_who_was_told_can_have_seen_it(world: World, seen: str) -> None:
    world.serve(1, 2)
    world.exits.ended(100)
    world.exits.heard(1, WorkerMessage.from_assignments({"X_SOCKACT_EXIT_SEEN": seen}))
    world.exits.heard(2, WorkerMessage(exit_seen=100))
    world.serving = [2]
    world.exits.forget(1)
    world.exits.pass_on()

    assert world.told == [(1, 100), (2, 100)]


def test_what_could_not_be_told_is_told_later(world: World) -> None:
    world.serve(1)
    world.reached = False
    world.exits.ended(100)
    world.reached = True
    world.exits.pass_on()

    assert world.told == [(1, 100)]


def test_a_number_that_lives_again_is_not_told(world: World) -> None:
    world.exits.ended(100)
    world.exits.started(100)
    world.serve(1)

    assert world.told == []


def test_those_that_nobody_wants_to_know_of_do_not_pile_up(world: World) -> None:
    for pid in range(MAX_REMEMBERED + 5):
        world.exits.ended(pid)
    world.serve(1)

    assert [pid for _, pid in world.told] == list(range(5, MAX_REMEMBERED + 5))
