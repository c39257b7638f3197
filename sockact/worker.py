"""The worker: the service that serves an app, and does not know who its manager is.

A reload replaces the code in place: a canary tries it, the drain ends, and the process executes its
own command again, with the same PID and the same sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import socket
import time
from collections.abc import Sequence
from typing import Any, Protocol

from sockact import canary, overview
from sockact.counters import Counters
from sockact.drain import Drain, count
from sockact.engines.several import Engines
from sockact.errors import ReloadRefused
from sockact.handover import Giver, Receiver, keepable
from sockact.idle import Idle
from sockact.process import MARGIN
from sockact.program import Program
from sockact.readiness import Readiness
from sockact.settings import Settings

logger = logging.getLogger(__name__)


class Manager(Protocol):
    """Who is told what a worker wants; its supervisor, or itself where it has none."""

    def busy(self) -> None:
        """Take notice that a request is at work."""

    def idle(self, idle: bool) -> None:
        """Take notice that there has been nothing to do for `idle_exit`, or that there is again."""

    def recycle(self, reason: str) -> None:
        """Replace this worker by another one."""

    def give(self, connections: Sequence[int]) -> bool:
        """Give connections to it; return whether they are on their way."""

    def kept(self) -> Sequence[socket.socket]:
        """Return the connections that were kept for this worker, and belong to it from now on."""

    async def room(self) -> int:
        """Return how many connections are to be kept for the next process, now that this one stops."""

    def stopped(self) -> None:
        """Take notice that a worker has drained, and is not replaced."""


class Worker:
    """The service of apps on the listeners that were passed; see `lifecycle.Service`.

    Args:
        engine: what serves.
        settings: how to serve.
        program: what a canary runs.
        generation: its number.
        manager: whom to tell what it wants.
        readiness: what it says of itself.
        supply: from where connections come that other workers give away.
        passing: whether it serves only connections that were passed, and ends with them.
    """

    def __init__(
        self,
        engine: Engines,
        settings: Settings,
        program: Program,
        generation: int,
        manager: Manager,
        readiness: Readiness,
        supply: socket.socket | None = None,
        *,
        passing: bool = False,
    ) -> None:
        self.name = f"gen {generation}"
        self._generation = generation
        self._manager = manager
        self._born = time.monotonic()
        self._idle: Idle | None = None
        self._recycled_at = with_jitter(settings.max_requests)
        self._engine = engine
        self._settings = settings
        self._program = program
        self._drain = Drain(engine, settings.drain_timeout)
        self._supply = supply
        self._passing = passing
        self._readiness = readiness
        self._hurried = asyncio.Event()
        self._giver = Giver(manager.give, confirms=supply is not None)
        self._receiver: Receiver | None = None
        self._state = "starting the app"
        engine.watch(self)

    @property
    def hammered(self) -> bool:
        """Whether the drain was ended by force."""
        return self._drain.hammered

    @property
    def counters(self) -> Counters:
        """What it is doing, in numbers."""
        engine = self._engine
        return Counters(engine.requests, engine.in_flight, engine.connections)

    def requested(self) -> None:
        """Take notice of a request that begins."""
        self._manager.busy()
        requests = self._engine.requests
        if self._settings.max_requests and requests >= self._recycled_at:
            # Once more later: it is not the time for it while a reload is under way.
            self._recycled_at = requests + self._settings.max_requests // 10 + 1
            self._manager.recycle(count(requests, "request"))

    def changed(self) -> None:
        """Take notice of a connection that has come or gone."""
        if self._idle is not None:
            self._idle.changed()
        if self._passing and not self._has_work():
            self._manager.idle(True)

    async def start(self) -> None:
        """Start the app and accept."""
        await self._engine.start()
        if self._supply is not None:
            self._receiver = Receiver(self._supply, self._engine.receive, self._giver)
        if self._settings.handover:
            self._engine.give_to(self._giver)
        for connection in self._manager.kept():
            connection.setblocking(False)
            self._engine.receive(connection)
        self._state = ""
        self._readiness.word = "ready"
        if self._settings.idle_exit:
            self._idle = Idle(self._settings.idle_exit, self._has_work, self._manager.idle)

    def _has_work(self) -> bool:
        return bool(self._engine.connections or self._engine.in_flight)

    async def check(self) -> None:
        """Let a canary start the new code."""
        if self._passing:
            raise ReloadRefused("this process ends with its connection: the next one has the new code")
        self._state = "trying the new code"
        try:
            await canary.rehearse(
                self._program,
                start_timeout=self._settings.start_timeout + MARGIN,
                end_timeout=self._settings.shutdown_timeout + MARGIN,
            )
        finally:
            self._state = ""

    async def replace(self) -> bool:
        """Drain, so that the process can execute the new code."""
        self._giver.limit(keepable())
        await self._end()
        return True

    async def stop(self, *, by_force: bool = False) -> None:
        """Drain, then let the app shut down."""
        if self._receiver is not None:
            self._receiver.receive()  # the last that came, and whether anybody takes what we have
        if self._receiver is None or not self._receiver.retired:
            await self._delay(by_force=by_force)
        if self._receiver is None:
            self._giver.limit(await self._manager.room())
        await self._end(by_force=by_force)
        self._manager.stopped()

    async def _delay(self, *, by_force: bool) -> None:
        """Say that the service stops, and go on as before for a while: load balancers need it to notice."""
        self._readiness.word = "draining"
        if self._settings.drain_delay and not (by_force or self._drain.begun):
            self._state = "about to drain"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.drain_delay):
                    await self._hurried.wait()
        self._readiness.refusing = True

    async def _end(self, *, by_force: bool = False) -> None:
        if self._idle is not None:
            self._idle.close()
        await self._drain.wait(by_force=by_force)
        if self._receiver is not None:
            self._receiver.close()
        await self._engine.close()

    def hammer(self) -> None:
        """End the drain by force, or what precedes it."""
        self._hurried.set()
        self._drain.hammer()

    def signalled(self, number: signal.Signals) -> None:
        """Say that it has no meaning; its default would end or halt the process."""
        logger.info("%s has no meaning here", number.name)

    def status(self) -> str:
        """Say what the worker is doing."""
        if self._drain.begun:
            return self._drain.status()
        return self._state or f"ready, {count(self._engine.in_flight, 'request')} in flight"

    def overview(self) -> dict[str, Any]:
        """Return this process as the only worker of its service."""
        phase = "draining" if self._drain.begun else "starting" if self._state else "ready"
        age = time.monotonic() - self._born
        row = overview.worker(1, self._generation, os.getpid(), phase, age, self.counters)
        return {"generation": self._generation, "workers": [row]}


def with_jitter(limit: int) -> int:
    """Return up to a tenth more, so that workers which began together do not end together."""
    return limit + random.randint(0, limit // 10)
