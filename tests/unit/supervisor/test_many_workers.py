"""Many workers: started one by one, with an ear for what happens between two."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self, cast

import pytest

from sockact.errors import SettingsError
from sockact.process.command import Program
from sockact.process.ledger import StatisticsLedger
from sockact.protocols.notify import Notifier
from sockact.supervisor.children import WorkerSpec
from sockact.supervisor.fleet import Fleet, Rules
from sockact.supervisor.fleet.orders import Note, Spawn
from sockact.supervisor.service import Supervisor
from sockact.supervisor.succession import Succession

MANY = 50


class Born:
    """A worker that needs no process: it lives until it is told to end, or killed."""

    all: ClassVar[list[Self]] = []
    fails = False

    def __init__(self, *_: object, ended: Callable[[str], None], **__: object) -> None:
        self.pid = -1
        self.reason = ""
        self.exit_status = self.killed_by = 0
        self.killed = False
        self.gone = asyncio.Event()
        self.gone.set()
        self._ended = ended
        self.all.append(self)

    def send(self, _number: int) -> None:
        asyncio.get_running_loop().call_soon(self._ended, "has ended")

    def kill(self) -> None:
        self.killed = True

    @classmethod
    def spawn(cls, *_: object) -> None:
        if cls.fails:
            raise SettingsError("no variable")


class NoSuccession:
    """Nobody follows this supervisor."""

    def __init__(self) -> None:
        self.store = self
        self.storage = self.capacity = 0
        self.ledger = StatisticsLedger(cast("Notifier", self))

    async def room(self) -> int:
        await asyncio.sleep(0.05)  # systemd is asked meanwhile
        return 0

    def put(self, descriptors: Sequence[int], *, must: bool = True) -> list[int]:  # noqa: ARG002
        return list(descriptors)

    def clear(self) -> None: ...

    def forget(self, worker: int) -> None: ...


class Nobody:
    def on_busy(self) -> None: ...

    def on_idle(self) -> None: ...

    def on_status(self) -> None: ...

    def request_reload(self) -> None: ...


@pytest.fixture
def born(monkeypatch: pytest.MonkeyPatch) -> type[Born]:
    Born.all = []
    monkeypatch.setattr(Born, "fails", False)
    monkeypatch.setattr("sockact.supervisor.children.Child", Born)
    monkeypatch.setattr("sockact.supervisor.children.child_handle.spawn", Born.spawn)
    return Born


def supervising(size: int = MANY, **rules: Any) -> Supervisor:
    program = Program(("true",), ".", {})
    rules = {"start_timeout": 60.0, "probation": 0.0, "stop_timeout": 10.0, "assume_ready": 0.0, **rules}
    spec = WorkerSpec(program, [], supplied=False, handover=False)
    return Supervisor(spec, Rules(size=size, **rules), Nobody(), cast("Succession", NoSuccession()))


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_between_two_workers_there_is_a_turn_for_whatever_happens(born: type[Born]) -> None:
    async def live() -> None:
        service = supervising(assume_ready=None)
        starting = asyncio.create_task(service.start())
        for turn in range(1, 10):
            await turns(1)
            assert len(born.all) <= turn
        await turns(MANY)
        assert len(born.all) == MANY
        starting.cancel()

    asyncio.run(live())


@pytest.mark.parametrize("abort", [False, True])
def test_a_stop_in_the_middle_starts_none_any_more(born: type[Born], abort: bool) -> None:
    async def live() -> int:
        service = supervising(assume_ready=None)
        starting = asyncio.create_task(service.start())
        await turns(5)
        starting.cancel()
        before = len(born.all)
        await service.stop(abort=abort)
        await turns(MANY)
        assert not service.overview()["workers"]
        return before

    before = asyncio.run(live())
    assert 0 < before < MANY
    assert len(born.all) <= before + 1  # in the turn in which the stop began


def test_all_of_them_are_killed_by_a_second_signal_and_none_comes_after(born: type[Born]) -> None:
    async def live() -> None:
        service = supervising(assume_ready=None)
        starting = asyncio.create_task(service.start())
        await turns(5)
        service.kill()
        count = len(born.all)
        await turns(MANY)
        assert len(born.all) == count
        assert all(child.killed for child in born.all)
        starting.cancel()

    asyncio.run(live())


def test_a_generation_that_is_given_up_in_the_middle_of_its_start_ends_whole(born: type[Born]) -> None:
    """One cannot be started, so that the others are not, either."""

    async def live() -> None:
        service = supervising(assume_ready=None)
        starting = asyncio.create_task(service.start())
        await turns(5)
        born.fails = True
        with pytest.raises(Exception, match="no process can be started: no variable"):
            await asyncio.wait_for(starting, 5)
        assert not service.overview()["workers"]

    asyncio.run(live())
    assert len(born.all) < MANY


def test_a_fault_in_a_later_turn_is_not_lost(born: type[Born], monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that waits for all workers hears of it, as if all had been started at once."""

    async def live() -> None:
        service = supervising(assume_ready=None)
        starting = asyncio.create_task(service.start())
        await turns(5)
        monkeypatch.setattr("sockact.supervisor.children.Child", None)
        with pytest.raises(TypeError):
            await asyncio.wait_for(starting, 5)

    asyncio.run(live())
    assert born.all


def test_a_worker_that_is_not_started_yet_may_already_be_too_many(born: type[Born]) -> None:
    async def live() -> None:
        service = supervising(assume_ready=None)
        starting = asyncio.create_task(service.start())
        await turns(5)
        for _ in range(MANY - 10):
            service.on_signal(signal.SIGTTOU)
        await turns(MANY)
        assert len(service.overview()["workers"]) == 10
        starting.cancel()

    asyncio.run(live())
    assert len(born.all) < MANY


def test_no_signal_makes_more_workers_than_the_settings_could() -> None:
    fleet = Fleet(Rules(size=2, start_timeout=60.0, probation=0.0, stop_timeout=10.0, most=3))
    fleet.start(0.0)

    assert fleet.resize(1, 0.0) == [Spawn(3, 1)]
    assert fleet.resize(1, 0.0) == [Note("no more workers: there are 3, expected at most 3")]
    assert fleet.size == 3
    assert fleet.resize(-1, 0.0)
    assert fleet.resize(1, 0.0) == [Spawn(4, 1)]
