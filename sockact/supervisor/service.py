"""The supervisor: the service that serves nothing itself and keeps workers, as systemd would.

Each worker gets the listeners by LISTEN_FDS, and a notify socket of its own. What it says and how it
ends goes to the `Fleet`, which decides; what that decides is carried out here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sockact.errors import ReloadRefused, SettingsError, of_status
from sockact.handover.exchange import Exchange
from sockact.handover.store import Store
from sockact.handover.transfer import CONNECTION, EXITED, SUPPLY
from sockact.lifecycle.deadlines import KILL_MARGIN
from sockact.process.child import Child
from sockact.process.command import Program
from sockact.process.orphans import Orphans
from sockact.protocols import overview
from sockact.protocols.assignments import ENDING, HOOK, IDLE, ORDERS, RECYCLE, REQUEST
from sockact.protocols.counters import Counters, count
from sockact.protocols.environment import GENERATION, SUPERVISED
from sockact.protocols.notify import Notification, usec
from sockact.sockets.fds import Listener
from sockact.supervisor.consent import Consent
from sockact.supervisor.fleet import Fleet, Rules, Stage
from sockact.supervisor.fleet.backoff import YOUNG
from sockact.supervisor.fleet.orders import (
    Action,
    Failed,
    Note,
    Order,
    Reloaded,
    Spawn,
    Started,
    Stopped,
    Tell,
)
from sockact.supervisor.reports import Reports
from sockact.supervisor.worker_exits import Exits
from sockact.system.signals import REMEMBERED

RESIZING = {signal.SIGTTIN: 1, signal.SIGTTOU: -1}

logger = logging.getLogger(__package__)


class Watcher(Protocol):
    """Who wants to know what happens to a supervisor."""

    def on_busy(self) -> None:
        """Called when the status changes, or is about to."""

    def on_idle(self) -> None:
        """Called when no worker has had anything to do for as long as its `idle_exit`."""

    def on_status(self) -> None:
        """Called when the status has changed in a way that is to be shown now."""

    def request_reload(self) -> None:
        """Take notice that the app's own code wants a reload."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a worker is started.

    Attributes:
        program: what it runs; started anew each time, so that it may have changed.
        listeners: what it gets.
        most: its soft limit of open descriptors; None for that of the supervisor.
        ours: whether that is sockact itself, which unblocks its signals when its handlers stand.
        supplied: whether it knows what is passed under names of ours, as a supply.
        handover: whether connections move from one to another.
        whole_group: whether the other processes of its process group may speak for it.
        max_memory: bytes above which it is replaced; 0 for never.
    """

    program: Program
    listeners: Sequence[Listener]
    most: int | None = None
    ours: bool = True
    supplied: bool = True
    handover: bool = True
    whole_group: bool = False
    max_memory: int = 0


class Supervisor:
    """The service made of workers; see `lifecycle.Service`.

    Args:
        recipe: how they are started.
        rules: when.
        watcher: whom to tell what happens.
        store: where connections are kept for the next process.
        homeless: connections that wait from the beginning.
        leave: closes the listeners at a stop, where they are the service's own: workers, which have them
            too, still accept who waits, and close them.
    """

    def __init__(
        self,
        recipe: Recipe,
        rules: Rules,
        watcher: Watcher,
        store: Store,
        homeless: Sequence[int] = (),
        leave: Callable[[], None] | None = None,
    ) -> None:
        self._recipe = recipe
        self._watcher = watcher
        self._fleet = Fleet(rules)
        self._children: dict[int, Child] = {}
        self._leaving: list[Child] = []  # ended, but not all of its process group
        self._unborn: deque[Spawn] = deque()
        self._reports = Reports()
        self._store = store
        self._leave = leave
        self._exchange = Exchange(self._serving, homeless, self._share)
        self._consent = Consent(lambda worker: self._tell(worker, signal.SIGHUP))
        self._exits = Exits(
            lambda worker, pid: self._exchange.order(worker, f"{EXITED} {pid}"), self._current
        )
        self._hook_failed = ""
        self._exit_status = 0
        self._logged_reason: str | None = None
        self._outcome: asyncio.Future[Action] | None = None
        self._stopped = asyncio.Event()
        self._ending = False
        self._abort = False
        self._loop = asyncio.get_running_loop()
        self._orphans = Orphans(self._pids)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        """How the status begins: the generation that serves, or the first."""
        number = self._fleet.current or self._fleet.next or 1
        workers = (worker for worker in self._fleet.workers.values() if worker.generation == number)
        versions = {self._reports.of(worker.number).version for worker in workers}
        return overview.generation(number, ", ".join(sorted(versions - {""})))

    async def start(self) -> None:
        """Start the first generation; raises what its worker has failed of when it does not get ready."""
        outcome = await self._wait_for(self._fleet.start(self._loop.time()))
        if isinstance(outcome, Failed):
            self._exchange.room = 0
            self._ending = True
            await self._end()
            error = of_status(self._exit_status)(outcome.reason)
            # Another program than one of ours may have logged nothing.
            error.logged = self._recipe.supplied and outcome.reason == self._logged_reason
            raise error
        if not self._recipe.handover:
            self._exchange.refuse()
        self._store.clear()

    async def try_reload(self) -> None:
        """Ask the workers that want to be asked; raises ReloadRefused when one is against it.

        The trial is left to the new generation: it does not serve alone until it has proved itself.
        """
        # Twice: a worker's limit for hooks before the signal, and for those that answer.
        await self._consent.obtain(self._serving(), 2 * self._fleet.rules.start_timeout + KILL_MARGIN)

    async def take_over(self) -> bool:
        """Let a new generation take over; raises ReloadRefused when it fails."""
        before, self._hook_failed = self._hook_failed, ""
        outcome = await self._wait_for(self._fleet.reload(self._loop.time()))
        if isinstance(outcome, Failed):
            self._hook_failed = self._hook_failed or before
            raise ReloadRefused(outcome.reason)
        return False

    async def stop(self, *, abort: bool = False, followed: bool = False) -> None:
        """Let all workers drain, and wait until the last one has ended."""
        self._abort = abort
        self._ending = True  # now: who stops while systemd is asked has been told so by others
        if self._recipe.handover:
            with self._orphans.paused():  # systemd is asked by a child
                self._exchange.room = await self._store.room(followed=followed)
        else:
            self._exchange.room = 0
        await self._end(abort=self._abort)
        self._store.put(self._exchange.homeless)

    async def _end(self, *, abort: bool = False) -> None:
        if self._leave is not None:
            self._leave()
        if not self._exchange.room:
            self._exchange.end()
        self._do(self._fleet.stop(self._loop.time()))
        if abort:
            self.abort()
        await self._stopped.wait()
        for child in self._leaving:
            await child.gone.wait()  # systemd kills what is left when this process has ended

    def abort(self) -> None:
        """Abort what is left of every drain under way."""
        self._abort = True  # for a stop that still asks for room
        self._do(self._fleet.hammer())

    def on_signal(self, number: signal.Signals) -> None:
        """Take one worker more or less; pass everything else on to the workers that can handle it."""
        if change := RESIZING.get(number):
            self._do(self._fleet.resize(change, self._loop.time()))
            return
        for worker in self._fleet.workers.values():
            # Others may have no handler yet, and the defaults end or halt them (R16).
            if self._recipe.ours or worker.stage is not Stage.STARTING:
                self._send(worker.number, number)

    def kill(self) -> None:
        """End all workers without a further word."""
        for child in (*self._children.values(), *self._leaving):
            child.kill()
        self._children.clear()
        self._unborn.clear()

    def status(self) -> str:
        """Say how many workers are ready, and how many drain."""
        workers = self._fleet.workers.values()
        serving = self._fleet.current or self._fleet.next
        ready = sum(worker.stage is Stage.READY and worker.generation == serving for worker in workers)
        text = f"{count(ready, 'worker')} ready, {self.counters.in_flight} in flight"
        draining = sum(worker.stage is Stage.DRAINING for worker in workers)
        return text + (f", {draining} draining" if draining else "") + self._hook_failed

    @property
    def counters(self) -> Counters:
        """What all workers are doing, in numbers."""
        return self._reports.counters

    def options(self) -> str | None:
        """Return the settings that the newest code would have a supervisor go by; None if that is open."""
        newest = (each for each in self._fleet.workers.values() if each.generation == self._fleet.current)
        said = [self._reports.of(worker.number).options for worker in newest]
        return next((options for options in said if options is not None), None)

    def overview(self) -> dict[str, Any]:
        """Return the workers, those that drain included; see `sockact.protocols.overview`."""
        now = self._loop.time()
        rows = [
            overview.worker(
                worker.number,
                worker.generation,
                self._children[worker.number].pid,
                worker.stage.value,
                now - worker.born,
                self._reports.of(worker.number).counters,
                self._reports.of(worker.number).version,
            )
            for worker in self._fleet.workers.values()
            if worker.number in self._children
        ]
        return {"generation": self._fleet.current, "requests": self._reports.requests, "workers": rows}

    def _pids(self) -> set[int]:
        """Return the children that are reaped where they are known."""
        return {child.pid for child in (*self._children.values(), *self._leaving)}

    async def _wait_for(self, actions: list[Action]) -> Action:
        self._outcome = self._loop.create_future()
        self._do(actions)
        return await self._outcome

    def _do(self, actions: list[Action]) -> None:
        """Carry out what the fleet decided, and be there when its next deadline comes."""
        for action in actions:
            match action:
                case Spawn():
                    self._spawn_soon(action)
                case Tell(worker, order):
                    self._order(worker, order)
                case Started() | Reloaded() | Failed():
                    if self._outcome is not None and not self._outcome.done():
                        self._outcome.set_result(action)
                case Stopped():
                    self._stopped.set()
                case Note(text):
                    logger.warning("%s", text)
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._fleet.deadline()
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._tick)

    def _order(self, number: int, order: Order) -> None:
        if not self._ending:
            self._exchange.retire(number)
        self._forget_unborn(number)
        if order is Order.KILL:
            ends = self._fleet.workers[number].ends
            missed = "it does not end, though it has said so" if ends else "its time is up"
            logger.warning("worker=%d is killed: %s", number, missed)
        self._tell(number, signal.Signals[order.value])

    def _tell(self, worker: int, number: signal.Signals) -> None:
        """Let a worker do what a signal means: by an order, which reaches it whatever its app has done."""
        if number in (signal.SIGABRT, signal.SIGKILL) or not self._exchange.order(worker, number.name):
            self._send(worker, number)

    def _send(self, worker: int, number: signal.Signals) -> None:
        child = self._children.get(worker)
        if child is None:
            return  # it could not be started, and its end is about to be reported
        with contextlib.suppress(ProcessLookupError):  # it has ended, and is not reaped yet
            child.send(number)

    def _tick(self) -> None:
        self._do(self._fleet.tick(self._loop.time()))

    def _spawn_soon(self, spawn: Spawn) -> None:
        self._unborn.append(spawn)
        if len(self._unborn) == 1:
            self._loop.call_soon(self._spawn_next)

    def _spawn_next(self) -> None:
        """Start one worker, and the next one when what happened meanwhile is heard; SIGTERM, perhaps."""
        if self._ending or not self._unborn:
            return
        try:
            self._spawn(self._unborn.popleft())
        except Exception as error:
            if self._outcome is None or self._outcome.done():
                raise
            self._outcome.set_exception(error)  # to who waits for all of them
        finally:
            if self._unborn:
                self._loop.call_soon(self._spawn_next)

    def _forget_unborn(self, worker: int) -> None:
        """Do not start a worker that is to go already; it ends like one that was started."""
        if any(spawn.worker == worker for spawn in self._unborn):
            self._unborn = deque(spawn for spawn in self._unborn if spawn.worker != worker)
            self._loop.call_soon(self._never_born, worker)

    def _never_born(self, number: int) -> None:
        self._do(self._fleet.exited(number, "was not started", self._loop.time()))

    def _spawn(self, spawn: Spawn) -> None:
        number = spawn.worker
        recipe = self._recipe
        environ = {GENERATION: str(spawn.generation), SUPERVISED: "1"}
        if self._fleet.rules.watchdog is not None:
            environ["WATCHDOG_USEC"] = str(round(self._fleet.rules.watchdog * 1_000_000))
        supply: list[Listener] = []
        try:
            supply = self._supply(number)
            child = self._children[number] = Child(
                recipe.program,
                [*recipe.listeners, *supply],
                environ,
                heard=lambda notification: self._heard(number, notification),
                ended=lambda how: self._ended(number, how),
                most=recipe.most,
                # Their defaults would end a Python that still imports. Others may never unblock them.
                blocked=REMEMBERED if recipe.ours else (),
                whole_group=recipe.whole_group,
                stores=bool(supply),
                ours=recipe.supplied,
                # Another program may become another user before it says that it is ready.
                private=recipe.ours or os.geteuid() != 0,
            )
        except (OSError, SettingsError) as error:
            self._exchange.forget(number)
            reason = f"no process can be started: {error.strerror if isinstance(error, OSError) else error}"
            self._loop.call_soon(lambda: self._do(self._fleet.exited(number, reason, self._loop.time())))
            return
        finally:
            for listener in supply:
                listener.close()
        self._exits.started(child.pid)
        logger.info("gen=%d worker=%d pid=%d starts", spawn.generation, number, child.pid)

    def _supply(self, number: int) -> list[Listener]:
        """Return what a worker receives connections from, if it is one that knows what to do with it."""
        if not self._recipe.supplied:
            return []
        return [Listener.of(self._exchange.supply(number).theirs, SUPPLY)]

    def _serving(self) -> list[int]:
        """Return who shall have connections, if they move."""
        return self._current() if self._recipe.handover else []

    def _current(self) -> list[int]:
        """Return the ready workers of the newest generation that has taken over."""
        fleet = self._fleet
        return [
            worker.number
            for worker in fleet.workers.values()
            if worker.serves and worker.generation == fleet.current and not worker.leaving
            if not self._reports.of(worker.number).stopping
        ]

    def _share(self, number: int) -> float:
        """Return how many connections a worker can have had, at most."""
        try:
            return resource.prlimit(self._children[number].pid, resource.RLIMIT_NOFILE)[0]
        except (KeyError, OSError):
            return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def _heard(self, number: int, notification: Notification) -> None:
        try:
            self._obey(number, notification.assignments)
        finally:
            self._take(number, notification)

    def _take(self, number: int, notification: Notification) -> None:
        """Take the connections that a worker gives away; this is no store for what is not ours."""
        if notification.assignments.get("FDNAME") == CONNECTION:
            orphaned = self._children[number].has_ended()
            self._exchange.take(notification.stored, number, orphaned=orphaned)
        else:
            notification.close()

    def _obey(self, number: int, said: Mapping[str, str]) -> None:
        now = self._loop.time()
        if (seconds := usec(said.get("EXTEND_TIMEOUT_USEC"))) is not None:
            self._fleet.extended(number, seconds, now)
        if said.get("WATCHDOG") == "1":
            self._fleet.pinged(number, now)
        if ORDERS in said:
            self._take_orders(number)
        self._heard_of_phase(number, said, now)
        if self._reports.hear(number, said):
            self._watcher.on_busy()
        if said.get("ERRNO", "0") != "0":
            self._do(self._fleet.failing(number, said.get("STATUS") or f"ERRNO={said['ERRNO']}", now))
        if ENDING in said:
            self._do(self._fleet.ending(number, now))
        if IDLE in said and not self._unborn and all(map(self._is_idle, self._children)):
            self._watcher.on_idle()
        if reason := said.get(RECYCLE) or self._overweight(number):
            self._do(self._fleet.recycle(number, reason, now))
        self._heard_of_hooks(number, said)

    def _heard_of_phase(self, number: int, said: Mapping[str, str], now: float) -> None:
        if said.get("READY") == "1":
            self._do(self._fleet.ready(number, now))
            self._exchange.pass_on()
            self._exits.pass_on()
        if said.get("STOPPING") == "1":
            self._stops(number, now)

    def _take_orders(self, number: int) -> None:
        """Give a worker orders from now on; an app at its import may have kept a signal from it before."""
        worker = self._fleet.workers[number]
        if not self._exchange.take_orders(number):
            return  # it takes them already
        if worker.drains:
            self._tell(number, signal.SIGTERM)
        if worker.hammered:
            self._tell(number, signal.SIGQUIT)

    def _stops(self, number: int, now: float) -> None:
        """Replace a worker that stops by itself; in a stop of the service others may have told it."""
        if not (self._ending or self._fleet.workers[number].drains):
            self._exchange.retire(number)
            self._do(self._fleet.stopping(number, now))

    def _is_idle(self, worker: int) -> bool:
        return self._reports.of(worker).idle

    def _heard_of_hooks(self, number: int, said: Mapping[str, str]) -> None:
        self._consent.heard(number, said)
        self._exits.heard(number, said)
        if HOOK in said:
            self._hook_failed = f"; worker={number}: {said[HOOK]}"
            self._watcher.on_status()  # now: it may be the last that happens here
        if REQUEST in said:
            self._watcher.request_reload()

    def _overweight(self, number: int) -> str:
        """Say how much memory a worker has, if that is too much; asked whenever it speaks.

        Not of a young one: where a new one has too much already, its replacement would have so, too.
        """
        limit = self._recipe.max_memory
        if not limit or self._loop.time() < self._fleet.workers[number].born + YOUNG:
            return ""
        if (resident := overview.resident(self._children[number].pid) or 0) <= limit:
            return ""
        return f"{resident / 1024**2:.0f} MiB in memory"

    def _ended(self, number: int, how: str) -> None:
        child = self._children.pop(number)
        self._leaving = [each for each in (*self._leaving, child) if not each.gone.is_set()]
        self._exit_status = self._exit_status or child.exit_status
        self._logged_reason = child.reason or self._logged_reason
        self._consent.forget(number)
        self._exchange.forget(number)
        self._exits.forget(number)
        self._reports.forget(number)
        self._watcher.on_busy()  # the status counts it
        self._do(self._fleet.exited(number, child.reason or how, self._loop.time()))
        self._exits.ended(child.pid)
