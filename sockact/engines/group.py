"""Runs several engines, each with an app and listeners of its own, as one."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from sockact.engines.interface import EngineObserver
from sockact.handover.admission import Given, inspect
from sockact.handover.envelope import Carried, is_sealed, unseal
from sockact.handover.transfer import HandoverSender
from sockact.lifecycle.drain import Drainable
from sockact.protocols.load_board import OwnRow
from sockact.protocols.statistics_page import WorkerStatistics
from sockact.sockets.fds import Listener, belongs_to
from sockact.system import forks, loop_tasks, standard_streams
from sockact.system.hangup import hang_up
from sockact.untrusted import ancillary

logger = logging.getLogger(__package__)


class Engine(Drainable, Protocol):
    """Serves one app."""

    @property
    def requests(self) -> int:
        """Return the number of requests that have begun."""

    def watch(self, observer: EngineObserver) -> None:
        """Report requests and connections to `observer` from now on."""

    def count_in(self, statistics: WorkerStatistics) -> None:
        """Count requests and connections in `statistics` from now on."""

    async def start(self) -> None:
        """Start the app; raises AppError if that fails."""

    def accept(self) -> None:
        """Start accepting connections."""

    def accept_waiting(self) -> None:
        """Accept all that wait in the queue now, up to the limit: no other process will."""

    @property
    def unfinished(self) -> int:
        """Return how much is in flight that a pause waits for."""

    def hold(self) -> None:
        """Accept nothing, and begin nothing new, until `release`."""

    def release(self) -> None:
        """Go on after `hold`; a drain does so, too."""

    async def close(self) -> None:
        """Shut the app down, after the drain."""


class Connected(Protocol):
    """An engine whose clients' connections can move to another process."""

    def receive(self, connection: socket.socket, carried: Carried | None = None) -> None:
        """Continue a connection that another process has handed over; takes ownership of it."""

    def give_to(self, sender: HandoverSender) -> None:
        """Hand connections over to `sender` in a drain, as long as it has room."""

    def share_load(self, load: OwnRow) -> None:
        """Take turns with other workers in accepting, by their load."""

    def shed(self, count: int) -> int:
        """Hand over so many idle connections while it serves on; return how many can go at once."""


class Served(NamedTuple):
    """An engine with its listeners; `moves` is the engine itself if its connections can move, else None."""

    engine: Engine
    listeners: Sequence[Listener]
    moves: Connected | None = None


class Engines:
    """The engines of a worker.

    Args:
        served: the engines and their listeners.
        leave: closes the listeners when this worker stops accepting, if the service has bound them itself;
            called with True if no process will accept on them again. None if a service manager owns them.

    Attributes:
        last: whether the whole service ends, and not only this worker.
    """

    def __init__(self, served: Sequence[Served], leave: Callable[[bool], None] | None = None) -> None:
        self.last = False
        self._accepting = self._held = False
        self._leave = leave
        self._served = served
        self._engines = [each.engine for each in served]

    @property
    def requests(self) -> int:
        """Return the number of requests that have begun."""
        return sum(engine.requests for engine in self._engines)

    @property
    def in_flight(self) -> int:
        """Return the number of requests in flight."""
        return sum(engine.in_flight for engine in self._engines)

    @property
    def unfinished(self) -> int:
        """Return the number of requests in flight without WebSockets and conversations."""
        return sum(engine.unfinished for engine in self._engines)

    @property
    def connections(self) -> int:
        """Return the number of open connections."""
        count = 0  # not by sum(): this is asked for each connection that opens or closes
        for engine in self._engines:
            count += engine.connections
        return count

    def watch(self, observer: EngineObserver) -> None:
        """Report requests and connections to `observer` from now on."""
        for engine in self._engines:
            engine.watch(observer)

    def count_in(self, statistics: WorkerStatistics) -> None:
        """Count requests and connections of all apps in `statistics` from now on."""
        for engine in self._engines:
            engine.count_in(statistics)

    async def start(self) -> None:
        """Start all apps, then accept; raises AppError if one app fails to start."""
        for engine in self._engines:
            await engine.start()
        for engine in self._engines:
            engine.accept()
        self._accepting = True
        if self._held:
            self.hold()  # in this turn of the loop: nothing was accepted yet

    def give_to(self, sender: HandoverSender) -> None:
        """Hand connections over to `sender` in a drain, as long as it has room."""
        for each in self._served:
            if each.moves is not None:
                each.moves.give_to(sender)

    def share_load(self, load: OwnRow) -> None:
        """Take turns with other workers in accepting, by their load."""
        for each in self._served:
            if each.moves is not None:
                each.moves.share_load(load)

    def shed(self, count: int) -> None:
        """Hand over so many idle connections while this worker serves on."""
        for each in self._served:
            if each.moves is not None and count > 0:
                count -= each.moves.shed(count)

    def hold(self) -> None:
        """Accept nothing, and begin no request, until `release`; also before the start."""
        self._held = True
        for engine in self._engines if self._accepting else ():
            engine.hold()

    def release(self) -> None:
        """Accept connections and begin requests again."""
        self._held = False
        for engine in self._engines:
            engine.release()

    def receive(self, arrived: socket.socket) -> None:
        """Continue a connection that another process has handed over, in the engine of its listener."""
        connection = arrived
        carried: Carried | None = None
        try:
            if is_sealed(arrived):
                connection, carried = unseal(arrived)
            connection = ancillary.sifted(standard_streams.above(connection))
        except OSError as error:
            logger.error("a connection that was handed over is lost: %s", error)
            return
        connection.setblocking(False)
        if connection.type != socket.SOCK_STREAM or inspect(connection.fileno()) is Given.OTHER:
            logger.warning("a descriptor that was handed over is not a connection: closed")
            ancillary.close_socket(connection)
            return
        forks.keep(connection)
        moves = self._home(connection)
        if moves is None:
            logger.warning("no app is served any more on the listener of %s: closed", connection)
            hang_up(connection)
            ancillary.close_socket(connection)
        else:
            moves.receive(connection, carried)

    def stop_accepting(self) -> None:
        """Stop accepting, and begin to drain the open connections."""
        if self._leave is not None and self.last:
            self._accept_waiting()
        for engine in self._engines:
            engine.stop_accepting()
        if self._leave is not None:
            self._leave(self.last)

    def leave(self) -> None:
        """Accept the clients that wait for new code, which will not come: a stop overtook the reload."""
        if self._leave is not None:
            self._accept_waiting()
            self._leave(True)

    def _accept_waiting(self) -> None:
        for engine in self._engines:
            engine.accept_waiting()

    async def wait_drained(self) -> None:
        """Wait until every engine has drained."""
        await loop_tasks.run_all(engine.wait_drained() for engine in self._engines)

    async def abort(self) -> None:
        """Abort the requests and connections that are left."""
        await loop_tasks.run_all(engine.abort() for engine in self._engines)

    async def close(self) -> None:
        """Shut all apps down at the same time: they share one limit."""
        await loop_tasks.run_all(engine.close() for engine in self._engines)

    def _home(self, connection: socket.socket) -> Connected | None:
        """Return the engine whose listener has the connection's local address, or the only engine."""
        movable = [each for each in self._served if each.moves is not None]
        if len(movable) == 1:
            return movable[0].moves
        for exactly in (True, False):
            for each in movable:
                if any(belongs_to(connection, listener, exactly=exactly) for listener in each.listeners):
                    return each.moves
        return None
