"""The worker: the service that serves an app, and does not know who its manager is.

Without a supervisor, a reload replaces the code in place: a trial starts it, the worker drains, and the
process executes its own command again, with the same PID and the same sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from sockact import hooks
from sockact.config.settings import Settings
from sockact.engines.group import Engines
from sockact.errors import ReloadRefused, SockactError
from sockact.handover.transfer import HandoverReceiver, HandoverSender, keepable
from sockact.lifecycle.deadlines import DRAIN_LEEWAY
from sockact.lifecycle.drain import Drain
from sockact.lifecycle.tasks import cancel
from sockact.process import green_threads
from sockact.process.command import Program
from sockact.protocols import overview
from sockact.protocols.counters import Counters, count
from sockact.protocols.statistics_page import WorkerStatistics
from sockact.protocols.worker_messages import EXITED, PAUSE, SHED
from sockact.system import loop_tasks
from sockact.worker import trial
from sockact.worker.app_lifecycle import AppContext, AppLifecycle
from sockact.worker.idle import Idle
from sockact.worker.loop_lag import LoopLag
from sockact.worker.manager import Links, SupervisorLink
from sockact.worker.pause import WorkerPause
from sockact.worker.recycling import Recycling
from sockact.worker.state import WorkerState

RETIRE_TIMEOUT = 1.0
"""Seconds for a supervisor to say why a worker stops that was not told by it to stop."""

logger = logging.getLogger(__package__)


class Host(NamedTuple):
    """The process that a worker runs in.

    Attributes:
        program: its own program, which a trial runs.
        generation: the number of its code.
        single: whether it serves only connections that were passed to it, and ends with them.
        within: called with the seconds within which the next step of the end has to be done, even if the
            event loop hangs, and with the name of that step; None for no limit.
    """

    program: Program
    generation: int
    single: bool
    within: Callable[[float | None, str], None]


class Worker:
    """Serves apps on the listeners that were passed; see `lifecycle.service.Service`.

    Args:
        engine: serves them.
        settings: the settings.
        host: the process.
        links: the links to its manager.
        context: the part of the app's code.

    Attributes:
        pausing: its pause.
    """

    def __init__(
        self, engine: Engines, settings: Settings, host: Host, links: Links, context: AppContext
    ) -> None:
        self.name = overview.generation(host.generation, settings.version)
        self._engine = engine
        self._settings = settings
        self._host = host
        self._manager = links.manager
        self._supervisor = links.supervisor
        self._load = None if links.supervisor is None else links.supervisor.load
        self._kept = links.kept
        self._context = context
        self._app = AppLifecycle(engine, settings, context, host.within, links.manager.on_busy)
        self._state = WorkerState.STARTING
        self._born = time.monotonic()
        self._idle: Idle | None = None
        self._green = green_threads.Watch()
        self._recycling = Recycling(settings.max_requests, settings.max_worker_age, links.manager.recycle)
        self._drain = Drain(engine, context.background, settings.drain_timeout)
        report = None if links.supervisor is None else links.supervisor.send_paused
        self._pause = WorkerPause(engine, report)
        self.pausing = self._pause.pausing
        self._beat: asyncio.TimerHandle | None = None
        self._abort_asked = asyncio.Event()
        confirms = links.supervisor is not None and links.supervisor.supply is not None
        self._sender = HandoverSender(links.manager.give, confirms=confirms)
        self._receiver: HandoverReceiver | None = None
        statistics = links.statistics or WorkerStatistics()
        self._lag = LoopLag(statistics)
        engine.count_in(statistics)
        engine.watch(self)

    @property
    def aborted(self) -> bool:
        """True if the drain has aborted something."""
        return self._drain.aborted

    @property
    def counters(self) -> Counters:
        """The work of this worker, in numbers."""
        engine = self._engine
        return Counters(engine.requests, engine.in_flight, engine.connections)

    def on_request(self) -> None:
        """Called when a request begins."""
        self._manager.on_busy()
        self._lag.requested()
        if self._recycling.counts:
            self._recycling.requested(self._engine.requests)

    def on_change(self) -> None:
        """Called when a connection has come or gone."""
        self._green.look()
        self._pause.look()
        if self._load is not None:
            self._load.note(self._engine.connections)
        if self._idle is not None:
            self._idle.changed()
        if self._host.single and not self._is_busy():
            self._manager.on_idle(True)

    async def start(self) -> None:
        """Start the app, and accept connections."""
        if self._supervisor is not None and self._supervisor.supply is not None:
            # Before the app starts: an order to stop must arrive whatever the app has done by then.
            self._receiver = self._receive_from(self._supervisor, self._supervisor.supply)
        if self._load is not None:
            self._engine.share_load(self._load)
        try:
            overtaken = await self._start_app()
        except SockactError as error:
            self._manager.on_failure(error)  # before the app's own end, which may not come
            await self._app.end()  # as far as it was started
            raise
        if self._settings.handover:
            self._engine.give_to(self._sender)
            self._sender.lasting = True
        self._receive_kept()
        if overtaken:
            raise asyncio.CancelledError
        self._state = WorkerState.READY
        self._context.readiness.word = "ready"
        self._recycling.begin()
        if self._settings.idle_exit:
            self._idle = Idle(self._settings.idle_exit, self._has_work, self._manager.on_idle)
        self._app.on_ready()

    async def _start_app(self) -> bool:
        """Start the app; return whether a stop has overtaken that.

        A stop cancels it, unless connections wait here that nobody else will serve.
        """
        starting = loop_tasks.begin(self._app.start())
        try:
            await asyncio.wait([starting])
        except asyncio.CancelledError:
            if self._kept is None or not await self._kept.are_left_to_this():
                await cancel({starting})
                raise
            self._state = WorkerState.CALLED_OFF
            await self._finish(starting)
            return True
        starting.result()
        return False

    async def _finish(self, starting: asyncio.Task[None]) -> None:
        """Wait until the app has started, the stop aborts, or its drain timeout is over."""
        abort = loop_tasks.begin(self._abort_asked.wait())
        limit = self._settings.drain_timeout
        await asyncio.wait([starting, abort], timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if starting.done() and not starting.exception():
            await cancel([abort])
            return
        await cancel([abort, starting])
        logger.warning("the app has not started: connections that wait for it are lost in this stop")
        raise asyncio.CancelledError

    def _receive_from(self, supervisor: SupervisorLink, supply: socket.socket) -> HandoverReceiver:
        receiver = HandoverReceiver(
            supply,
            self._receive,
            self._sender,
            supervisor.on_order,
            {EXITED: self._on_process_exit, SHED: self._shed, PAUSE: self._pause.obey},
            supervisor.on_supervisor_exited,
        )
        supervisor.accept_orders()
        return receiver

    def _receive(self, connection: socket.socket) -> None:
        self._engine.receive(connection)
        if self._load is not None:
            self._load.receive(self._engine.connections)

    def _shed(self, count: int) -> None:
        """Hand over connections to less loaded workers, unless all of them are handed over anyway."""
        if self._state is WorkerState.READY and self._sender.room > 0 and not self.pausing.paused:
            self._engine.shed(count)

    def _on_process_exit(self, pid: int) -> None:
        self._app.on_process_exit(pid, self._send_exit_seen)

    def _send_exit_seen(self, pid: int) -> None:
        if self._supervisor is not None:
            self._supervisor.send_exit_seen(pid)

    def _receive_kept(self) -> None:
        for connection in self._kept.take() if self._kept is not None else ():
            connection.setblocking(False)
            self._engine.receive(connection)

    def _is_busy(self) -> bool:
        return bool(self._engine.connections or self._engine.in_flight)

    def _has_work(self) -> bool:
        return self._is_busy() or self.pausing.paused or bool(self._context.background)

    async def try_reload(self) -> None:
        """Ask the app's hooks, and run a trial of the new code, unless a supervisor starts that."""
        if self._host.single:
            raise ReloadRefused("this process ends with its connection: the next one has the new code")
        self.pausing.refuse_reload()
        self._state = WorkerState.TRYING
        try:
            await self._ask_hooks()
            if self._supervisor is None:
                await trial.run_trial(self._host.program, self._settings, self._on_process_exit)
        finally:
            self._state = WorkerState.READY

    async def _ask_hooks(self) -> None:
        """Run the hooks that may refuse a reload, and tell a supervisor their answer."""
        try:
            await self._app.ask_reload()
        except ReloadRefused as error:
            self._send_consent(str(error))
            raise
        self._send_consent("")

    def _send_consent(self, refusal: str) -> None:
        if self._supervisor is not None:
            self._supervisor.send_consent(refusal)

    async def take_over(self) -> bool:
        """Drain, so that the process can execute the new code, unless a supervisor starts that."""
        if self._supervisor is not None:
            return False
        self._sender.limit(keepable())
        await self._wait_drained()
        await self._app.end()
        return True

    async def stop(self, *, abort: bool = False, followed: bool = False) -> None:
        """Drain, then end the app."""
        self.pausing.close("it stops")  # the drain begins with what was held
        if self._receiver is None:
            abort = await self._prepare_stop_alone(abort=abort, followed=followed)
        else:
            abort = await self._prepare_stop_supervised(self._receiver, abort=abort)
        with contextlib.nullcontext() if self._kept is None else self._kept.watched(self.on_called_off):
            await self._wait_drained(abort=abort)
        self._kept = None  # from now on they cannot be served here
        self._manager.on_drained()  # before the app's own end, which may not come
        await self._app.end()

    async def _prepare_stop_supervised(self, receiver: HandoverReceiver, *, abort: bool) -> bool:
        """Go on until the drain may begin; return whether it is to abort."""
        self._abort_asked.clear()  # from now on it is about this stop
        receiver.receive()  # the last connections, and whether anybody takes those of this worker
        if not abort:
            await self._ask_why(receiver)
        if not receiver.retired:
            await self._delay(abort=abort)
            self._engine.last = True
        return abort or self._abort_asked.is_set()  # a supervisor orders it once

    async def _prepare_stop_alone(self, *, abort: bool, followed: bool) -> bool:
        """Go on until the drain may begin; return whether it is to abort."""
        await self._delay(abort=abort)
        self._engine.last = True
        self._abort_asked.clear()  # it has ended the delay
        room = 0 if self._kept is None else await self._kept.room(followed=followed)
        self._sender.limit(room)
        if self._drain.under_way:  # of a reload: the code that was to have these does not come
            self._receive_kept()
            self._engine.leave()
        return abort or self._abort_asked.is_set()

    def on_called_off(self) -> None:
        """Called when no process follows this stop after all: serves what was kept for it."""
        if self._kept is not None and self._kept.call_off() and self._engine.last:
            logger.info("a stop takes the place of the restart: connections are closed in order")
            self._sender.limit(0)
            self._receive_kept()

    async def _ask_why(self, receiver: HandoverReceiver) -> None:
        """Wait until a supervisor says whether this worker alone stops or the service does.

        It has read STOPPING=1 by now. Until it answers, all goes on as before.
        """
        if receiver.listened_to:
            told = [loop_tasks.begin(event.wait()) for event in (receiver.told, self._abort_asked)]
            try:
                await asyncio.wait(told, timeout=RETIRE_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in told:
                    each.cancel()

    async def _delay(self, *, abort: bool) -> None:
        """Announce the stop, and go on for `drain_delay`, in which load balancers notice it."""
        self._context.readiness.word = "draining"
        if self._settings.drain_delay and not (abort or self._drain.begun):
            started = self._state is not WorkerState.STARTING
            self._state = WorkerState.DELAYING if started else WorkerState.CALLED_OFF
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.drain_delay):
                    await self._abort_asked.wait()
        self._context.readiness.refusing = True

    async def _wait_drained(self, *, abort: bool = False) -> None:
        if self._idle is not None:
            self._idle.close()
        self._lag.close()
        self._sender.lasting = False
        self._bound_drain()
        if not self._drain.begun:
            self._app.on_drain()
        self._state = WorkerState.DRAINING
        try:
            await self._drain_all(abort=abort)
        finally:
            if self._beat is not None:
                self._beat.cancel()
        if self._receiver is not None:
            self._receiver.close()

    async def _drain_all(self, *, abort: bool) -> None:
        """Drain, and drain again if at the last moment something has come, or has come back."""
        await self._drain.wait(abort=abort)
        while self._receiver is not None:
            self._receiver.receive()
            if self._drain.aborted or not self._is_busy():
                break
            await self._drain.wait()
        if self._kept is not None and self._engine.last:
            if await self._kept.are_in_vain():
                self.on_called_off()
            if self._is_busy():
                await self._drain.wait()

    def _bound_drain(self) -> None:
        """Bound the drain; without a drain timeout, bound the time for which the event loop may hang."""
        if (limit := self._settings.drain_timeout) is not None:
            self._host.within(limit + DRAIN_LEEWAY, "its drain")
        elif (allowed := self._settings.worker_watchdog) is not None:
            self._host.within(allowed, "a turn of the event loop in its drain")
            self._beat = asyncio.get_running_loop().call_later(allowed / 4, self._bound_drain)

    def abort(self) -> None:
        """End the drain, or what precedes it, and abort what is left."""
        self._abort_asked.set()
        self._drain.abort()

    def on_signal(self, number: signal.Signals) -> None:
        """Called when a signal has come whose default would end or halt the process: only hooks use it."""
        if not any(self._context.hooks.hooks(point(number)) for point in (hooks.before, hooks.after)):
            logger.info("%s has no meaning here", number.name)

    def status(self) -> str:
        """Return the present activity in a few words."""
        if self._state is WorkerState.DRAINING:
            text = self._drain.status()
        else:
            text = self._state.text or f"ready, {count(self._engine.in_flight, 'request')} in flight"
        return text + self._context.hooks.complaint()

    def overview(self) -> dict[str, Any]:
        """Return this process as the only worker of its service."""
        number, version = self._host.generation, self._settings.version
        age = time.monotonic() - self._born
        row = overview.worker(1, number, os.getpid(), self._state.phase, age, self.counters, version)
        return {"generation": number, "requests": self._engine.requests, "workers": [row]}
