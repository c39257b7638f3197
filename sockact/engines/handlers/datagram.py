"""The datagram engine calls a handler with each datagram; the handler may reply.

Several processes read from one socket, and each datagram goes to one of them. A process that drains stops
reading and answers what it has read; unread datagrams wait in the socket for the other processes.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sockact.config.settings import Settings
from sockact.engines.handlers.base import HandlerEngine
from sockact.engines.handlers.socketserver_adapter import Server
from sockact.lifecycle.tasks import cancel
from sockact.sockets.fds import Listener
from sockact.system import loop_tasks
from sockact.untrusted import ancillary

DATAGRAMS_PER_TURN = 16
"""Datagrams read in one turn of the loop; those left in the socket may go to another process."""

MAX_IN_FLIGHT = 256
"""Datagrams handled at a time; the others wait in the socket, which drops what it has no room for."""

MAX_DATAGRAM_BYTES = 65536
"""Bytes of the longest datagram, udp(7); a longer one on a Unix socket is truncated."""

logger = logging.getLogger(__package__)


class Port:
    """A datagram socket that is read while it is open, and written when it has room.

    Args:
        sock: the socket; made non-blocking, and not closed here.
        arrived: called with this port, the datagram and its sender.
    """

    def __init__(self, sock: socket.socket, arrived: Callable[[Port, bytes, Any], None]) -> None:
        self.sock = sock
        self.flushed = asyncio.Event()
        self.flushed.set()
        self._arrived = arrived
        self._open = False
        self._waiting: deque[tuple[bytes, Any]] = deque()
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        ancillary.refuse_descriptors(sock)

    def open(self) -> None:
        """Start reading."""
        self._open = True
        self._loop.add_reader(self.sock.fileno(), self._read)

    def close(self) -> None:
        """Stop reading."""
        self._open = False
        self._loop.remove_reader(self.sock.fileno())

    def read_waiting(self) -> None:
        """Read all datagrams that wait now, unless too many are in flight."""
        while self._open and self._take():
            pass

    def reply(self, address: Any, data: bytes) -> None:
        """Send a datagram, or queue it until the socket has room."""
        if address is None:
            logger.debug("a reply is lost: the sender is a Unix socket without a name")
            return
        # A value that is not bytes fails here, in the handler; in the queue it would block the others.
        self._waiting.append((bytes(memoryview(data)), address))
        self._write()

    def give_up(self) -> None:
        """Drop the replies that are not sent yet."""
        self._waiting.clear()
        self._write()

    def _read(self) -> None:
        for _ in range(DATAGRAMS_PER_TURN):
            if not (self._open and self._take()):
                return

    def _take(self) -> bool:
        """Read one datagram; return whether there may be another."""
        try:
            received = ancillary.receive(self.sock, MAX_DATAGRAM_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:  # an ICMP error about an earlier reply: its port is closed
            logger.debug("%s: %s", self.sock.getsockname(), error)
            return True
        ancillary.close(received.descriptors)
        self._arrived(self, received.data, received.address)
        return True

    def _write(self) -> None:
        while self._waiting:
            data, address = self._waiting[0]
            try:
                self.sock.sendto(data, address)
            except (BlockingIOError, InterruptedError):
                self.flushed.clear()
                self._loop.add_writer(self.sock.fileno(), self._write)
                return
            except OSError as error:
                logger.debug("a reply to %s is lost: %s", address, error)
            self._waiting.popleft()
        self._loop.remove_writer(self.sock.fileno())
        self.flushed.set()


class DatagramEngine(HandlerEngine):
    """Serves a handler of datagrams.

    Args:
        handler: `await handler(data, address, reply)`, or a class of socketserver; `reply(data)` sends
            an answer to the sender.
        kind: the kind of app: `datagram` or `requests`.
        listeners: datagram sockets; they stay open.
        settings: how to serve.
    """

    def __init__(
        self, handler: Callable[..., Any], kind: str, listeners: Sequence[Listener], settings: Settings
    ) -> None:
        super().__init__(handler, kind, settings)
        self._sockets = [listener.sock for listener in listeners if listener.sock is not None]
        self._ports: list[Port] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._full = self._held = False

    @property
    def in_flight(self) -> int:
        """Return the number of datagrams that are being handled."""
        return len(self._tasks)

    unfinished = in_flight

    @property
    def connections(self) -> int:
        """Return 0: datagrams have no connections."""
        return 0

    def accept(self) -> None:
        """Start reading."""
        self._ports = [Port(sock, self._arrived) for sock in self._sockets]
        for port in self._ports:
            port.open()

    def accept_waiting(self) -> None:
        """Read all that wait now, up to the limit: no other process will."""
        for port in self._ports:
            port.read_waiting()

    def hold(self) -> None:
        """Read nothing until `release`."""
        self._held = True
        for port in self._ports:
            port.close()

    def release(self) -> None:
        """Read again."""
        self._held = False
        self._open_if_free()

    def stop_accepting(self) -> None:
        """Stop reading."""
        self._draining = True
        for port in self._ports:
            port.close()

    async def wait_drained(self) -> None:
        """Wait until every datagram that was read is handled, and every reply is sent."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        for port in self._ports:
            await port.flushed.wait()

    async def abort(self) -> None:
        """Cancel the handlers that are left, and drop their replies."""
        for port in self._ports:
            port.give_up()
        if self._tasks:
            logger.warning("aborted: %d datagrams in flight", len(self._tasks))
            await cancel(self._tasks)

    def _arrived(self, port: Port, data: bytes, address: Any) -> None:
        task = loop_tasks.begin_app(self._handle(port, data, address), asyncio.get_running_loop())
        self._tasks.add(task)
        task.add_done_callback(self._handled)
        self._called()
        if len(self._tasks) >= MAX_IN_FLIGHT:
            self._full = True
            for each in self._ports:
                each.close()

    async def _handle(self, port: Port, data: bytes, address: Any) -> None:
        if self._kind == "datagram":
            await self._handler(data, address, partial(port.reply, address))
        else:
            answer = Server(self._handler, port.sock).answer
            await asyncio.get_running_loop().run_in_executor(self._threads, answer, data, address)

    def _handled(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._full and len(self._tasks) <= MAX_IN_FLIGHT // 2:
            self._full = False
            self._open_if_free()
        self._returned(task)

    def _open_if_free(self) -> None:
        if not (self._full or self._held or self._draining):
            for port in self._ports:
                port.open()
