"""The worker's links to its manager: a supervisor, or this process when there is none.

`WorkerManager` gets the reports of every worker, `SupervisorLink` exchanges messages with a supervisor, and
`KeptConnections` are those that a worker without a supervisor keeps for the next process.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sockact import hooks
from sockact.errors import SockactError
from sockact.handover.store import Store
from sockact.handover.transfer import CONNECTION
from sockact.lifecycle.conductor import Conductor
from sockact.process.descriptors import Sockets
from sockact.process.launch import Process
from sockact.protocols.load_board import OwnRow
from sockact.protocols.statistics_page import WorkerStatistics
from sockact.protocols.worker_messages import BEAT, INTRODUCE, TRIM, Reporter
from sockact.system.memory import Trimmer

ORDERS = ("SIGTERM", "SIGQUIT", "SIGHUP")
"""The orders of a supervisor, which have the effect of these signals."""

SUPERVISOR_EXIT_DELAY = 0.5
"""Seconds after the end of its supervisor until a worker drains that has got no SIGTERM by `Lifeline`."""

logger = logging.getLogger(__package__)


def _ignore(_: object) -> None:
    pass


class WorkerManager(NamedTuple):
    """The manager of a worker, as the worker reports to it.

    Attributes:
        on_failure: called when the app has not started.
        give: called with connections that the worker gives away; returns whether they are on their way.
        on_busy: called when a request begins.
        on_idle: called with True when there was nothing to do for `idle_exit`, with False when there is
            again.
        on_hook_failed: called with the failure of a hook.
        on_drained: called when the worker has drained for a stop.
        recycle: called with the reason why the worker is to be replaced by another one.
        request_reload: called when the app requests a reload; in any thread.
    """

    on_failure: Callable[[SockactError], None]
    give: Callable[[Sequence[int]], bool]
    on_busy: Callable[[], None] = lambda: None
    on_idle: Callable[[bool], None] = _ignore
    on_hook_failed: Callable[[str], None] = _ignore
    on_drained: Callable[[], None] = lambda: None
    recycle: Callable[[str], None] = _ignore
    request_reload: Callable[[], object] = lambda: None


class SupervisorLink:
    """The messages between a worker and its supervisor.

    Args:
        conductor: the worker's conductor, which obeys orders.
        notifier: sends messages to the supervisor.
        supply: the socket on which it sends connections and orders; None if it sends none.
        load: the worker's row of the load board; None if there is none.
    """

    def __init__(
        self,
        conductor: Conductor,
        notifier: Reporter,
        supply: socket.socket | None,
        load: OwnRow | None = None,
    ) -> None:
        self.supply = supply
        self.load = load
        self._conductor = conductor
        self._notifier = notifier
        self._trimmer = Trimmer()

    def send_consent(self, refusal: str) -> None:
        """Answer whether a reload may begin; empty if it may."""
        self._notifier.consent(refusal)

    def send_exit_seen(self, pid: int) -> None:
        """Confirm that the hooks for the end of a process have run."""
        self._notifier.exit_seen(pid)

    def send_paused(self, unfinished: int) -> None:
        """Tell how many requests of a paused worker are in flight."""
        self._notifier.paused(unfinished)

    def accept_orders(self) -> None:
        """Ask for orders over the supply, in place of signals."""
        self._notifier.take_orders()

    def on_hook_added(self, point: str) -> None:
        """Called when a point has hooks: asks for the messages by which they run."""
        if point in hooks.ON_RELOAD:
            self._notifier.ask_before_reload()
        if point == hooks.WORKER_EXIT:
            self._notifier.watch_exits()

    def on_order(self, order: str) -> None:
        """Called when an order has come: obeys it."""
        if order in ORDERS:
            self._conductor.obey(signal.Signals[order])
        elif order == INTRODUCE:
            self._notifier.introduce()
            self._conductor.show_again()
        elif order == BEAT:
            if self.load is not None:
                self.load.beat()
        elif order == TRIM:
            self._trimmer.trim()
        else:
            logger.debug("an order of a later version is ignored: %s", order)

    def on_supervisor_exited(self) -> None:
        """Called when the supervisor has ended: drains, in a moment.

        `Lifeline` sends SIGTERM too, and a second one would cut the hooks before it short.
        """
        drain = functools.partial(self._conductor.obey, signal.SIGTERM, unless_heard=True)
        asyncio.get_running_loop().call_later(SUPERVISOR_EXIT_DELAY, drain)


class KeptConnections:
    """The connections that a process without a supervisor keeps for the next process, in systemd's store.

    Args:
        sockets: the connections of this process.
        store: the store.
    """

    def __init__(self, sockets: Sockets, store: Store) -> None:
        self._sockets = sockets
        self._store = store
        self._room = 0
        self._called_off = False
        self._unstored: list[int] = []

    def explain(self) -> None:
        """Log why connections cannot be kept, if that is so."""
        self._store.explain()

    def take(self) -> Sequence[socket.socket]:
        """Return the connections that were kept for this process; from now on they are the caller's."""
        self._store.clear()
        self._store.forget(self._sockets.left_over.dismiss())  # those of a supervisor; they drain
        self._unstored = []
        return self._sockets.taken()

    async def room(self, *, followed: bool) -> int:
        """Return how many connections can be kept, now that this process stops.

        Args:
            followed: the service manager has said that there will be a next process.
        """
        room = await self._store.room(followed=followed)
        self._room = 0 if self._called_off else room
        return self._room

    def keep(self, connections: Sequence[int]) -> bool:
        """Keep connections, at most a batch; return whether that was possible.

        In a stop they are stored at once, if there is room: this process may be killed before its end. It
        has copies, to serve them after all if no process follows.
        """
        copied = self._sockets.keep(connections)
        stored = bool(self._room) and not self._store.put(connections, must=False)
        if copied and not stored:
            self._unstored += self._sockets.kept()[-len(connections) :]
        return copied or stored

    def put(self) -> None:
        """Put the connections into the store that it had no room for when they were kept."""
        self._store.put(self._unstored)

    def call_off(self) -> bool:
        """Note that no process follows after all; return whether connections are kept for it."""
        self._called_off, self._room = True, 0
        return bool(self._sockets.kept())

    async def are_left_to_this(self) -> bool:
        """Return whether connections wait here that no process after this one will get."""
        return bool(self._sockets.kept()) and not await self._store.still_followed()

    def watched(self, on_called_off: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
        """Call `on_called_off` in the body when no process follows after all."""
        return self._store.watched(on_called_off) if self._room else contextlib.nullcontext()

    async def are_in_vain(self) -> bool:
        """Return whether connections are kept, but no process follows after all."""
        return bool(self._room and self._sockets.kept()) and not await self._store.still_followed()


class Links(NamedTuple):
    """The links of a worker.

    Attributes:
        manager: its manager.
        supervisor: its supervisor, which replaces workers by itself; None for a reload in place.
        kept: the connections kept for the next process; None where a supervisor or nobody has them.
        statistics: counts the worker's work; None if nobody would read it, as of a trial.
    """

    manager: WorkerManager
    supervisor: SupervisorLink | None = None
    kept: KeptConnections | None = None
    statistics: WorkerStatistics | None = None


def links(process: Process, conductor: Conductor, reserved: int = 0) -> Links:
    """Return the links of the worker in this process.

    Args:
        process: this process.
        conductor: its conductor.
        reserved: how many descriptors of this process are in systemd's store, that are no connections.
    """
    if process.supervised:
        return _links_supervised(process, conductor)
    if process.trial:
        return Links(WorkerManager(on_failure=process.report, give=process.sockets.keep))
    return _links_alone(process, conductor, reserved)


def _links_supervised(process: Process, conductor: Conductor) -> Links:
    notifier, supply = process.notifier, process.sockets.supply
    manager = WorkerManager(
        on_failure=process.report,
        give=lambda connections: notifier.store(connections, CONNECTION),
        on_busy=conductor.on_busy,
        on_idle=notifier.idle,
        on_hook_failed=notifier.hook_failed,
        on_drained=conductor.on_status,  # connections were taken as they came; these are the last numbers
        recycle=notifier.recycle,
        request_reload=notifier.request_reload,
    )
    link = SupervisorLink(
        conductor, notifier, None if supply is None else supply.sock, process.sockets.load
    )
    return Links(manager, link, statistics=process.sockets.statistics)


def _links_alone(process: Process, conductor: Conductor, reserved: int) -> Links:
    loop = asyncio.get_running_loop()
    store = Store(process.notifier)
    store.reserved = reserved
    kept = KeptConnections(process.sockets, store)

    def on_idle(idle: bool) -> None:
        if idle:
            conductor.on_idle()

    manager = WorkerManager(
        on_failure=process.report,
        give=kept.keep,
        on_busy=conductor.on_busy,
        on_idle=on_idle,
        on_hook_failed=lambda _: conductor.on_status(),
        on_drained=kept.put,
        recycle=process.notifier.recycle,
        request_reload=lambda: loop.call_soon_threadsafe(conductor.request_reload),
    )
    return Links(manager, kept=kept, statistics=process.sockets.statistics)
