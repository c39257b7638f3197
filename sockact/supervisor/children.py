"""The worker processes of a supervisor: started one after the other, signalled, and reaped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from sockact.config.records import RecordKind, about
from sockact.errors import SettingsError
from sockact.process import child_handle
from sockact.process.child import Child
from sockact.process.child_handle import ChildHandle, ChildSockets, Conditions
from sockact.process.command import Program
from sockact.process.descriptors import FORKS
from sockact.protocols.environment import GENERATION, SUPERVISED, TEMPLATE, WORKER
from sockact.protocols.notify import Notification
from sockact.sockets.fds import Listener
from sockact.supervisor.fleet.orders import Spawn
from sockact.supervisor.templates import TemplateEvents, Templates, WantedWorker
from sockact.system.signals import REMEMBERED

logger = logging.getLogger(__package__)


class WorkerSpec(NamedTuple):
    """The specification of a worker process.

    Attributes:
        program: the command that it runs; started anew each time, so that its files may have changed.
        listeners: the sockets that it gets.
        most: its soft limit of open descriptors; None for that of the supervisor.
        ours: the program is sockact, which unblocks its signals when its handlers are in place.
        supplied: the program knows the names under which sockact passes sockets to itself.
        handover: connections move from one worker to another.
        whole_group: the other processes of its process group may notify for it.
        max_memory: bytes above which it is replaced; 0 for never.
        preload: it is forked from a template.
    """

    program: Program
    listeners: Sequence[Listener]
    most: int | None = None
    ours: bool = True
    supplied: bool = True
    handover: bool = True
    whole_group: bool = False
    max_memory: int = 0
    preload: bool = False


class ChildEvents(NamedTuple):
    """The callbacks for what happens to worker processes; the first argument is the worker's number.

    Attributes:
        on_start: called with its generation and its process when that has started.
        on_failed_start: called with the reason when no process was started for it.
        on_notification: called with each of its notifications.
        on_end: called with its process, when that has ended, and with how it ended, in words.
        on_fault: called with an exception that no failed start explains; returns whether it is handled.
        on_template_extension: called with a generation that needs more time for its start, and the seconds.
        on_template_end: called with the process of a template, when that has ended.
        on_all_known: called when there is no child any more that `pids` does not return.
    """

    on_start: Callable[[int, int, Child], None]
    on_failed_start: Callable[[int, str], None]
    on_notification: Callable[[int, Notification], None]
    on_end: Callable[[int, Child, str], None]
    on_fault: Callable[[Exception], bool]
    on_template_extension: Callable[[int, float], None] = lambda _, __: None
    on_template_end: Callable[[Child], None] = lambda _: None
    on_all_known: Callable[[], None] = lambda: None


class Children:
    """The processes of all workers, by the worker's number.

    Args:
        spec: the specification of a worker process.
        watchdog: the longest pause between two of its watchdog pings; None for no watchdog.
        supply: returns the descriptors by which a worker that is about to start shares load with others.
        events: the callbacks.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        watchdog: float | None,
        supply: Callable[[int], list[Listener]],
        events: ChildEvents,
    ) -> None:
        self._spec = spec
        self._supply = supply
        self._watchdog_usec = 0 if watchdog is None else round(watchdog * 1_000_000)
        self._events = events
        self._children: dict[int, Child] = {}
        self._leaving: list[Child] = []  # ended, but not all of its process group
        self._to_start: deque[Spawn] = deque()
        self._closed = self._held = False
        self._loop = asyncio.get_running_loop()
        self._templates = Templates(
            self._start_template,
            lambda: [child.pid for child in (*self._children.values(), *self._leaving)],
            TemplateEvents(
                on_forked=self._begin,
                on_failed=events.on_failed_start,
                on_extension=events.on_template_extension,
                on_end=events.on_template_end,
                on_idle=events.on_all_known,
            ),
        )

    def __iter__(self) -> Iterator[int]:
        return iter(self._children)

    @property
    def waiting(self) -> bool:
        """True while there are workers to start."""
        return bool(self._to_start)

    def start(self, spawn: Spawn) -> None:
        """Start a worker when those before it have been started."""
        self._to_start.append(spawn)
        if len(self._to_start) == 1:
            self._loop.call_soon(self._start_next)

    def hold(self) -> None:
        """Start no worker until `release`."""
        self._held = True

    def release(self) -> None:
        """Start those that wait."""
        self._held = False
        if self._to_start:
            self._loop.call_soon(self._start_next)

    def adopt(self, number: int, handle: ChildHandle) -> None:
        """Take over a left-over worker."""
        self._children[number] = self._watched(number, handle)

    def let_go(self) -> None:
        """Leave all workers to the next supervisor; start none any more."""
        self._closed = True
        self._to_start.clear()
        for child in self._leaving:
            child.kill()  # the rest of its group; nobody else knows of it
        self._templates.let_go()
        for child in self._children.values():
            child.let_go()

    def start_no_more(self) -> None:
        """Start no worker from now on."""
        self._closed = True
        self._templates.start_no_more()

    def cancel(self, worker: int) -> None:
        """Do not start a worker that is to end already; it ends like one that was started."""
        if any(spawn.worker == worker for spawn in self._to_start):
            self._to_start = deque(spawn for spawn in self._to_start if spawn.worker != worker)
            self._loop.call_soon(self._events.on_failed_start, worker, "was not started")
        self._templates.cancel(worker)

    def keep_templates(self, generations: Collection[int]) -> None:
        """End the templates of all other generations."""
        self._templates.keep(generations)

    def get(self, worker: int) -> Child | None:
        """Return the process of a worker; None before its start, and after its end."""
        return self._children.get(worker)

    def send(self, worker: int, number: signal.Signals) -> None:
        """Send a worker a signal."""
        child = self._children.get(worker)
        if child is None:
            return  # it could not be started, and its end is about to be reported
        # It has ended, and is not reaped yet; or it is another user's, since the unit's User= has changed.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            child.send(number)

    def kill(self) -> None:
        """Kill all workers."""
        for child in (*self._children.values(), *self._leaving):
            child.kill()
        self._templates.kill()
        self._children.clear()
        self._to_start.clear()

    async def wait_gone(self) -> None:
        """Wait for the rest of the process groups of ended workers."""
        for child in self._leaving:
            await child.gone.wait()
        await self._templates.wait_gone()

    def pids(self) -> set[int] | None:
        """Return the PIDs of the processes that are reaped here; None while there may be others."""
        if self._templates.forking:
            return None
        return self._templates.pids() | {child.pid for child in (*self._children.values(), *self._leaving)}

    def descriptor_limit(self, worker: int) -> int:
        """Return how many descriptors a worker may have open."""
        try:
            return resource.prlimit(self._children[worker].pid, resource.RLIMIT_NOFILE)[0]
        except (KeyError, OSError):
            return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def _start_next(self) -> None:
        """Start one worker, and the next one in a later turn of the loop: a SIGTERM may come between."""
        if self._closed or self._held or not self._to_start:
            return
        try:
            self._start(self._to_start.popleft())
        except Exception as error:
            if not self._events.on_fault(error):
                raise
        finally:
            if self._to_start:
                self._loop.call_soon(self._start_next)

    def _start(self, spawn: Spawn) -> None:
        number = spawn.worker
        supply: list[Listener] = []
        try:
            supply = self._supply(number) if self._spec.supplied else []
            if self._spec.preload:
                self._fork(spawn, supply)
                supply = []  # the template's link has it
                return
            self._begin(spawn, self._spawned(spawn, supply))
        except (OSError, SettingsError) as error:
            text = error.strerror if isinstance(error, OSError) else error
            reason = f"no process can be started: {text}"
            self._loop.call_soon(self._events.on_failed_start, number, reason)
        finally:
            for listener in supply:
                listener.close()

    def _begin(self, spawn: Spawn, handle: ChildHandle) -> None:
        number = spawn.worker
        child = self._children[number] = self._watched(number, handle)
        self._events.on_start(number, spawn.generation, child)
        facts = about(
            RecordKind.WORKER_STARTED, generation=spawn.generation, worker=number, worker_pid=child.pid
        )
        text = "gen=%d worker=%d pid=%d starts"
        logger.info(text, spawn.generation, number, child.pid, extra=facts)

    def _fork(self, spawn: Spawn, supply: Sequence[Listener]) -> None:
        sockets = ChildSockets(self._conditions(stores=bool(supply)))
        wanted = WantedWorker(spawn, self._watchdog_usec, sockets, supply)
        try:
            self._templates.fork(wanted)
        except BaseException:
            sockets.close()
            raise

    def _start_template(self, generation: int, requests: socket.socket) -> ChildHandle:
        environ = {GENERATION: str(generation), SUPERVISED: "1", TEMPLATE: "1"}
        passed = [*self._spec.listeners, Listener.of(requests, FORKS)]
        return child_handle.spawn(self._spec.program, passed, environ, self._conditions(stores=False))

    def _spawned(self, spawn: Spawn, supply: Sequence[Listener]) -> ChildHandle:
        environ = {GENERATION: str(spawn.generation), WORKER: str(spawn.worker), SUPERVISED: "1"}
        if self._watchdog_usec:
            environ["WATCHDOG_USEC"] = str(self._watchdog_usec)
        passed = [*self._spec.listeners, *supply]
        return child_handle.spawn(
            self._spec.program, passed, environ, self._conditions(stores=bool(supply))
        )

    def _conditions(self, *, stores: bool) -> Conditions:
        spec = self._spec
        return Conditions(
            most=spec.most,
            # Their defaults would end a Python that still imports. Others may never unblock them.
            blocked=REMEMBERED if spec.ours else (),
            stores=stores,
            ours=spec.supplied,
            # Another program may become another user before it says that it is ready.
            private=spec.ours or os.geteuid() != 0,
        )

    def _watched(self, number: int, handle: ChildHandle) -> Child:
        return Child(
            handle,
            heard=lambda notification: self._events.on_notification(number, notification),
            ended=lambda how: self._ended(number, how),
            whole_group=self._spec.whole_group,
        )

    def _ended(self, number: int, how: str) -> None:
        child = self._children.pop(number)
        self._leaving = [each for each in (*self._leaving, child) if not each.gone.is_set()]
        self._events.on_end(number, child, how)
