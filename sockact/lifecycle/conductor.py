"""The conductor: it leads one service through its life, by the table in `phases`.

A `Service` has four verbs: start, check, replace, stop; check and replace together are a reload.
The conductor alone handles signals, speaks to the service manager, pings the watchdog, answers the
control socket, and says how the process ends. To the manager, whatever is inside looks the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from sockact.config.settings import Settings
from sockact.errors import ReloadRefused, SockactError
from sockact.lifecycle.announcer import Announcer
from sockact.lifecycle.phases import TABLE, Act, Event, Phase
from sockact.lifecycle.reloads import Reloads
from sockact.protocols.control import Caller
from sockact.protocols.counters import Counters
from sockact.protocols.worker_messages import Reporter
from sockact.system.signals import FOLLOWED, FREE, EarlySignals
from sockact.systemd import unit_files
from sockact.untrusted.text import told

logger = logging.getLogger(__package__)

IMPATIENCE = 1.0
"""Seconds after a SIGTERM until another one means more than the first: who sends it, a container's
manager or a whole process group's, may send it twice in a moment."""

LEFT = 5.0
"""Seconds beyond the end of workers, for what they leave behind."""

KILLED = 128
"""Exit status after a second SIGINT or SIGTERM, plus its number: as shells write a death by a signal."""


class Service(Protocol):
    """What a conductor leads: a worker, or a supervisor of workers."""

    @property
    def name(self) -> str:
        """How its status begins: `gen 2`."""

    async def start(self) -> None:
        """Get ready to answer requests; raises SockactError when that fails."""

    async def try_reload(self) -> None:
        """Try the new code beside the old one; raises ReloadRefused when it does not start."""

    async def take_over(self) -> bool:
        """Let the new code take over; raises ReloadRefused as long as the old code can go on.

        Returns:
            Whether this process itself has to become the new code (see `Ending.replaced`).
        """

    async def stop(self, *, abort: bool = False, followed: bool = False) -> None:
        """Drain and end; also called when `start` or `replace` was cancelled half-way.

        Args:
            abort: without waiting for what is under way.
            followed: whether the manager has said that it starts the service again.
        """

    def abort(self) -> None:
        """End the drain under way by force."""

    def on_signal(self, number: signal.Signals) -> None:
        """Handle one of `signals.FREE`."""

    @property
    def counters(self) -> Counters:
        """What it is doing, in numbers."""

    def status(self) -> str:
        """Say in a few words what is going on, for `systemctl status`."""

    def overview(self) -> dict[str, Any]:
        """Return `generation` and `workers` as in `sockact.protocols.overview`."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a service's life in this process ended.

    Attributes:
        status: the exit status.
        replaced: whether the process shall now become the new code, in place.
        at_once: whether it shall leave without a further word: it was asked to end twice.
        callers: who still waits for the result of the reload.
        remark: what the reload does not take over.
    """

    status: int = 0
    replaced: bool = False
    at_once: bool = False
    callers: Sequence[Caller] = ()
    remark: str = ""


