"""No number in the ledger steps back, whoever ends, and whenever."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import cast

import pytest

from sockact.process.ledger import StatisticsLedger, is_past
from sockact.process.totals import TOTALS, Totals
from sockact.protocols.notify import Notifier
from sockact.protocols.statistics import Statistics
from sockact.protocols.statistics_page import WorkerStatistics
from sockact.sockets.fds import Kind, Listener


class Manager:
    """A manager with a store, which outlives the processes that use it."""

    def __init__(self, storage: int = 64) -> None:
        self.storage = storage
        self.stored: dict[str, int] = {}

    def store(self, descriptors: Sequence[int], name: str, *, must: bool = False) -> bool:  # noqa: ARG002
        (fd,) = descriptors
        self.stored[name] = os.dup(fd)
        return True

    def forget(self, name: str) -> None:
        os.close(self.stored.pop(name))

    def passed(self) -> list[Listener]:
        """Return what the next process gets."""
        return [Listener(name, os.dup(fd), Kind.OTHER) for name, fd in self.stored.items()]


def ledger_of(manager: Manager, past: Sequence[Listener] = ()) -> StatisticsLedger:
    return StatisticsLedger(cast("Notifier", manager), past)


def worker_of(ledger: StatisticsLedger, number: int, generation: int = 1) -> WorkerStatistics:
    page = ledger.open(number, generation)
    assert page is not None
    worker = WorkerStatistics.passed(page)
    assert worker is not None
    return worker


def begin(worker: WorkerStatistics, count: int) -> None:
    for _ in range(count):
        worker.complete(200, worker.begin())


def test_a_worker_that_has_ended_is_in_the_total() -> None:
    ledger = ledger_of(Manager())
    first, second = worker_of(ledger, 1), worker_of(ledger, 2)
    begin(first, 3)
    begin(second, 4)
    assert ledger.total.begun == 7
    ledger.close(1)
    assert ledger.of(1) is None
    assert ledger.of(2) is not None
    begin(second, 1)
    assert ledger.total.begun == 8


def test_the_next_process_goes_on_with_totals_and_left_over_workers() -> None:
    manager = Manager()
    before = ledger_of(manager)
    ended, left_over, gone = (worker_of(before, number) for number in (1, 2, 3))
    begin(ended, 1)
    begin(left_over, 10)
    begin(gone, 100)
    before.close(1)
    ledger = ledger_of(manager, manager.passed())
    ledger.adopt({(2, 1)})
    assert ledger.total.begun == 111
    begin(left_over, 1000)
    assert ledger.total.begun == 1111
    assert ledger.of(2) is not None
    assert sorted(manager.stored) == ["sockact.statistics.2.1", TOTALS]


def test_a_process_that_was_killed_as_it_added_a_worker_has_not_added_it_twice() -> None:
    """It was killed between the totals and the message to the store."""
    manager = Manager()
    before = ledger_of(manager)
    begin(worker_of(before, 1), 5)
    passed = manager.passed()
    before.close(1)
    ledger = ledger_of(manager, passed)
    manager.store([next(each.fd for each in passed if each.name != TOTALS)], "sockact.statistics.1.1")
    ledger.adopt(())
    assert ledger.total.begun == 5


def test_a_sum_that_was_half_written_does_not_count() -> None:
    totals = Totals.new()
    totals.add(1, Statistics((3,) * len(Statistics().words)))
    words = totals._words
    before = totals.statistics
    words[totals._start(1 - (words[1] & 1)) + 5] = 77  # as far as it came
    assert totals.statistics == before
    assert Totals(os.dup(totals.fd)).statistics == before


def test_a_reload_in_place_passes_all_on() -> None:
    manager = Manager(storage=0)
    before = ledger_of(manager)
    begin(worker_of(before, 1), 5)
    passed = before.passed_on()
    assert all(is_past(each) for each in passed)
    ledger = ledger_of(manager, passed)
    manager.stored["sockact.statistics.1.1"] = os.open(os.devnull, os.O_RDONLY)
    ledger.adopt(())
    begin(worker_of(ledger, 1, 2), 1)
    assert ledger.total.begun == 6


def test_most_of_the_store_is_left_for_connections() -> None:
    manager = Manager(storage=16)
    ledger = ledger_of(manager)
    for number in range(1, 10):
        worker_of(ledger, number)
    assert len(manager.stored) == ledger.stored == 4


def test_without_a_store_nothing_is_stored() -> None:
    manager = Manager(storage=0)
    ledger = ledger_of(manager)
    begin(worker_of(ledger, 1), 2)
    ledger.close(1)
    assert (ledger.total.begun, ledger.stored, manager.stored) == (2, 0, {})


def test_descriptors_of_another_kind_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    manager = Manager()
    manager.stored[TOTALS] = os.open(os.devnull, os.O_RDONLY)
    with caplog.at_level("INFO"):
        ledger = ledger_of(manager, manager.passed())
    assert "is not taken over" in caplog.text
    assert ledger.total == Statistics()


def test_events_are_counted_beside_the_sums() -> None:
    totals = Totals.new()
    totals.count(0)
    totals.count(2, 5)
    totals.add(9, Statistics())
    assert totals.events(0, 3) == (1, 0, 5)
