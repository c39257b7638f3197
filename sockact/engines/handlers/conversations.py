"""Serves one raw connection by its handler, in the event loop or in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from fcntl import ioctl
from termios import FIONREAD
from typing import Any

from sockact.engines.handlers.reader import HandlerReader
from sockact.engines.http.engine_state import client_name
from sockact.handover.envelope import CarriedState, Handover, Moving
from sockact.handover.pending import PendingHandover, sealed
from sockact.handover.transfer import HandoverSender
from sockact.system.forks import lending
from sockact.system.hangup import hang_up

logger = logging.getLogger(__package__)


class Held:
    """A connection that is held until its handler ends; `str` gives its description for log lines.

    Attributes:
        moved: whether another process has it.
    """

    moved = False

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def __str__(self) -> str:
        try:
            name = self._connection.getpeername()
        except OSError:
            return "a connection whose client has gone"
        return f"a connection with {client_name(name if isinstance(name, tuple) else None)}"


class Asynchronous(Held):
    """Serves a handler `(reader, writer)`, which may also take the `state` of a handed-over connection.

    Args:
        handler: the handler.
        connection: non-blocking; owned from here on.
        carried: the state of the connection, if it comes from another process.
        linger: seconds without a byte in a drain, after which the reader gets the end of the stream.
        sender: returns the sender that hands connections over; None if it has no room.
        takes_state: whether the handler takes `state`.
    """

    def __init__(
        self,
        handler: Callable[..., Awaitable[Any]],
        connection: socket.socket,
        carried: CarriedState | None,
        linger: float,
        sender: Callable[[], HandoverSender | None],
        *,
        takes_state: bool,
    ) -> None:
        super().__init__(connection)
        self._handler = handler
        self._takes_state = takes_state
        self._state = None if carried is None else carried.state
        self._consumed = 0
        self._linger = linger
        self._sender = sender
        self._loop = asyncio.get_running_loop()
        self._reader = HandlerReader(b"" if carried is None else carried.unread)
        self._transport: asyncio.Transport | None = None
        self._parting_since: float | None = None
        self._stays = False
        self._moving = False
        self._timer: asyncio.TimerHandle | None = None

    async def hold(self) -> None:
        """Serve the connection until its handler ends, then close it or hand it over."""
        protocol = _Protocol(self._reader, self._lost)
        transport, _ = await self._loop.connect_accepted_socket(lambda: protocol, self._connection)
        self._transport = transport
        writer = asyncio.StreamWriter(transport, protocol, self._reader, self._loop)
        try:
            if await self._converse(writer):
                self.moved = True
                transport.abort()  # another process has the connection: this only closes our descriptor
                return
            writer.close()
            await writer.wait_closed()
        except (ConnectionError, Moving) as error:
            logger.debug("%s was lost: %s", self, error)
        finally:
            self._drain_no_more()
            transport.abort()

    def _lost(self) -> None:
        if not self._moving:
            hang_up(self._connection)

    async def _converse(self, writer: asyncio.StreamWriter) -> bool:
        """Call the handler until it ends; return whether another process has the connection now."""
        while True:
            try:
                outcome = await self._call(writer)
            except Moving:
                if not self._untouched:
                    raise
                outcome = None
            else:
                if not isinstance(outcome, Handover) or self._reader.hung_up:
                    return False
                self._state = outcome.state
                await asyncio.sleep(0)  # a handler that never waits must not block the loop
            if self._parting_since is not None:
                if await self._give(writer):
                    return True
                if not self._go_on():
                    return False

    async def _call(self, writer: asyncio.StreamWriter) -> Any:
        self._consumed = self._reader.consumed
        if self._state is None:
            return await self._handler(self._reader, writer)
        return await self._handler(self._reader, writer, state=self._state)

    @property
    def _untouched(self) -> bool:
        """Return whether the handler has read nothing in this call: the connection is between messages."""
        return self._reader.consumed == self._consumed

    def _taker(self) -> HandoverSender | None:
        """Return the sender that can hand the connection over; None if it has to stay."""
        transport = self._transport
        # The TLS session exists in this process only.
        encrypted = transport is not None and transport.get_extra_info("sslcontext") is not None
        return None if encrypted or self._stays else self._sender()

    async def _give(self, writer: asyncio.StreamWriter) -> bool:
        """Hand the connection over if it may move; return whether another process has it."""
        sender = self._taker()
        assert self._transport is not None
        if sender is None or self._transport.is_closing():
            return False
        self._transport.pause_reading()
        self._transport.set_write_buffer_limits(0)
        await writer.drain()
        carried = CarriedState(self._state, self._reader.unread)
        envelope = await sealed(self._connection.fileno, carried)
        if envelope is None:
            return False
        with envelope:
            pending = PendingHandover(envelope)
            self._moving = True  # and stays True after an abort: another process may have the connection
            sender.offer(pending)
            self._moving = await pending.outcome
            return self._moving

    def _go_on(self) -> bool:
        """Continue in this process, since no other takes the connection; return whether there is time."""
        assert self._transport is not None
        self._stays = True
        if self._reader.hung_up or self._transport.is_closing() or self._linger_left() <= 0:
            return False
        self._transport.set_write_buffer_limits()
        self._reader.go_on(self._transport)
        self.drain()
        return True

    def drain(self) -> None:
        """Interrupt the handler's read: between messages, or after `linger` seconds without data."""
        if self._parting_since is None:
            self._parting_since = self._loop.time()
        self._drain_no_more()
        if self._takes_state and self._untouched and self._taker() is not None:
            self._reader.end(Moving())
        elif (left := self._linger_left()) > 0:
            self._timer = self._loop.call_later(left, self.drain)
        else:
            self._reader.end(Moving() if self._takes_state else None)

    def _drain_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _linger_left(self) -> float:
        since = max(self._reader.last_activity, self._parting_since or 0)
        return since + self._linger - self._loop.time()

    def abort(self) -> None:
        """Abort the connection."""
        if self._transport is not None:
            self._transport.abort()


