"""The conductor: it leads one service through its life, by the table in `phases`.

A `Service` has verbs: start, try_reload and take_over, which together are a reload, and stop. The conductor
alone handles signals, notifies the service manager, pings the watchdog, answers the control socket, and
decides the exit status. To the manager a worker and a supervisor look the same.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import Any

from sockact.config.records import RecordKind, about
from sockact.config.settings import Settings
from sockact.errors import PauseFailed, ReloadRefused, SockactError
from sockact.lifecycle.announcer import Announcer
from sockact.lifecycle.deadlines import SERVICE_MARGIN
from sockact.lifecycle.end_signals import KILLED, EndSignals
from sockact.lifecycle.pausing import Pausing
from sockact.lifecycle.phases import TABLE, Act, Event, Phase
from sockact.lifecycle.recovery import Recovery
from sockact.lifecycle.reloads import Reloads
from sockact.lifecycle.service import Callbacks, Ending, Service
from sockact.lifecycle.signal_events import SignalEvents
from sockact.lifecycle.tasks import cancel
from sockact.lifecycle.verbs import Verbs
from sockact.protocols.control import Caller
from sockact.protocols.worker_messages import Reporter
from sockact.system import loop_tasks
from sockact.system.signals import EarlySignals
from sockact.systemd import unit_files

_TOLD = (Phase.ACTIVE, Phase.FAILED)
"""The phases of which another line of the log tells: that the code is ready, or why it is not."""

logger = logging.getLogger(__package__)


_NO_CALLBACKS = Callbacks()


class Conductor:
    """Leads one service through its life.

    Args:
        notifier: the notifier.
        settings: the deadlines.
        reloads: the reloads of this service; those that began before this start included.
        end_signals: the signals of which the second one kills.
    """

    def __init__(
        self,
        notifier: Reporter,
        settings: Settings,
        reloads: Reloads | None = None,
        end_signals: EndSignals | None = None,
    ) -> None:
        self.phase = Phase.ACTIVATING
        self._notifier = notifier
        self._settings = settings
        self._reloads = reloads or Reloads()
        self._end_signals = end_signals or EndSignals()
        self._recovery = Recovery(notifier, settings.probation)
        self._announcer = Announcer(
            notifier, self._text, lambda: self._service.counters, self._check_signals
        )
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._verbs = Verbs(self._events.put_nowait, self._fail)
        self._pauses: set[asyncio.Task[None]] = set()
        self._abort = False
        self._failure: SockactError | None = None
        self._replaced = False

    async def run(
        self, service: Service, early: EarlySignals, callbacks: Callbacks = _NO_CALLBACKS
    ) -> Ending:
        """Start the service, and return when it has ended."""
        loop = asyncio.get_running_loop()
        self._service, self._callbacks = service, callbacks
        self._signals = SignalEvents(self._end_signals, service, callbacks, self._events.put_nowait)
        with early.handed_over(loop, self._signals.handlers), callbacks.keep_signals():
            self._verbs.begin(self._start)
            pinging = loop_tasks.begin(self._announcer.ping())
            try:
                while self.phase not in (Phase.INACTIVE, Phase.FAILED):
                    self._step(await self._events.get())
            finally:
                pinging.cancel()
                await cancel(self._pauses)
                self._recovery.end()
                await self._announcer.close()
        return self._ending()

    def request_reload(self, caller: Caller | None = None) -> None:
        """Request a reload; `caller` is told its result."""
        if caller:
            self._reloads.join(caller)
        self._events.put_nowait(Event.RELOAD)

    def request_pause(self, caller: Caller, seconds: float) -> None:
        """Pause the service for so long; `caller` is told when no request is in flight."""
        if self.phase is not Phase.ACTIVE:
            caller.answer(False, f"not paused: the service is {self.phase.value}")
            return
        pausing = self._service.pausing
        try:
            pausing.begin(seconds)
        except PauseFailed as error:
            caller.answer(False, f"not paused: {error}")
            return
        task = loop_tasks.begin(self._pause(caller, pausing))
        self._pauses.add(task)
        task.add_done_callback(self._pauses.discard)

    def request_resume(self, caller: Caller) -> None:
        """End the pause."""
        ended = self._service.pausing.end("resumed")
        caller.answer(True, "resumed" if ended else "there is no pause")

    def obey(self, number: signal.Signals, *, unless_heard: bool = False) -> None:
        """Handle a signal as if it had come; see `SignalEvents.obey`."""
        self._signals.obey(number, unless_heard=unless_heard)

    def on_busy(self) -> None:
        """Called when a request begins: shows the status each second until none is in flight."""
        self._announcer.show_while_busy()

    def on_status(self) -> None:
        """Called when the status has changed: shows it now."""
        self._announcer.show()

    def show_again(self) -> None:
        """Show the status to another manager, which has not seen it."""
        self._announcer.repeat()

    def on_idle(self) -> None:
        """Called when the service has had nothing to do for its `idle_exit`: ends it."""
        self._events.put_nowait(Event.IDLE)

    def replacement(self) -> Ending | None:
        """Return the ending of a process that has to become the new code though the app does not end."""
        if self._replaced or self.phase is Phase.RELOADING:
            return Ending(replaced=True, callers=self._reloads.waiting)
        return None

    def overview(self) -> dict[str, Any]:
        """Return the overview that `sockact status` shows."""
        return {
            "phase": self.phase.value,
            "pid": os.getpid(),
            "status": self._text(),
            "paused": round(self._service.pausing.left, 3),
            **self._reloads.overview(),
            **self._service.overview(),
        }

    def _check_signals(self) -> None:
        self._callbacks.check_signals()

    def _step(self, event: Event) -> None:
        before = self.phase
        self.phase, act = TABLE[before][event]
        if self.phase is not before:
            level = logging.DEBUG if self.phase in _TOLD else logging.INFO
            logger.log(level, "phase=%s: %s", self.phase.value, event.value)
        if event is Event.KILL:
            self._failure = None
        match act:
            case Act.SAY_READY:
                self._say_ready()
            case Act.BEGIN_RELOAD:
                self._say_reloading()
                self._verbs.begin(self._reload)
            case Act.REMEMBER_RELOAD:
                self._reloads.request()
            case Act.REFUSE_RELOAD:
                self._refuse()
            case Act.BEGIN_STOP | Act.BEGIN_ABORT:
                self._begin_stop(abort=act is Act.BEGIN_ABORT)
            case Act.ABORT:
                self._abort = True  # for a stop that has not begun yet
                self._service.abort()
            case Act.HAND_OVER:
                self._replaced = True

    def _begin_stop(self, *, abort: bool) -> None:
        self._abort = abort
        if abort:
            self._service.abort()  # what the stop would wait for
        self._recovery.end()
        self._notifier.stopping(self._text())
        self._verbs.begin(self._stop)

    async def _pause(self, caller: Caller, pausing: Pausing) -> None:
        """Answer a caller when no request is in flight, and show the beginning and the end of the pause."""
        self._announcer.show()
        try:
            await pausing.finish()
        except PauseFailed as error:
            caller.answer(False, str(error))
        else:
            caller.answer(True, f"paused for another {pausing.left:.0f} s: no request is in flight")
            await pausing.over()
        self._announcer.show()

    # The verbs. Each ends in one event; a stop cancels the one under way.

    def _fail(self, error: SockactError) -> None:
        self._failure = error
        self._events.put_nowait(Event.FAILED)

    async def _start(self) -> Event:
        async with self._announcer.extending(self._settings.start_timeout):
            await self._service.start()
        self._check_signals()
        self._callbacks.on_started()
        self._recovery.begin()
        return Event.STARTED

    async def _reload(self) -> Event:
        try:
            async with self._announcer.extending(None):  # each trial has its own limit
                await self._try_reload()
            async with self._announcer.extending(self._settings.replace_timeout):
                replaced = await self._service.take_over()
        except ReloadRefused as error:
            self._reloads.complaint = str(error)
            return Event.REFUSED
        self._reloads.complaint = ""
        self._reloads.unapplied = ", ".join(self._callbacks.unapplied(self._reloads.environ))
        return Event.REPLACED if replaced else Event.RENEWED

    async def _try_reload(self) -> None:
        """Try the newest code: a request that comes during a trial may mean yet newer code."""
        self._reloads.request()
        while self._reloads.due():
            await self._service.try_reload()

    async def _stop(self) -> Event:
        limit = self._settings.stop_timeout
        if limit is not None:
            limit += self._settings.shutdown_timeout + SERVICE_MARGIN  # the end of workers
        async with self._announcer.extending(limit):
            await self._service.stop(abort=self._abort, followed=self._signals.followed)
        return Event.STOPPED

    # Announcements.

    def _say_reloading(self) -> None:
        """Announce that a reload begins, but not to a systemd that has no use for it.

        systemd knows of one that it has asked for itself, by ExecReload=. Of another it makes no more than
        a word in `systemctl status`, unless its Type=notify-reload waits for it. But once told, it goes on
        waiting for our READY=1 if this process is killed, and starts no other until the watchdog's time is
        over, even when all has drained long since (252, 257: in this state it ignores an empty cgroup).
        """
        needless = self._notifier.manager_is_systemd and not unit_files.awaits_reloading(os.environ)
        if self._reloads.managed or needless:
            self._notifier.status(self._text())
        else:
            self._notifier.reloading(self._text())

    def _say_ready(self) -> None:
        self._notifier.ready(self._text())
        logger.info("%s is ready", self._service.name, extra=about(RecordKind.READY))
        if unapplied := self._reloads.unapplied:
            logger.warning("the reload did not take over, a restart does: %s", unapplied)
        remark = f"; {text}" if (text := self._callbacks.remark()) else ""
        self._settle(True, f"{self._service.name} is ready{remark}{self._reloads.restart_for()}")

    def _refuse(self) -> None:
        self._notifier.ready(self._text())
        complaint = f"reload failed: {self._reloads.complaint}"
        logger.error("%s", complaint, extra=about(RecordKind.RELOAD_REFUSED))
        self._settle(False, complaint)

    def _settle(self, ok: bool, text: str) -> None:
        """Send the result of a reload, if it was one, to its callers; begin the next one."""
        if self._reloads.under_way:
            self._callbacks.on_reloaded(ok)
        self._announcer.answer(self._reloads.settle(ok, text), ok, text)
        if self._reloads.due():
            self._events.put_nowait(Event.RELOAD)

    def _text(self) -> str:
        if self.phase is Phase.ACTIVE and (complaint := self._reloads.complaint):
            going_on = f"{self._service.name} goes on: {self._activity()}"
            return f"reload failed: {complaint} ({going_on})"
        verb = "" if self.phase is Phase.ACTIVE else f"{self.phase.value}, "
        restart_for = self._reloads.restart_for() if self.phase is Phase.ACTIVE else ""
        return f"{self._service.name}: {verb}{self._activity()}{restart_for}"

    def _activity(self) -> str:
        return ("paused, " if self._service.pausing.paused else "") + self._service.status()

    def _ending(self) -> Ending:
        callers = self._reloads.waiting
        if self._replaced:
            return Ending(replaced=True, callers=callers, unapplied=self._reloads.unapplied)
        reason = "the service was stopped" if self._failure is None else str(self._failure)
        for caller in callers:
            caller.answer(False, f"reload failed: {reason}")
        if self._failure is not None:
            raise self._failure
        if self.phase is Phase.FAILED:
            return Ending(status=KILLED + self._end_signals.killed_by, killed=True)
        return Ending()
