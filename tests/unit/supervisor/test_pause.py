"""What a paused supervisor waits for: a real fleet, and workers that say what the test says."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import Mock

import pytest

from sockact.errors import PauseFailed
from sockact.protocols.worker_messages import WorkerMessage
from sockact.supervisor.fleet import Fleet
from sockact.supervisor.fleet.rules import Rules
from sockact.supervisor.pause import FleetPause


def made(*, takes_orders: bool = True) -> tuple[Fleet, FleetPause, Any]:
    fleet = Fleet(Rules(size=2, start_timeout=60.0, probation=0.0, stop_timeout=35.0))
    fleet.start(0.0)
    for number in (1, 2):
        fleet.ready(number, 0.0)
    assert fleet.current
    links: Any = Mock()
    links.exchange.order.return_value = takes_orders
    return fleet, FleetPause(fleet, links, lambda: 0.0), links


def test_each_worker_has_to_answer_and_those_that_end_are_not_waited_for() -> None:
    async def live() -> None:
        fleet, pause, links = made()
        pause.pausing.begin(60.0)
        finished = asyncio.ensure_future(pause.pausing.finish())
        links.children.hold.assert_called_once_with()

        pause.heard(1, WorkerMessage(paused=2))
        pause.forget(2)
        fleet.exited(2, "died", 0.0)
        await asyncio.sleep(0)
        assert not finished.done()
        pause.heard(1, WorkerMessage(paused=0))
        await asyncio.wait_for(finished, 10)
        pause.pausing.end("done")
        links.children.release.assert_called_once_with()

    asyncio.run(live())


def test_a_worker_that_serves_and_takes_no_orders_is_in_the_way() -> None:
    async def live() -> None:
        _, pause, links = made(takes_orders=False)

        with pytest.raises(PauseFailed, match="worker=1 takes no such order"):
            pause.pausing.begin(60.0)
        assert not pause.pausing.paused
        links.children.release.assert_called_once_with()

    asyncio.run(live())
