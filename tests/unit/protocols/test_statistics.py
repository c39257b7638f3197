"""A worker counts in a page of memory, and others read it without asking."""

from __future__ import annotations

import os
import time

import pytest

from sockact.protocols.histogram import Histogram
from sockact.protocols.statistics import (
    CLASSES,
    DURATIONS,
    GENERATION,
    IDENTITY,
    LAYOUT,
    RESPONSES,
    WORDS,
    Reason,
    Statistics,
    total,
)
from sockact.protocols.statistics_page import MOST, SIZE, StatisticsPage, WorkerStatistics
from sockact.sockets.fds import Kind, Listener
from sockact.system.sealed_memory import mapped


@pytest.fixture
def page() -> StatisticsPage:
    return StatisticsPage.new(7, 3)


@pytest.fixture
def worker(page: StatisticsPage) -> WorkerStatistics:
    found = WorkerStatistics.passed(page.passed())
    assert found is not None
    return found


def answer(worker: WorkerStatistics, status: int, seconds: float) -> None:
    """Begin a request that is complete after so many seconds."""
    worker.begin()
    worker.complete(status, time.monotonic() - seconds)


def test_a_response_counts_by_its_class_and_its_duration(
    page: StatisticsPage, worker: WorkerStatistics
) -> None:
    answer(worker, 200, 0.0121)
    answer(worker, 204, 0.0121)
    answer(worker, 503, 4.1)
    found = page.read()
    assert found.responses == (0, 2, 0, 0, 1)
    assert (found.begun, found.in_flight, found.aborted) == (3, 0, 0)
    assert found.durations(2).counts[DURATIONS.index(0.015)] == 2
    assert found.durations(5).counts[DURATIONS.index(5.0)] == 1
    assert found.durations().count == 3
    assert found.durations().seconds == pytest.approx(4.12, abs=0.2)


def test_a_request_is_in_flight_until_it_is_answered_or_given_up(
    page: StatisticsPage, worker: WorkerStatistics
) -> None:
    since = worker.begin()
    worker.begin()
    assert page.read().in_flight == 2
    worker.abort()
    assert page.read().in_flight == 1
    worker.complete(200, since)
    assert (page.read().in_flight, page.read().aborted) == (0, 1)


def test_a_connection_is_open_until_it_is_closed_or_has_moved(
    page: StatisticsPage, worker: WorkerStatistics
) -> None:
    worker.open()
    worker.receive()
    worker.open()
    worker.open_websocket()
    assert (page.read().connections, page.read().websockets) == (3, 1)
    worker.close_websocket()
    worker.move()
    worker.close(Reason.TIMEOUT)
    found = page.read()
    assert (found.connections, found.websockets, found.moved) == (1, 0, 1)
    assert [found.closed(reason) for reason in Reason] == [0, 0, 0, 1, 0, 0, 0]


def test_the_end_of_a_worker_ends_what_was_open_and_in_flight(
    page: StatisticsPage, worker: WorkerStatistics
) -> None:
    worker.open()
    worker.open_websocket()
    worker.begin()
    ended = page.read().ended()
    assert (ended.in_flight, ended.aborted, ended.connections, ended.websockets) == (0, 1, 0, 0)
    assert ended.closed(Reason.EXIT) == 1


def test_delays_are_counted_by_their_length(page: StatisticsPage, worker: WorkerStatistics) -> None:
    worker.lagged(0.3)
    worker.lagged(-1.0)  # a timer that was early
    worker.waited(99.0)
    found = page.read()
    assert (found.loop_lag.count, found.loop_lag.seconds) == (2, pytest.approx(0.3))
    assert (found.thread_wait.counts[-1], found.thread_wait.seconds) == (1, pytest.approx(99.0))


def test_the_difference_of_two_snapshots_is_what_has_happened_between(
    page: StatisticsPage, worker: WorkerStatistics
) -> None:
    answer(worker, 200, 0.01)
    earlier = page.read()
    answer(worker, 500, 0.01)
    worker.fail()
    between = page.read().since(earlier)
    assert (between.responses, between.exceptions) == ((0, 0, 0, 0, 1), 1)
    assert total([earlier, between]) == page.read()
    assert total([]) == Statistics()


def test_no_place_is_used_twice(page: StatisticsPage, worker: WorkerStatistics) -> None:
    for number in CLASSES:
        for bound in (*DURATIONS, 100.0):
            answer(worker, number * 100, bound * 0.9)
    words = page.read().words
    assert words[RESPONSES:] == (1,) * (WORDS - RESPONSES)
    assert page.read().in_flight == 0


def test_a_page_outlives_its_worker(page: StatisticsPage) -> None:
    pid = os.fork()
    if not pid:
        worker = WorkerStatistics.passed(page.passed())
        assert worker is not None
        worker.begin()
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    assert page.read().begun == 1


def test_a_worker_trusts_its_own_numbers_only(page: StatisticsPage, worker: WorkerStatistics) -> None:
    words = mapped(page.fd, SIZE)
    words[4] = (1 << 64) - 1  # adding to it would raise an error in the worker
    assert page.read().begun == MOST
    worker.begin()
    assert page.read().begun == 1


def test_a_page_of_another_layout_is_not_used(
    page: StatisticsPage, caplog: pytest.LogCaptureFixture
) -> None:
    words = mapped(page.fd, SIZE)
    words[LAYOUT] += 1
    with caplog.at_level("INFO"):
        assert WorkerStatistics.passed(page.passed()) is None
    assert "layout 2: expected 1" in caplog.text
    with pytest.raises(OSError, match="expected 1"):
        StatisticsPage(page.fd)


def test_memory_of_another_kind_is_not_used(tmp_path: os.PathLike[str]) -> None:
    fd = os.open(tmp_path, os.O_TMPFILE | os.O_RDWR)
    assert WorkerStatistics.passed(Listener("sockact.statistics", fd, Kind.OTHER)) is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_each_worker_has_an_identity_of_its_own(page: StatisticsPage) -> None:
    other = StatisticsPage.new(7, 3)
    assert page.identity != other.identity
    assert mapped(page.fd, SIZE)[GENERATION] == 3
    assert mapped(page.fd, SIZE)[IDENTITY] == page.identity


def test_a_quantile_is_interpolated_in_its_bucket() -> None:
    histogram = Histogram((1.0, 2.0, 4.0), (50, 40, 10, 0), 150.0)
    assert histogram.quantile(0.5) == 1.0
    assert histogram.quantile(0.7) == 1.5
    assert histogram.quantile(0.95) == 3.0
    assert histogram.quantile(1.0) == 4.0
    assert histogram.cumulative == (50, 90, 100, 100)


def test_a_quantile_beyond_all_bounds_is_the_last_bound() -> None:
    assert Histogram((1.0, 2.0), (0, 0, 9), 99.0).quantile(0.5) == 2.0
    assert Histogram((1.0, 2.0), (0, 0, 0), 0.0).quantile(0.5) is None