class _Protocol(asyncio.StreamReaderProtocol):
    """The protocol below asyncio's streams; `on_lost` is called before the connection is closed."""

    def __init__(self, reader: asyncio.StreamReader, on_lost: Callable[[], None]) -> None:
        super().__init__(reader, loop=asyncio.get_running_loop())
        self._on_lost = on_lost

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_lost()
        super().connection_lost(exc)


class Threaded(Held):
    """Serves a handler that is called with the socket, in a thread.

    Args:
        handler: the handler.
        connection: owned from here on; blocking for the handler.
        threads: the pool in which the handler runs.
        linger: seconds after the beginning of a drain until the handler reads the end, if no data waits.
    """

    def __init__(
        self,
        handler: Callable[[socket.socket], Any],
        connection: socket.socket,
        threads: Executor,
        linger: float,
    ) -> None:
        super().__init__(connection)
        self._handler = handler
        self._threads = threads
        self._linger = linger
        self._loop = asyncio.get_running_loop()

    async def hold(self) -> None:
        """Serve the connection until its handler ends, then close it."""
        self._connection.setblocking(True)
        try:
            await self._loop.run_in_executor(self._threads, self._serve)
        finally:
            self._connection.close()

    def _serve(self) -> None:
        with lending(self._connection):
            self._handler(self._connection)

    def drain(self) -> None:
        """End the handler's input after `linger` seconds."""
        self._loop.call_later(self._linger, self._end)

    def _end(self) -> None:
        with contextlib.suppress(OSError):  # it has ended
            (waiting,) = struct.unpack("i", ioctl(self._connection, FIONREAD, bytes(4)))
            if waiting:
                self.drain()
            else:
                self._connection.shutdown(socket.SHUT_RD)

    def abort(self) -> None:
        """Shut the connection down, so that a thread that waits for the client gets an error."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)


class Awaited(Held):
    """Serves an async handler that is called with the non-blocking socket."""

    def __init__(
        self, handler: Callable[[socket.socket], Awaitable[Any]], connection: socket.socket
    ) -> None:
        super().__init__(connection)
        self._handler = handler

    async def hold(self) -> None:
        """Serve the connection until its handler ends, then close it."""
        with self._connection, lending(self._connection):
            await self._handler(self._connection)

    def drain(self) -> None:
        """Do nothing: the handler can watch `sockact.draining`."""

    def abort(self) -> None:
        """Do nothing: the handler's task is cancelled."""
