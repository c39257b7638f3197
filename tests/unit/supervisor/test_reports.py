"""The reports that a supervisor keeps of its workers."""

from __future__ import annotations

from sockact.protocols.counters import Counters
from sockact.protocols.worker_messages import WorkerMessage
from sockact.supervisor.reports import Report, Reports

IDLE = WorkerMessage(idle=True)


def counted(requests: int, in_flight: int = 0) -> WorkerMessage:
    """Return the message of a worker that counts."""
    return WorkerMessage(counters=Counters(requests, in_flight, 1))


def test_a_worker_that_has_said_nothing_has_an_empty_report() -> None:
    assert Reports().of(1) == Report(None, "", idle=False, stopping=False)


def test_what_a_worker_does_not_say_again_stays() -> None:
    reports = Reports()
    version, stopping, ping = (
        WorkerMessage(version="1.2"),
        WorkerMessage(stopping=True),
        WorkerMessage(pings=True),
    )
    for said in counted(3), version, IDLE, stopping, ping:
        reports.hear(1, said)

    assert reports.of(1) == Report(Counters(3, 0, 1), "1.2", idle=True, stopping=True)


def test_a_worker_may_have_something_to_do_again() -> None:
    reports = Reports()
    reports.hear(1, IDLE)
    reports.hear(1, WorkerMessage(idle=False))

    assert not reports.of(1).idle


def test_only_changed_counters_are_news() -> None:
    reports = Reports()

    assert [reports.hear(1, said) for said in (counted(3), counted(3), IDLE, counted(4))] == [
        True,
        False,
        False,
        True,
    ]


def test_requests_are_counted_beyond_the_end_of_a_worker() -> None:
    reports = Reports()
    reports.hear(1, counted(3, in_flight=1))
    reports.hear(2, counted(4, in_flight=2))
    assert reports.counters == Counters(7, 3, 2)

    reports.forget(1)
    reports.forget(3)  # which has said nothing

    assert reports.counters == Counters(4, 2, 1)
    assert reports.requests == 7
