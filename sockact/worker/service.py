"""The worker: the service that serves an app, and does not know who its manager is.

A reload replaces the code in place: a canary tries it, the drain ends, and the process executes its
own command again, with the same PID and the same sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sockact import hooks
from sockact.config.settings import Settings
from sockact.engines.group import Engines
from sockact.errors import AppError, ReloadRefused, SockactError
from sockact.handover.transfer import Giver, Receiver, keepable
from sockact.lifecycle.drain import Drain
from sockact.lifecycle.readiness import Readiness
from sockact.lifecycle.tasks import Background
from sockact.process import green_threads
from sockact.process.command import Program
from sockact.protocols import overview
from sockact.protocols.counters import Counters, count
from sockact.runtime import Draining
from sockact.system import standard_streams
from sockact.worker import canary
from sockact.worker.hook_runner import HookRunner
from sockact.worker.idle import Idle
from sockact.worker.recycling import Recycling

LEEWAY = 3.0
"""Seconds beyond the hammer, which also takes a moment, until an event loop that hangs ends the process."""

CLEANUP = 2.0
"""Seconds beyond the limit of the app's shutdown until one that hangs in the event loop does so."""

TELLING = 1.0
"""Seconds that a supervisor may take to say why a worker stops that has not heard it from it."""

logger = logging.getLogger(__package__)


class Manager(Protocol):
    """Who is told what a worker wants; its supervisor, or itself where it has none.

    Attributes:
        replaces: whether it replaces workers by itself, and only asks them before.
    """

    replaces: bool

    def consent(self, refusal: str) -> None:
        """Take the answer whether a reload may begin; empty if it may."""

    def hook_failed(self, text: str) -> None:
        """Take notice that a hook of the app has failed."""

    def failed(self, error: SockactError) -> None:
        """Take notice that the app has not started."""

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

    async def room(self, *, followed: bool) -> int:
        """Return how many connections are to be kept for the next process, now that this one stops.

        Args:
            followed: whether the service manager has said that there will be one.
        """

    def stopped(self) -> None:
        """Take notice that a worker has drained, and is not replaced."""

    def take_orders(self) -> None:
        """Give orders from now on, over the supply."""

    def ordered(self, order: str) -> None:
        """Let this process do what it was ordered."""

    def exit_seen(self, pid: int) -> None:
        """Take notice that the hooks for the end of a process have run."""

    def orphaned(self) -> None:
        """Take notice that the manager has gone."""


@dataclass(frozen=True, slots=True)
class Inside:
    """What the app's code has to do with the life of its process.

    Attributes:
        hooks: what it runs at which point.
        background: its work beside the requests.
        draining: what tells it of the drain.
    """

    hooks: HookRunner
    background: Background
    draining: Draining


