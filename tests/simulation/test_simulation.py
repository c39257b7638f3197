"""Simulations of the whole service by seed, and faults that they must see."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest.mock import patch

import pytest

from sockact.config.settings import Settings
from sockact.handover.store import Store
from sockact.handover.transfer import ARRIVING, RETIRE
from sockact.lifecycle.announcer import Announcer
from sockact.lifecycle.drain import Drain
from sockact.lifecycle.reloads import Reloads
from sockact.protocols.environment import GENERATION
from sockact.supervisor.fleet import Fleet
from sockact.supervisor.fleet.trial import Trial
from sockact.supervisor.pause import FleetPause
from sockact.supervisor.succession import Succession
from tests.simulation.clock import SimulatedLoop
from tests.simulation.kernel import Kernel
from tests.simulation.outcome import told
from tests.simulation.roles import Machine, WorkerProcess
from tests.simulation.systemd import listening
from tests.simulation.wires import datagrams
from tests.simulation.world import simulate

SEEDS = 400
IN_A_PART = 50
LOOKED_AT = 300
"""Seeds in which a planted fault is looked for."""


@pytest.mark.parametrize("first", range(0, SEEDS, IN_A_PART))
def test_no_promise_is_broken_whatever_happens_in_which_order(first: int) -> None:
    for seed in range(first, first + IN_A_PART):
        outcome = simulate(seed)
        assert not outcome.broken, "\n".join(told(outcome))
        assert outcome.answered > 0


def test_a_seed_replays() -> None:
    first, second = (simulate(7, verbose=True) for _ in range(2))

    assert first.log == second.log
    assert len(first.log) > 20


Replaced = tuple[Any, str, Callable[..., Any]]


def _trusts_at_once(self: Trial, now: float) -> None:
    if self._workers.of(self.generation):
        self.takeover = now


def _ignores(*_: object, **__: object) -> None:
    """Do nothing."""


def _settles_none(self: Reloads, ok: bool, text: str) -> list[Any]:
    self._under_way = False
    return []


def _answers_twice(self: Announcer, callers: Sequence[Any], ok: bool, text: str) -> None:
    for caller in (*callers, *callers):
        caller.answer(ok, text)


def _says_idle(self: FleetPause) -> None:
    self.pausing.note("")


FAULTS: dict[str, Replaced] = {
    "a generation takes over before it is ready": (Trial, "watch", _trusts_at_once),
    "stored connections are not removed at a start": (Store, "clear", _ignores),
    "what is stored of an ended worker is not removed": (Succession, "forget", _ignores),
    "workers are not stored": (Succession, "keep", _ignores),
    "callers of a reload are forgotten": (Reloads, "settle", _settles_none),
    "callers of a reload are told twice": (Announcer, "answer", _answers_twice),
    "a pause waits for nothing": (FleetPause, "_note", _says_idle),
    "workers get no more time when all were frozen": (Fleet, "postpone", _ignores),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_seen(fault: str) -> None:
    owner, name, replacement = FAULTS[fault]

    @contextlib.contextmanager
    def without() -> Iterator[None]:
        with patch.object(owner, name, replacement):
            yield

    assert any(simulate(seed, without=without).broken for seed in range(LOOKED_AT))


def test_what_comes_when_a_drain_is_over_is_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[bytes] = []
    waited = Drain.wait

    async def live(loop: SimulatedLoop) -> None:
        machine = Machine(Kernel(loop, lambda _: None), Settings(), listening())
        supply, its_supply = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client, served = socket.socketpair()
        lifeline, its_lifeline = socket.socketpair()
        manager, notify = datagrams()
        worker = WorkerProcess(machine, notify, its_lifeline, its_supply, {GENERATION: "1"})
        client.settimeout(0)
        client.send(b"1 0.5\n")

        async def wait(self: Drain, *, abort: bool = False) -> None:
            await waited(self, abort=abort)
            if served.fileno() >= 0:
                socket.send_fds(supply, [bytes([ARRIVING])], [served.fileno()])
                served.close()

        monkeypatch.setattr(Drain, "wait", wait)
        await asyncio.sleep(1.0)
        for order in (b"KEEP", b"SIGTERM"):
            supply.send(bytes([RETIRE]) + order)
        await asyncio.sleep(10.0)
        answers.append(client.recv(100))
        assert worker.process.code == 0
        for sock in (supply, client, lifeline, manager, machine.listener):
            sock.close()
        machine.kernel.close()

    loop = SimulatedLoop(random.Random(1))
    loop.run_until_complete(live(loop))
    loop.close()

    assert answers == [b"1 1 close\n"]
