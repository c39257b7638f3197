"""The texts of a drain, and the states of a worker from which status and phase are derived."""

from __future__ import annotations

import asyncio
import logging
import signal

import pytest

from sockact.lifecycle.drain import Drain
from sockact.lifecycle.end_signals import EndSignals
from sockact.lifecycle.tasks import Background
from sockact.worker.state import WorkerState


class Busy:
    """An engine whose drain does not end by itself."""

    def __init__(self, connections: int, in_flight: int) -> None:
        self.connections = connections
        self.in_flight = in_flight

    def stop_accepting(self) -> None: ...

    async def wait_drained(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def abort(self) -> None:
        self.connections = self.in_flight = 0


@pytest.mark.parametrize(
    ("connections", "in_flight", "tasks", "timeout", "expected"),
    [
        (3, 1, 0, 0.0, "drain timeout after 0 s: aborting 3 connections and 1 request"),
        (1, 0, 0, 0.0, "drain timeout after 0 s: aborting 1 connection"),
        (2, 2, 1, 0.0, "drain timeout after 0 s: aborting 2 connections, 2 requests and 1 background task"),
        (1, 1, 0, None, "told to abort: aborting 1 connection and 1 request"),
    ],
)
def test_a_drain_says_why_and_what_it_aborts(
    caplog: pytest.LogCaptureFixture,
    connections: int,
    in_flight: int,
    tasks: int,
    timeout: float | None,
    expected: str,
) -> None:
    async def scene() -> Drain:
        background = Background()
        for _ in range(tasks):
            background.start(asyncio.sleep(3600))
        drain = Drain(Busy(connections, in_flight), background, timeout)
        await drain.wait(abort=timeout is None)
        return drain

    with caplog.at_level(logging.WARNING):
        drain = asyncio.run(scene())

    assert drain.aborted
    assert not drain.under_way
    assert expected in [record.getMessage() for record in caplog.records]


def test_a_drain_that_is_aborted_before_it_has_begun_waits_all_the_same() -> None:
    async def scene() -> bool:
        drain = Drain(Busy(1, 1), Background(), None)
        drain.abort()
        waiting = asyncio.create_task(drain.wait())
        await asyncio.sleep(0)
        done = waiting.done()
        drain.abort()
        await waiting
        return done

    assert not asyncio.run(scene())


def test_only_a_worker_that_serves_or_did_is_not_shown_as_starting() -> None:
    starting = {state for state in WorkerState if state.phase == "starting"}

    assert starting == {WorkerState.STARTING, WorkerState.CALLED_OFF}
    assert {state.phase for state in WorkerState} == {"starting", "ready", "draining"}


def test_a_second_sigterm_kills_when_a_moment_has_passed_and_of_others_none_does() -> None:
    signals = EndSignals({signal.SIGINT: 0.0, signal.SIGTERM: 1.0})

    assert not signals.is_second(signal.SIGTERM, 10.0)
    assert not signals.is_second(signal.SIGTERM, 10.5)
    assert signals.is_second(signal.SIGTERM, 11.0)
    assert signals.killed_by is signal.SIGTERM
    assert not signals.is_second(signal.SIGQUIT, 12.0)
    assert not signals.is_second(signal.SIGQUIT, 99.0)