class Worker:
    """The service of apps on the listeners that were passed; see `lifecycle.Service`.

    Args:
        engine: what serves.
        settings: how to serve.
        program: what a canary runs.
        generation: its number.
        manager: whom to tell what it wants.
        readiness: what it says of itself.
        inside: the part of the app's code in it.
        supply: from where connections come that other workers give away.
        passing: whether it serves only connections that were passed, and ends with them.
        within: called with the seconds within which the next step of the end has to be done, even if the
            event loop hangs, and what that is; None for no limit.
    """

    def __init__(
        self,
        engine: Engines,
        settings: Settings,
        program: Program,
        generation: int,
        manager: Manager,
        readiness: Readiness,
        inside: Inside,
        supply: socket.socket | None = None,
        *,
        passing: bool = False,
        within: Callable[[float | None, str], None] = lambda *_: None,
    ) -> None:
        self.name = overview.generation(generation, settings.version)
        self._generation = generation
        self._manager = manager
        self._born = time.monotonic()
        self._idle: Idle | None = None
        self._green = green_threads.Watch()
        self._recycling = Recycling(settings.max_requests, settings.max_worker_age, manager.recycle)
        self._engine = engine
        self._settings = settings
        self._program = program
        self._inside = inside
        inside.hooks.failed = manager.hook_failed
        self._drain = Drain(engine, inside.background, settings.drain_timeout)
        self._supply = supply
        self._passing = passing
        self._within = within
        self._beat: asyncio.TimerHandle | None = None
        self._readiness = readiness
        self._hurried = asyncio.Event()
        self._giver = Giver(manager.give, confirms=supply is not None)
        self._receiver: Receiver | None = None
        self._state = "starting the app"
        self._started = False
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

    def on_request(self) -> None:
        """Take notice of a request that begins."""
        self._green.look()
        self._manager.busy()
        self._recycling.requested(self._engine.requests)

    def on_change(self) -> None:
        """Take notice of a connection that has come or gone."""
        self._green.look()
        if self._idle is not None:
            self._idle.changed()
        if self._passing and not self._is_busy():
            self._manager.idle(True)

    async def start(self) -> None:
        """Start the app and accept."""
        if self._supply is not None:
            # Before the app starts: who gives it up must be heard whatever it has done by then.
            self._receiver = self._receive_from(self._supply)
        await self._start_app()
        if self._settings.handover:
            self._engine.give_to(self._giver)
        self._receive_kept()
        self._state = ""
        self._started = True
        self._readiness.word = "ready"
        self._recycling.begin()
        if self._settings.idle_exit:
            self._idle = Idle(self._settings.idle_exit, self._has_work, self._manager.idle)
        self._run_beside(hooks.READY, self._settings.start_timeout)

    def _receive_from(self, supply: socket.socket) -> Receiver:
        manager = self._manager
        receiver = Receiver(
            supply, self._engine.receive, self._giver, manager.ordered, self._exited, manager.orphaned
        )
        manager.take_orders()
        return receiver

    def _exited(self, pid: int) -> None:
        """Let the app know that another process which has loaded it has ended."""
        hooked = self._inside.hooks.run(hooks.WORKER_EXIT, self._settings.start_timeout, pid)

        def seen(task: asyncio.Task[None]) -> None:
            if not task.cancelled():
                self._manager.exit_seen(pid)

        self._inside.background.start(hooked).add_done_callback(seen)

    def _receive_kept(self) -> None:
        for connection in self._manager.kept():
            connection.setblocking(False)
            self._engine.receive(connection)

    async def _start_app(self) -> None:
        limit = self._settings.start_timeout
        try:
            await self._inside.hooks.require(hooks.START, limit, AppError)
            await self._engine.start()
            green_threads.refuse()
            standard_streams.fill()
        except SockactError as error:
            self._manager.failed(error)  # before the app's own end, which may not come
            await self._release()  # what was begun
            raise

    def _run_beside(self, point: str, limit: float | None) -> None:
        if self._inside.hooks.hooks(point):
            task = self._inside.background.start(self._inside.hooks.run(point, limit))
            task.add_done_callback(lambda _: self._manager.busy())  # a hook may touch signals

    def _is_busy(self) -> bool:
        return bool(self._engine.connections or self._engine.in_flight)

    def _has_work(self) -> bool:
        return self._is_busy() or bool(self._inside.background)

    async def check(self) -> None:
        """Ask the app, and let a canary start the new code, unless that is the manager's business."""
        if self._passing:
            raise ReloadRefused("this process ends with its connection: the next one has the new code")
        self._state = "trying the new code"
        try:
            await self._ask()
            if self._manager.replaces:
                return
            await canary.rehearse(self._program, self._settings, self._exited)
        finally:
            self._state = ""

    async def _ask(self) -> None:
        """Run the hooks that may refuse a reload, and say how that went."""
        try:
            await self._inside.hooks.require(hooks.RELOAD, self._settings.start_timeout, ReloadRefused)
        except ReloadRefused as error:
            logger.info("the app refuses the reload", exc_info=error.__cause__)
            self._manager.consent(str(error))
            raise
        self._manager.consent("")

    async def replace(self) -> bool:
        """Drain, so that the process can execute the new code, unless others do that."""
        if self._manager.replaces:
            return False
        self._giver.limit(keepable())
        await self._wait_drained()
        await self._release()
        return True

    async def stop(self, *, by_force: bool = False, followed: bool = False) -> None:
        """Drain, then let the app shut down."""
        if self._receiver is not None:
            self._hurried.clear()  # from now on it means this stop
            self._receiver.receive()  # the last that came, and whether anybody takes what we have
            if not by_force:
                await self._ask_why(self._receiver)
        if self._receiver is None or not self._receiver.retired:
            await self._delay(by_force=by_force)
            self._engine.last = True
        if self._receiver is not None:
            by_force = by_force or self._hurried.is_set()  # a supervisor says so once
        else:
            self._hurried.clear()  # what that meant before has come to pass
            self._giver.limit(await self._manager.room(followed=followed))
            by_force = by_force or self._hurried.is_set()
            if self._drain.under_way:  # that of a reload: the code that was to have these does not come
                self._receive_kept()
                self._engine.leave()
        await self._wait_drained(by_force=by_force)
        self._manager.stopped()  # before the app's own end, which may not come
        await self._release()

    async def _ask_why(self, receiver: Receiver) -> None:
        """Wait until a supervisor says whether this worker alone stops, or the service, if it says so.

        It has heard STOPPING=1 by now. Until it answers, all goes on as before.
        """
        if receiver.listened_to:
            told = [asyncio.ensure_future(event.wait()) for event in (receiver.told, self._hurried)]
            try:
                await asyncio.wait(told, timeout=TELLING, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in told:
                    each.cancel()

    async def _delay(self, *, by_force: bool) -> None:
        """Say that the service stops, and go on as before for a while: load balancers need it to notice."""
        self._readiness.word = "draining"
        if self._settings.drain_delay and not (by_force or self._drain.begun):
            self._state = "about to drain"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.drain_delay):
                    await self._hurried.wait()
        self._readiness.refusing = True

    async def _wait_drained(self, *, by_force: bool = False) -> None:
        if self._idle is not None:
            self._idle.close()
        self._bound_drain()
        if not self._drain.begun:
            self._inside.draining.begin()
            self._run_beside(hooks.DRAIN, self._settings.drain_timeout)
        try:
            await self._drain.wait(by_force=by_force)
        finally:
            if self._beat is not None:
                self._beat.cancel()
        if self._receiver is not None:
            self._receiver.close()

    def _bound_drain(self) -> None:
        """Bound the drain; one without a limit is bounded by the time that the event loop may hang."""
        if (limit := self._settings.drain_timeout) is not None:
            self._within(limit + LEEWAY, "its drain")
        elif (allowed := self._settings.worker_watchdog) is not None:
            self._within(allowed, "a turn of the event loop in its drain")
            self._beat = asyncio.get_running_loop().call_later(allowed / 4, self._bound_drain)

    async def _release(self) -> None:
        """Let the app end."""
        limit = self._settings.shutdown_timeout
        self._within(limit + CLEANUP, "its on_stop hooks")
        await self._inside.hooks.run_once(hooks.STOP, limit)
        self._within(limit + CLEANUP, "the app's shutdown")
        await self._engine.close()
        self._within(limit + CLEANUP, "its on_exit hooks")
        await self._inside.hooks.run_once(hooks.EXIT, limit)

    def hammer(self) -> None:
        """End the drain by force, or what precedes it."""
        self._hurried.set()
        self._drain.hammer()

    def signalled(self, number: signal.Signals) -> None:
        """Say that it has no meaning, but to a hook; its default would end or halt the process."""
        if not any(self._inside.hooks.hooks(point(number)) for point in (hooks.before, hooks.after)):
            logger.info("%s has no meaning here", number.name)

    def status(self) -> str:
        """Say what the worker is doing."""
        if self._drain.begun:
            text = self._drain.status()
        else:
            text = self._state or f"ready, {count(self._engine.in_flight, 'request')} in flight"
        return text + self._inside.hooks.complaint()

    def overview(self) -> dict[str, Any]:
        """Return this process as the only worker of its service."""
        phase = "draining" if self._drain.begun else "ready" if self._started else "starting"
        age = time.monotonic() - self._born
        version = self._settings.version
        row = overview.worker(1, self._generation, os.getpid(), phase, age, self.counters, version)
        return {"generation": self._generation, "requests": self._engine.requests, "workers": [row]}
