"""The supervisor: the service that serves nothing itself and keeps workers, as systemd would.

Each worker gets the listeners by LISTEN_FDS, and a notify socket of its own. Its messages and its end go to
the `Fleet`, which decides; the fleet's decisions are carried out here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from sockact.config.records import RecordKind, about
from sockact.errors import ReloadRefused, error_of_status
from sockact.lifecycle.deadlines import KILL_MARGIN
from sockact.process.child import Child
from sockact.process.left_over import LeftOver
from sockact.process.orphans import Orphans
from sockact.protocols import overview
from sockact.protocols.counters import Counters
from sockact.protocols.notify import Notification
from sockact.protocols.service_events import Cause
from sockact.protocols.worker_messages import WorkerMessage
from sockact.supervisor.canary import Canary
from sockact.supervisor.children import ChildEvents, WorkerSpec
from sockact.supervisor.consent import Consent
from sockact.supervisor.fleet import STOPPED, Fleet, Rules, Stage
from sockact.supervisor.fleet.backoff import YOUNG
from sockact.supervisor.fleet.orders import (
    Action,
    Compare,
    Failed,
    Note,
    Reloaded,
    Spawn,
    Started,
    Stopped,
    Tell,
    Weight,
)
from sockact.supervisor.fleet_clock import FleetClock
from sockact.supervisor.fleet_view import FleetView
from sockact.supervisor.hook_failures import HookFailures
from sockact.supervisor.links import WorkerLinks
from sockact.supervisor.pause import FleetPause
from sockact.supervisor.relief import PressureRelief
from sockact.supervisor.reports import Reports
from sockact.supervisor.succession import Succession
from sockact.supervisor.worker_ends import WorkerEnds
from sockact.supervisor.worker_exits import Exits

RESIZING = {signal.SIGTTIN: 1, signal.SIGTTOU: -1}

ALL_TOLD = 0.1
"""Seconds in which all processes of the service may be told to stop, by `systemctl kill` for example: a
worker that is told first must not hand its connections to a supervisor that has no use for them."""

logger = logging.getLogger(__package__)


class SupervisorObserver(Protocol):
    """The observer of a supervisor: the conductor, which leads it."""

    def on_busy(self) -> None:
        """Called when the status changes, or is about to."""

    def on_idle(self) -> None:
        """Called when no worker has had anything to do for as long as its `idle_exit`."""

    def on_status(self) -> None:
        """Called when the status has changed in a way that is to be shown at once."""

    def request_reload(self) -> None:
        """Called when the app's own code asks for a reload."""


