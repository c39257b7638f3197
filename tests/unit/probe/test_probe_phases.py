"""A request belongs to the action that some moment of its life is in."""

from __future__ import annotations

import pytest

from sockact.probe.account import Account, Ledger, Window
from sockact.probe.outcome import Outcome
from sockact.probe.phases import phases
from sockact.probe.record import (
    MAX_CONNECTIONS,
    MAX_KINDS,
    MAX_PARTS,
    SEVERAL,
    Identity,
    Mark,
    Record,
    RequestKind,
)

RELOAD = Mark("reload", 2.0, 3.0, 0, "")
RESTART = Mark("restart", 5.0, 5.5, 0, "")


def ledger(*requests: tuple[float, float, Outcome], load: str = "a") -> Ledger:
    found = Ledger({"a": Account(), "slow": Account()}, frozenset({"a"}))
    for due, now, outcome in requests:
        found.begin(load, due)
        found.end(load, due, now, outcome)
    return found


@pytest.mark.parametrize(
    ("due", "now", "name"),
    [
        (0.0, 1.9, "before"),
        (1.9, 2.1, "reload"),
        (1.9, 3.5, "reload"),
        (2.0, 2.5, "reload"),
        (2.9, 9.9, "reload"),
        (3.1, 3.2, "between"),
        (3.1, 5.1, "restart"),
        (5.6, 5.7, "after"),
    ],
)
def test_each_request_is_in_one_phase(due: float, now: float, name: str) -> None:
    found = phases(ledger((due, now, Outcome.OK)), [RELOAD, RESTART])

    assert {phase.name: phase.requests for phase in found if phase.requests} == {name: 1}
    assert [phase.name for phase in found] == ["before", "reload", "between", "restart", "after"]


def test_a_run_without_actions_is_one_phase() -> None:
    (whole,) = phases(ledger((0.0, 1.0, Outcome.OK), (0.0, 1.0, Outcome.RESET)), [])

    assert (whole.requests, whole.lost, whole.latencies, whole.stall) == (2, 1, [1.0], None)


def test_a_request_that_takes_its_time_by_itself_has_no_latency_here() -> None:
    (whole,) = phases(ledger((0.0, 1.0, Outcome.OK), load="slow"), [])

    assert (whole.requests, whole.latencies) == (1, [])


def test_phases_have_the_stalls_of_their_windows() -> None:
    found = ledger()
    found.windows = [Window(0.1, 0.1), Window(0.2, 0.2), Window(0.3, 0.3)]
    assert [phase.stall for phase in phases(found, [RELOAD])] == [0.1, 0.2, 0.3]

    found.windows.pop()
    assert [phase.stall for phase in phases(found, [RELOAD])] == [None] * 3


def test_a_request_takes_no_more_room_than_it_is_said_to() -> None:
    found = ledger(*[(0.0, 1.0, Outcome.OK)] * 1000).record
    arrays = (found.due, found.taken, found.which)

    assert sum(len(each) * each.itemsize for each in arrays) == 14_000


def test_a_service_that_is_another_one_each_time_costs_no_memory() -> None:
    found = Record()
    for number in range(MAX_KINDS * 2):
        found.add(0.0, 1.0, RequestKind("a", Outcome.OK, Identity(None, number)))
    course = found.opened("persistent 1", 0.0)
    for number in range(MAX_PARTS * 2):
        course.answered(float(number), Identity(None, number))
        found.opened("persistent 2", 0.0)
    for _ in range(MAX_CONNECTIONS):
        found.opened("persistent 3", 0.0)

    assert len(found.kinds) <= MAX_KINDS + 1
    assert len(found.due) == MAX_KINDS * 2
    assert len(course.parts) == MAX_PARTS
    assert course.parts[-1].last == MAX_PARTS * 2 - 1
    assert course.parts[-1].identity == SEVERAL
    assert len(found.courses) == MAX_CONNECTIONS


def test_the_first_end_of_a_connection_counts() -> None:
    course = Record().opened("persistent 1", 0.0)
    course.close(1.0, "closed")
    course.close(2.0, "lost")

    assert (course.ended, course.end) == (1.0, "closed")
