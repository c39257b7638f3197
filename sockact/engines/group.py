"""Several apps, each with an engine and listeners of its own, that live and drain as one."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sockact.engines.interface import EngineObserver
from sockact.handover.admission import Given, inspect
from sockact.handover.envelope import Luggage, is_sealed, unseal
from sockact.handover.transfer import Giver
from sockact.lifecycle.drain import Engine as Drained
from sockact.sockets.fds import Listener, belongs_to
from sockact.system import forks, standard_streams
from sockact.system.hangup import hang_up
from sockact.untrusted import ancillary

logger = logging.getLogger(__package__)


class Engine(Drained, Protocol):
    """What serves one app."""

    @property
    def requests(self) -> int:
        """How many requests have begun."""

    def watch(self, observer: EngineObserver) -> None:
        """Tell `observer` from now on what happens."""

    async def start(self) -> None:
        """Start the app; raises AppError when it fails."""

    def accept(self) -> None:
        """Take connections from now on."""

    def accept_waiting(self) -> None:
        """Take all that wait now, as far as there is room: nobody else will."""

    async def close(self) -> None:
        """Let the app shut down, after the drain."""


class Connected(Protocol):
    """An engine whose clients have connections, which can move."""

    def receive(self, connection: socket.socket, luggage: Luggage | None = None) -> None:
        """Go on with a connection that another process has given away; takes it over."""

    def give_to(self, giver: Giver) -> None:
        """Give connections away in a drain, as long as somebody takes them."""


@dataclass(frozen=True, slots=True)
class Served:
    """An engine and where it serves; `moves` is the engine itself, if its connections can move."""

    engine: Engine
    listeners: Sequence[Listener]
    moves: Connected | None = None


class Engines:
    """The engines of a worker.

    Args:
        served: what is served where.
        leave: gives up the listeners when this worker takes no more connections, where they are the
            service's own; told whether nobody will accept there any more. None where a manager keeps them.

    Attributes:
        last: whether the service ends, and does not only replace this worker.
    """

    def __init__(self, served: Sequence[Served], leave: Callable[[bool], None] | None = None) -> None:
        self.last = False
        self._leave = leave
        self._served = served
        self._engines = [each.engine for each in served]

    @property
    def requests(self) -> int:
        """How many requests have begun."""
        return sum(engine.requests for engine in self._engines)

    @property
    def in_flight(self) -> int:
        """How many requests are at work."""
        return sum(engine.in_flight for engine in self._engines)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return sum(engine.connections for engine in self._engines)

    def watch(self, observer: EngineObserver) -> None:
        """Tell `observer` from now on what happens."""
        for engine in self._engines:
            engine.watch(observer)

    async def start(self) -> None:
        """Start all apps, and accept when all have started; raises AppError when one fails."""
        for engine in self._engines:
            await engine.start()
        for engine in self._engines:
            engine.accept()

    def give_to(self, giver: Giver) -> None:
        """Give connections away in a drain, as long as somebody takes them."""
        for each in self._served:
            if each.moves is not None:
                each.moves.give_to(giver)

    def receive(self, arrived: socket.socket) -> None:
        """Go on with a connection that another process has given away, where its listener is served."""
        connection, luggage = arrived, None
        try:
            if is_sealed(arrived):
                connection, luggage = unseal(arrived)
            connection = ancillary.sifted(standard_streams.above(connection))
        except OSError as error:
            logger.error("a connection that moved here is lost: %s", error)
            return
        connection.setblocking(False)
        if connection.type != socket.SOCK_STREAM or inspect(connection.fileno()) is Given.OTHER:
            logger.warning("what moved here is no connection: closed")
            ancillary.close_socket(connection)
            return
        forks.keep(connection)
        moves = self._home(connection)
        if moves is None:
            logger.warning("nothing is served any more where %s belongs to: closed", connection)
            hang_up(connection)
            ancillary.close_socket(connection)
        else:
            moves.receive(connection, luggage)

    def stop_accepting(self) -> None:
        """Take no more connections, and let those that are here drain."""
        if self._leave is not None and self.last:
            self._accept_waiting()
        for engine in self._engines:
            engine.stop_accepting()
        if self._leave is not None:
            self._leave(self.last)

    def leave(self) -> None:
        """Take those who wait for new code, which does not come: a stop has overtaken the reload."""
        if self._leave is not None:
            self._accept_waiting()
            self._leave(True)

    def _accept_waiting(self) -> None:
        for engine in self._engines:
            engine.accept_waiting()

    async def wait_drained(self) -> None:
        """Wait until nothing is left."""
        async with asyncio.TaskGroup() as group:
            for engine in self._engines:
                group.create_task(engine.wait_drained())

    async def abort(self) -> None:
        """End what is left by force."""
        async with asyncio.TaskGroup() as group:
            for engine in self._engines:
                group.create_task(engine.abort())

    async def close(self) -> None:
        """Let all apps shut down, at the same time: they share the limit for it."""
        async with asyncio.TaskGroup() as group:
            for engine in self._engines:
                group.create_task(engine.close())

    def _home(self, connection: socket.socket) -> Connected | None:
        """Return where a connection belongs: to whom its local address is, or to the only one there is."""
        movable = [each for each in self._served if each.moves is not None]
        if len(movable) == 1:
            return movable[0].moves
        for exactly in (True, False):
            for each in movable:
                if any(belongs_to(connection, listener, exactly=exactly) for listener in each.listeners):
                    return each.moves
        return None