class Conductor:
    """Leads one service through its life.

    Args:
        notifier: the voice to the manager.
        settings: the deadlines.
        callers: who waits for the result of a reload that ends with this start.
        successor: whether this start is the end of a reload.
        twice: the signals of which the second one ends the process at once, and how many seconds after
            the first it must come. A worker's supervisor and its control group may both send it SIGTERM.

    Attributes:
        deliver: called with each signal that comes, and with its effect, which it is to call.
        keeping: returns a context in which the signals are kept as they were set up here.
        look_after: called now and then, to see whether they still are.
        started: called when the start is done.
        overlooked: returns what a reload did not take over; called with what its caller knows of the
            unit's environment.
        remark: what that was with the last reload.
    """

    def __init__(
        self,
        notifier: Reporter,
        settings: Settings,
        callers: Sequence[Caller] = (),
        *,
        successor: bool = False,
        twice: Mapping[signal.Signals, float] = MappingProxyType({signal.SIGINT: 0.0}),
    ) -> None:
        self.phase = Phase.ACTIVATING
        self.deliver: Callable[[signal.Signals, Callable[[], None]], None] = lambda _, effect: effect()
        self.keeping: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
        self.look_after: Callable[[], None] = lambda: None
        self.started: Callable[[], None] = lambda: None
        self.overlooked: Callable[[Mapping[str, str] | None], Sequence[str]] = lambda _: ()
        self.remark = ""
        self._notifier = notifier
        self._announcer = Announcer(notifier, self._text, lambda: self._service.counters)
        self._settings = settings
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._verb: asyncio.Task[None] | None = None
        self._reloads = Reloads(callers, successor=successor)
        self._twice = twice
        self._asked: dict[signal.Signals, float] = {}
        self._handlers: Mapping[signal.Signals, Callable[[], None]] = {}
        self._heard: set[signal.Signals] = set()
        self._killed_by = signal.SIGINT
        self._by_force = False
        self._followed = False
        self._failure: SockactError | None = None
        self._replaced = False

    async def run(self, service: Service, early: EarlySignals) -> Ending:
        """Start the service, and stay until it has ended."""
        loop = asyncio.get_running_loop()
        self._service = service
        self._announcer.beside = self.look_after
        self._handlers = self._make_handlers()
        with early.handed_over(loop, self._handlers), self.keeping():
            self._begin(self._start)
            pinging = loop.create_task(self._announcer.ping())
            try:
                while self.phase not in (Phase.INACTIVE, Phase.FAILED):
                    self._step(await self._events.get())
            finally:
                pinging.cancel()
                await self._announcer.close()
        return self._ending()

    def request_reload(self, caller: Caller | None = None) -> None:
        """Ask for a reload; `caller` is told its result."""
        if caller:
            self._reloads.join(caller)
        self._events.put_nowait(Event.RELOAD)

    def obey(self, number: signal.Signals, *, unless_heard: bool = False) -> None:
        """Do what a signal does, with its hooks; or only if none has come, or was obeyed, before."""
        if not (unless_heard and number in self._heard):
            self._handlers[number]()

    def on_busy(self) -> None:
        """Show the status to the manager once a second, until no request is in flight."""
        self._announcer.show_while_busy()

    def on_status(self) -> None:
        """Show the status to the manager now, if it has changed."""
        self._announcer.show()

    def on_idle(self) -> None:
        """Take notice that the service has had nothing to do for so long that it may end."""
        self._events.put_nowait(Event.IDLE)

    def replacement(self) -> Ending | None:
        """Return how this process ends if it is to become the new code, though the app does not end."""
        if self._replaced or self.phase is Phase.RELOADING:
            return Ending(replaced=True, callers=self._reloads.waiting)
        return None

    def overview(self) -> dict[str, Any]:
        """Return what `sockact status` shows."""
        return {
            "phase": self.phase.value,
            "pid": os.getpid(),
            "status": self._text(),
            **self._reloads.overview(),
            **self._service.overview(),
        }

    def _make_handlers(self) -> dict[signal.Signals, Callable[[], None]]:
        effects: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: lambda: self._asked_to_end(signal.SIGTERM),
            signal.SIGINT: lambda: self._asked_to_end(signal.SIGINT),
            signal.SIGQUIT: lambda: self._events.put_nowait(Event.QUIT),
            signal.SIGHUP: self.request_reload,
            signal.SIGUSR2: lambda: self._events.put_nowait(Event.USR2),
            FOLLOWED: self._note_followed,
            **{number: functools.partial(self._service.on_signal, number) for number in FREE},
        }
        return {
            number: functools.partial(self._arrived, number, effect) for number, effect in effects.items()
        }

    def _note_followed(self) -> None:
        # Before the SIGTERM or in the same turn of the loop: of signals that wait, the kernel delivers the
        # one with the lowest number first. The stop looks at it in a later turn.
        self._followed = True

    def _arrived(self, number: signal.Signals, effect: Callable[[], None]) -> None:
        self._heard.add(number)
        self.deliver(number, effect)

    def _asked_to_end(self, number: signal.Signals) -> None:
        now = asyncio.get_running_loop().time()
        if number in self._asked and now >= self._asked[number] + self._twice.get(number, math.inf):
            self._killed_by = number
            self._events.put_nowait(Event.KILL)
        else:
            self._asked.setdefault(number, now)
            self._events.put_nowait(Event.STOP)

    def _step(self, event: Event) -> None:
        before = self.phase
        self.phase, act = TABLE[before][event]
        if self.phase is not before:
            logger.info("phase=%s: %s", self.phase.value, event.value)
        if event is Event.KILL:
            self._failure = None
        match act:
            case Act.GREET:
                self._greet()
            case Act.RELOAD:
                self._say_reloading()
                self._begin(self._reload)
            case Act.REMEMBER:
                self._reloads.request()
            case Act.REFUSE:
                self._refuse()
            case Act.STOP | Act.QUIT:
                self._by_force = act is Act.QUIT
                self._notifier.stopping(self._text())
                self._begin(self._stop)
            case Act.HAMMER:
                self._by_force = True  # for a stop that has not begun yet
                self._service.abort()
            case Act.REPLACE:
                self._replaced = True

    # The verbs. Each runs as a task and ends in one event; a stop cancels whichever is under way.

    def _begin(self, verb: Callable[[], Awaitable[Event]]) -> None:
        before = self._verb

        async def perform() -> None:
            if before and not before.done():
                before.cancel()
                await asyncio.wait([before])
            try:
                self._events.put_nowait(await verb())
            except SockactError as error:
                self._fail(error)
            except (Exception, asyncio.CancelledError) as error:
                if asyncio.current_task() is not self._verb:
                    raise  # a stop has taken over
                logger.exception("phase=%s: a fault of sockact", self.phase.value)
                self._fail(SockactError(told(error)))

        self._verb = asyncio.get_running_loop().create_task(perform())

    def _fail(self, error: SockactError) -> None:
        self._failure = error
        self._events.put_nowait(Event.FAILED)

    async def _start(self) -> Event:
        async with self._announcer.extending(self._settings.start_timeout):
            await self._service.start()
        self.look_after()
        self.started()
        return Event.STARTED

    async def _reload(self) -> Event:
        try:
            async with self._announcer.extending(None):  # each try has its own limit
                await self._check()
            async with self._announcer.extending(self._settings.replace_timeout):
                replaced = await self._service.take_over()
        except ReloadRefused as error:
            self._reloads.complaint = str(error)
            return Event.REFUSED
        self._reloads.complaint = ""
        self.remark = ", ".join(self.overlooked(self._reloads.environ))
        return Event.REPLACED if replaced else Event.RENEWED

    async def _check(self) -> None:
        """Try the newest code: a request that comes during the try may mean yet newer code."""
        self._reloads.request()
        while self._reloads.due():
            await self._service.try_reload()

    async def _stop(self) -> Event:
        limit = self._settings.stop_timeout
        if limit is not None:
            limit += self._settings.shutdown_timeout + LEFT  # the end of workers
        async with self._announcer.extending(limit):
            await self._service.stop(abort=self._by_force, followed=self._followed)
        return Event.STOPPED

    # What is said.

    def _say_reloading(self) -> None:
        """Say that a reload begins, but not to a systemd that need not hear it.

        It knows of one that it has asked for itself, by ExecReload=; and of another it makes no more than a
        word in `systemctl status`, unless its Type=notify-reload waits for it. But told so, systemd goes on
        waiting for our READY=1 if this process is killed, and starts no other until the watchdog's time is
        over, also when all has drained long since (252, 257: in this state it does not look at an empty
        cgroup).
        """
        needless = self._notifier.manager_is_systemd and not unit_files.awaits_reloading(os.environ)
        if self._reloads.managed or needless:
            self._notifier.status(self._text())
        else:
            self._notifier.reloading(self._text())

    def _greet(self) -> None:
        self._notifier.ready(self._text())
        logger.info("%s is ready", self._service.name)
        if self.remark:
            logger.warning("the reload did not take over, a restart does: %s", self.remark)
        self._settle(True, f"{self._service.name} is ready{self._restart_for()}")

    def _restart_for(self) -> str:
        return f"; only a restart takes over: {self.remark}" if self.remark else ""

    def _refuse(self) -> None:
        self._notifier.ready(self._text())
        complaint = f"reload failed: {self._reloads.complaint}"
        logger.error("%s", complaint)
        self._settle(False, complaint)

    def _settle(self, ok: bool, text: str) -> None:
        """Tell how the reload went, if it was one, to those who wait for it; begin the next one."""
        self._announcer.answer(self._reloads.settle(ok, text), ok, text)
        if self._reloads.due():
            self._events.put_nowait(Event.RELOAD)

    def _text(self) -> str:
        if self.phase is Phase.ACTIVE and (complaint := self._reloads.complaint):
            going_on = f"{self._service.name} goes on: {self._service.status()}"
            return f"reload failed: {complaint} ({going_on})"
        verb = "" if self.phase is Phase.ACTIVE else f"{self.phase.value}, "
        restart_for = self._restart_for() if self.phase is Phase.ACTIVE else ""
        return f"{self._service.name}: {verb}{self._service.status()}{restart_for}"

    def _ending(self) -> Ending:
        callers = self._reloads.waiting
        if self._replaced:
            return Ending(replaced=True, callers=callers, remark=self.remark)
        reason = "the service was stopped" if self._failure is None else str(self._failure)
        for caller in callers:
            caller.answer(False, f"reload failed: {reason}")
        if self._failure is not None:
            raise self._failure
        if self.phase is Phase.FAILED:
            return Ending(status=KILLED + self._killed_by, at_once=True)
        return Ending()