class Supervisor:
    """The service made of workers; see `lifecycle.Service`.

    Args:
        spec: the specification of a worker process.
        rules: the numbers by which the fleet decides.
        observer: the observer of this supervisor.
        succession: keeps workers and connections for the next supervisor.
        unassigned: connections that wait from the beginning.
        leave: closes the listeners at a stop, where they are the service's own: the workers, which have
            them too, still accept the connections that wait, and close them.

    Attributes:
        left: the exit status with which this process is to end at once, since its workers go on; None if it
            has not left them.
        pausing: its pause.
        draining_since: the time at which a stop has told the workers to drain; minus infinity if they do
            not wait for load balancers; None before that.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        rules: Rules,
        observer: SupervisorObserver,
        succession: Succession,
        unassigned: Sequence[int] = (),
        leave: Callable[[], None] = lambda: None,
    ) -> None:
        self._spec = spec
        self._observer = observer
        self._fleet = Fleet(rules)
        self._clock = FleetClock(self._fleet, self._tick)
        self._reports = Reports()
        self._links = links = WorkerLinks(
            spec, self._fleet, self._reports, succession, unassigned, self._events()
        )
        self._children, self._exchange = links.children, links.exchange
        self._view = FleetView(self._fleet, self._children, self._reports)
        self._canary = Canary(self._fleet, links.serving, links.canaries, links.ledger.of)
        self._pause = FleetPause(self._fleet, links, self._clock.now)
        self.pausing = self._pause.pausing
        self._succession = succession
        self._leave = leave
        self._ends = WorkerEnds(links.ledger, self._clock.now)
        self._relief = PressureRelief(links.trim, self._sizes, self._recycle_for_memory)
        self._consent = Consent(lambda worker: links.tell(worker, signal.SIGHUP))
        self._exits = Exits(links.tell_exit, links.serving)
        self._hook_failures = HookFailures(observer.on_status, observer.on_busy)
        self.left: int | None = None
        self.draining_since: float | None = None
        self._exit_status = 0
        self._stopping: set[int] = set()
        self._logged_reason: str | None = None
        self._outcome: asyncio.Future[Action] | None = None
        self._stopped = asyncio.Event()
        self._aborted = False
        self._called_off = False
        self._loop = asyncio.get_running_loop()
        self._orphans = Orphans(self._children.pids, subreaper=spec.preload)

    def _events(self) -> ChildEvents:
        return ChildEvents(
            on_start=self._started,
            on_failed_start=self._not_started,
            on_notification=self._heard,
            on_end=self._ended,
            on_fault=self._failed,
            on_template_extension=self._template_extended,
            on_template_end=self._template_ended,
            on_all_known=self._reap_orphans,
        )

    # The verbs of a service.

    def adopt(self, workers: Sequence[LeftOver]) -> None:
        """Take over the workers of the supervisor before: they serve until the first generation does."""
        self._fleet.adopt(((each.number, each.generation) for each in workers), self._clock.now())
        for each in workers:
            self._links.adopt(each)
            pid = each.handle.pid
            logger.info("gen=%d worker=%d pid=%d is left over", each.generation, each.number, pid)

    async def start(self) -> None:
        """Start the first generation; raises the error of its worker when it does not get ready."""
        outcome = await self._wait_for(self._fleet.start(self._clock.now()))
        if isinstance(outcome, Failed):
            await self._give_up()
            error = error_of_status(self._exit_status)(outcome.reason)
            # Another program than one of ours may have logged nothing.
            error.logged = self._spec.supplied and outcome.reason == self._logged_reason
            raise error
        if not self._spec.handover:
            self._exchange.refuse()

    async def _give_up(self) -> None:
        """End after a failed start; left-over workers go on, for the next supervisor."""
        spared = [worker.number for worker in self._fleet.workers.values() if worker.left_over]
        self._links.end()
        self._leave()
        self._exchange.leave()  # no worker has started that could serve them
        if not spared:
            self._exchange.room = 0
        self._exchange.end(spared, able=self._links.have_served())
        self._do(self._fleet.give_up(self._clock.now()))
        await self._stopped.wait()
        await self._children.wait_gone()
        self._links.let_go()

    async def try_reload(self) -> None:
        """Ask the workers that have asked for it; raises ReloadRefused when one is against the reload.

        The new code itself is tried by `take_over`: it does not serve alone until it has proved itself.
        """
        self.pausing.refuse_reload()
        # Twice: a worker's limit for hooks before the signal, and for those that answer.
        await self._consent.obtain(
            self._links.receivers(), 2 * self._fleet.rules.start_timeout + KILL_MARGIN
        )

    async def take_over(self) -> bool:
        """Replace the generation by a new one; raises ReloadRefused when that fails."""
        before, self._hook_failures.text = self._hook_failures.text, ""
        self._canary.remark = ""
        outcome = await self._wait_for(self._fleet.reload(self._clock.now()))
        if isinstance(outcome, Failed):
            self._hook_failures.text = self._hook_failures.text or before
            raise ReloadRefused(outcome.reason)
        return False

    async def stop(self, *, abort: bool = False, followed: bool = False) -> None:
        """Drain all workers, and wait until all have ended; or leave them to the next supervisor."""
        self.pausing.close("the service stops")  # each worker goes on when it drains
        if self._leaves_workers(followed=followed) and not abort:
            self._leave_workers()
            return
        self._aborted = abort
        self._links.end()  # now: workers that stop while systemd is asked were told so by others
        room = 0
        if self._spec.handover:
            with self._orphans.paused():  # systemd is asked by a child
                room = await self._succession.store.room(followed=followed)
        if self._called_off:
            room = 0
        self._keep_connections(room)
        with self._watched() if room else contextlib.nullcontext():
            await self._end(abort=self._aborted)
        self._exchange.leave()
        self._exchange.refuse()

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """In the body ask systemd, by children, whether a process follows still."""
        with self._orphans.paused(), self._succession.store.watched(self.on_called_off):
            yield

    def on_called_off(self) -> None:
        """Called when no process follows this stop after all: workers serve what was kept for it."""
        self._called_off = True
        if self._exchange.keeps:
            logger.info("a stop takes the place of the restart: connections are closed in order")
            self._exchange.call_off(self._links.have_served)

    def _keep_connections(self, room: int) -> None:
        """Keep as many connections for the next process; none if there is no room."""
        if room:
            self._exchange.keep(room)
        else:
            self._exchange.room = 0

    def _leaves_workers(self, *, followed: bool) -> bool:
        """Return whether the workers are to go on when this process has ended.

        In a start systemd does not tell a stop from a restart: it runs ExecStop= only for what has started.
        If it is a stop, it closes the store, and left-over workers drain without this process.
        """
        if not self._fleet.current:
            return any(worker.left_over for worker in self._fleet.workers.values())
        return followed and self._succession.still_possible()

    def _leave_workers(self) -> None:
        logger.info("the workers go on: the next supervisor takes them over")
        # For ExecStopPost=, which leaves them alone, too: a stop may have overtaken the restart.
        self.left = os.EX_TEMPFAIL
        self._links.end()
        self._do(self._fleet.leave(self._clock.now()))
        self._links.let_go()

    def abort(self) -> None:
        """Abort every drain under way, or what precedes it in a stop."""
        if self.draining_since is not None:
            self.draining_since = -math.inf
        self._aborted = True  # for a stop that still asks for room
        self._do(self._fleet.abort())

    def kill(self) -> None:
        """Kill all workers."""
        self._children.kill()

    def on_signal(self, number: signal.Signals) -> None:
        """Change the number of workers by one, or pass the signal on to the workers that can handle it."""
        if change := RESIZING.get(number):
            if self.pausing.paused:
                logger.warning("%s is ignored: the service is paused", number.name)
                return
            self._do(self._fleet.resize(change, self._clock.now()))
            return
        for worker in self._fleet.workers.values():
            # Others may have no handler yet, and the defaults end or halt them (R16).
            if self._spec.ours or worker.stage is not Stage.STARTING:
                self._children.send(worker.number, number)

    def on_memory_pressure(self) -> None:
        """Called when memory is short, in the view of systemd: workers free what they can."""
        if self._relief.on_pressure(self._loop.time()):
            logger.info("pressure on memory: the workers return what is free of theirs")

    async def _end(self, *, abort: bool = False) -> None:
        self._leave()
        if not self._exchange.room:
            able = self._links.have_served()
            if not able:  # nobody could serve them: it may be a restart, though systemd has not said so
                self._exchange.leave()
            self._exchange.end(able=able)
        self.draining_since = self._clock.now()
        self._do(self._fleet.stop(self.draining_since))
        if abort:
            self.abort()
        await self._stopped.wait()
        await self._children.wait_gone()  # systemd kills what is left when this process has ended

    # Its state, as others see it.

    @property
    def name(self) -> str:
        """The beginning of the status: the generation that serves, or the first."""
        return self._view.name

    def status(self) -> str:
        """Return how many workers are ready, and how many drain, in words."""
        return self._view.status() + self._hook_failures.text

    @property
    def counters(self) -> Counters:
        """The sums of all workers' counters."""
        return self._reports.counters

    def serves(self, *, started: bool) -> bool:
        """Return whether a worker accepts connections; until the service has `started`, a left-over one."""
        return self._view.serves(started=started)

    def remark(self) -> str:
        """Return the numbers with which the canary of the last reload has passed; empty for none."""
        return self._canary.remark

    def options(self) -> str | None:
        """Return the supervisor's settings, as the newest code has them; None if it has not told."""
        return self._view.options()

    def overview(self) -> dict[str, Any]:
        """Return the workers, those that drain included; see `sockact.protocols.overview`."""
        return {**self._view.overview(self._loop.time()), "handed_over": self._exchange.taken}

    # The fleet's decisions.

    async def _wait_for(self, actions: list[Action]) -> Action:
        self._outcome = self._loop.create_future()
        self._do(actions)
        return await self._outcome

    def _do(self, actions: list[Action]) -> None:
        """Carry out the fleet's decisions, and set the timer for its next deadline."""
        for action in actions:
            match action:
                case Spawn():
                    self._pause.allow(action.worker)
                    self._children.start(action)
                case Tell(worker, order):
                    self._ends.told(worker, order)
                    self._links.order(worker, order)
                case Started() | Reloaded() | Failed():
                    if self._outcome is not None and not self._outcome.done():
                        self._outcome.set_result(action)
                case Stopped():
                    self._stopped.set()
                case Compare(last):
                    self._do(self._fleet.compared(self._canary.worse(last=last), self._clock.now()))
                case Note():
                    _say(action)
        self._canary.follow()
        self._links.keep_proved()
        self._children.keep_templates(self._fleet.templates)
        if actions:
            self._links.look_soon()
            self._exchange.pass_on()  # to who serves since a takeover, if nobody did before
        self._clock.wake()

    def _tick(self) -> None:
        self._do(self._fleet.tick(self._clock.now()))

    # The events of the workers.

    def _heard(self, number: int, notification: Notification) -> None:
        try:
            self._obey(number, WorkerMessage.from_assignments(notification.assignments))
        finally:
            self._links.take(number, notification)

    def _obey(self, number: int, message: WorkerMessage) -> None:
        now = self._clock.now()
        if message.extension is not None:
            self._fleet.extended(number, message.extension, now)
        if message.pings:
            self._fleet.pinged(number, now)
            self._clock.wake()  # it may be the first one of a left-over worker
        if message.takes_orders:
            self._links.begin_orders(number)
            self._pause.begin_orders(number)
        self._heard_of_phase(number, message, now)
        if self._reports.hear(number, message):
            self._observer.on_busy()
            self._links.look_soon()
        if message.ready and not message.stopping and self._fleet.workers[number].left_over:
            self._links.introduced()
        if message.error:
            self._do(self._fleet.failing(number, message.error, now))
        if message.ending:
            self._do(self._fleet.ending(number, now))
        if message.idle is not None and self._all_idle():
            self._observer.on_idle()
        self._pause.heard(number, message)
        self._recycle_if_due(number, message)
        self._heard_of_hooks(number, message)

    def _recycle_if_due(self, number: int, message: WorkerMessage) -> None:
        if reason := message.recycle:
            self._recycle(number, reason, Cause.RECYCLED)
        elif reason := self._overweight(number):
            self._recycle_for_memory(number, reason)

    def _heard_of_phase(self, number: int, message: WorkerMessage, now: float) -> None:
        if message.ready:
            self._do(self._fleet.ready(number, now))
            self._exchange.pass_on()
            self._links.look_soon()
            self._exits.pass_on()
        if message.stopping:
            self._stopping.add(number)
            self._loop.call_later(ALL_TOLD, self._replace_stopped, number)

    def _replace_stopped(self, number: int) -> None:
        """Replace a worker that has stopped without an order, unless the whole service stops by now.

        Until it is told which of both it is, the worker goes on.
        """
        worker = self._fleet.workers.get(number)
        if worker is not None and not (self._links.ending or worker.drains):
            self._exchange.retire(number)
            self._do(self._fleet.stopping(number, self._clock.now()))

    def _heard_of_hooks(self, number: int, message: WorkerMessage) -> None:
        self._consent.heard(number, message)
        self._exits.heard(number, message)
        if message.failed_hook is not None:
            self._hook_failures.heard(number, message.failed_hook, self._loop.time())
        if message.requests_reload:
            self._observer.request_reload()

    def _all_idle(self) -> bool:
        return not self._children.waiting and all(self._reports.of(each).idle for each in self._children)

    def _overweight(self, number: int) -> str:
        """Return how much memory a worker has, in words, if that is too much; asked at each notification.

        Not of a young one: where a new one has too much already, its replacement would have so, too.
        """
        limit, child = self._spec.max_memory, self._children.get(number)
        if not limit or child is None or self._loop.time() < self._fleet.workers[number].born + YOUNG:
            return ""
        if (resident := overview.resident(child.pid) or 0) <= limit:
            return ""
        return f"{resident / 1024**2:.0f} MiB in memory"

    def _sizes(self) -> dict[int, tuple[int, float]]:
        """Return the bytes in memory of each worker that serves, and its age."""
        now, found = self._loop.time(), dict[int, tuple[int, float]]()
        for number in self._links.serving():
            child = self._children.get(number)
            if child is not None and (resident := overview.resident(child.pid)) is not None:
                found[number] = resident, now - self._fleet.workers[number].born
        return found

    def _recycle_for_memory(self, number: int, reason: str) -> None:
        self._recycle(number, reason, Cause.MEMORY)

    def _recycle(self, number: int, reason: str, cause: Cause) -> None:
        self._ends.recycled(number, cause)
        self._do(self._fleet.recycle(number, reason, self._loop.time()))

    def _started(self, number: int, generation: int, child: Child) -> None:
        self._exits.started(child.pid)
        self._links.started(number, generation, child)

    def _not_started(self, number: int, reason: str) -> None:
        self._links.forget(number)
        self._pause.forget(number)
        self._do(self._fleet.exited(number, reason, self._clock.now()))

    def _template_extended(self, generation: int, seconds: float) -> None:
        for worker in self._fleet.workers.values():
            if worker.generation == generation:
                self._fleet.extended(worker.number, seconds, self._clock.now())

    def _reap_orphans(self) -> None:
        self._orphans.reap()

    def _template_ended(self, template: Child) -> None:
        self._exit_status = self._exit_status or template.exit_status
        self._logged_reason = template.reason or self._logged_reason
        self._exits.ended(template.pid)  # it had loaded the app

    def _failed(self, error: Exception) -> bool:
        """Raise an unexpected error of a start where the start or the reload is awaited."""
        if self._outcome is None or self._outcome.done():
            return False
        self._outcome.set_exception(error)
        return True

    def _ended(self, number: int, child: Child, how: str) -> None:
        self._exit_status = self._exit_status or child.exit_status
        self._logged_reason = child.reason or self._logged_reason
        self._ends.ended(number, child)
        self._consent.forget(number)
        self._links.forget(number)
        self._pause.forget(number)
        self._exits.forget(number)
        self._reports.forget(number)
        self._observer.on_busy()  # the status counts it
        if number in self._stopping:
            self._stopping.discard(number)
            how = STOPPED
        self._do(self._fleet.exited(number, child.reason or how, self._clock.now()))
        self._exits.ended(child.pid)


def _say(note: Note) -> None:
    """Log a line of the fleet's."""
    level = _LEVELS[note.weight]
    kind = RecordKind.WORKER_FAILED if note.weight is Weight.FAILURE else None
    facts = about(kind, worker=note.worker, generation=note.generation)
    logger.log(level, "%s", note.text, extra=facts)


_LEVELS = {Weight.PLANNED: logging.INFO, Weight.REMARK: logging.WARNING, Weight.FAILURE: logging.ERROR}
