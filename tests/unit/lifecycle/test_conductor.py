"""The conductor with a service of its own kind, in one process and without a wait."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from sockact.config.settings import Settings
from sockact.errors import AppError, ReloadRefused
from sockact.lifecycle import signal_events
from sockact.lifecycle.conductor import Conductor
from sockact.lifecycle.end_signals import EndSignals
from sockact.lifecycle.pausing import Pausing
from sockact.lifecycle.phases import Event
from sockact.lifecycle.service import Ending
from sockact.protocols.counters import Counters
from sockact.protocols.worker_messages import Reporter
from sockact.system.signals import FOLLOWED, EarlySignals


class Scripted:
    """A service whose verbs do what the test says, and note that they were called."""

    name = "gen 1"
    counters = Counters()

    def __init__(self) -> None:
        self.conductor = Conductor(Reporter(), Settings())
        self.called: list[str] = []
        self.events: dict[str, list[Event]] = {"start": [Event.RELOAD]}
        self.error: dict[str, Exception] = {}
        self.followed = False
        self.pausing = Pausing(lambda _: None, lambda: None)

    async def _verb(self, name: str) -> None:
        self.called.append(name)
        for event in self.events.pop(name, []):
            self.conductor._events.put_nowait(event)
        if name in self.error:
            raise self.error.pop(name)

    async def start(self) -> None:
        await self._verb("start")

    async def try_reload(self) -> None:
        await self._verb("try_reload")

    async def take_over(self) -> bool:
        await self._verb("take_over")
        return True

    async def stop(self, *, abort: bool = False, followed: bool = False) -> None:
        self.followed = followed
        await self._verb("stop, and abort" if abort else "stop")

    def abort(self) -> None:
        self.called.append("abort")

    def on_called_off(self) -> None:
        self.called.append("called off")

    def on_signal(self, number: signal.Signals) -> None:
        self.called.append(number.name)

    def status(self) -> str:
        return "scripted"

    def overview(self) -> dict[str, Any]:
        return {"generation": 1, "workers": []}

    def run(self, early: EarlySignals) -> Ending:
        return asyncio.run(self.conductor.run(self, early))


@pytest.fixture
def early() -> Iterator[EarlySignals]:
    early = EarlySignals()
    yield early
    early.restore()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    assert "NOTIFY_SOCKET" not in os.environ
    return Scripted()


def test_a_reload_ends_in_the_takeover(service: Scripted, early: EarlySignals) -> None:
    assert service.run(early) == Ending(replaced=True, callers=[])
    assert service.called == ["start", "try_reload", "take_over"]


def test_a_stop_that_comes_with_the_end_of_the_drain_prevents_the_takeover(
    service: Scripted, early: EarlySignals
) -> None:
    service.events["take_over"] = [Event.STOP]

    assert service.run(early) == Ending()
    assert service.called == ["start", "try_reload", "take_over", "stop"]


def test_a_request_during_the_trial_is_tried_again(service: Scripted, early: EarlySignals) -> None:
    checks = iter([[Event.RELOAD], []])

    async def try_reload() -> None:
        service.called.append("try_reload")
        for event in next(checks):
            service.conductor._events.put_nowait(event)
        await asyncio.sleep(0)

    service.try_reload = try_reload  # type: ignore[method-assign]

    assert service.run(early).replaced
    assert service.called == ["start", "try_reload", "try_reload", "take_over"]


def test_a_refused_reload_leaves_the_service_active(service: Scripted, early: EarlySignals) -> None:
    async def try_reload() -> None:
        # Runs when this verb has reported its end.
        asyncio.get_running_loop().call_soon(service.conductor._events.put_nowait, Event.STOP)
        raise ReloadRefused("no")

    service.try_reload = try_reload  # type: ignore[method-assign]

    assert service.run(early) == Ending()
    assert service.called == ["start", "stop"]


@pytest.mark.parametrize("verb", ["start", "take_over", "stop"])
def test_a_verb_that_fails_ends_the_service_with_its_error(
    service: Scripted, early: EarlySignals, verb: str
) -> None:
    service.error[verb] = AppError("broken")
    if verb == "stop":
        service.events["start"] = [Event.STOP]

    with pytest.raises(AppError, match="broken"):
        service.run(early)


def test_a_verb_that_is_cancelled_from_within_does_not_hang_the_service(
    service: Scripted, early: EarlySignals
) -> None:
    async def start() -> None:
        raise asyncio.CancelledError

    service.start = start  # type: ignore[method-assign]

    with pytest.raises(Exception, match="CancelledError"):
        service.run(early)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_asks_twice_ends_it_at_once(
    service: Scripted, early: EarlySignals, number: signal.Signals
) -> None:
    async def start() -> None:
        signal.raise_signal(number)
        signal.raise_signal(number)

    service.start = start  # type: ignore[method-assign]
    service.conductor = Conductor(Reporter(), Settings(), end_signals=EndSignals({number: 0.0}))

    assert service.run(early) == Ending(status=128 + number, killed=True)


@pytest.mark.parametrize("events", [[Event.QUIT], [Event.STOP, Event.USR2], [Event.STOP, Event.QUIT]])
def test_an_abort_that_comes_before_the_stop_has_begun_is_not_lost(
    service: Scripted, early: EarlySignals, events: list[Event]
) -> None:
    service.events["start"] = events

    assert service.run(early) == Ending()
    assert service.called[-1] == "stop, and abort"


def test_a_stop_knows_that_a_start_follows_also_when_that_is_said_after_it(
    service: Scripted, early: EarlySignals
) -> None:
    async def start() -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(FOLLOWED)

    service.start = start  # type: ignore[method-assign]

    assert service.run(early) == Ending()
    assert service.followed


def test_what_was_said_long_before_a_stop_says_nothing_about_it(
    service: Scripted, early: EarlySignals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal_events, "ANNOUNCED", -1.0)

    async def start() -> None:
        signal.raise_signal(FOLLOWED)
        await asyncio.sleep(0.01)
        signal.raise_signal(signal.SIGTERM)

    service.start = start  # type: ignore[method-assign]

    assert service.run(early) == Ending()
    assert not service.followed


def test_what_a_stranger_has_said_before_does_not_call_off_a_restart(
    service: Scripted, early: EarlySignals
) -> None:
    async def start() -> None:
        for number in (FOLLOWED, FOLLOWED, signal.SIGTERM):
            signal.raise_signal(number)
            await asyncio.sleep(0)

    service.start = start  # type: ignore[method-assign]

    assert service.run(early) == Ending()
    assert service.followed
    assert "called off" not in service.called


def test_a_restart_can_be_called_off_once_it_has_begun(service: Scripted, early: EarlySignals) -> None:
    async def start() -> None:
        for number in (FOLLOWED, signal.SIGTERM):
            signal.raise_signal(number)

    async def stop(*, abort: bool = False, followed: bool = False) -> None:
        assert followed
        signal.raise_signal(FOLLOWED)
        await asyncio.sleep(0.01)

    service.start, service.stop = start, stop  # type: ignore[method-assign]

    assert service.run(early) == Ending()
    assert service.called[-1] == "called off"


def test_nothing_follows_of_which_nobody_says_so(service: Scripted, early: EarlySignals) -> None:
    service.events["start"] = [Event.STOP]

    assert service.run(early) == Ending()
    assert not service.followed
