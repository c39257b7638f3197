"""Connections on their way from one process to the next.

A draining worker gives each idle connection to its manager, by FDSTORE=1 under the name `CONNECTION`,
and keeps it, unread, until it hears that it was taken. A supervisor says so and passes it on at once, to a
worker that serves; both over a socket which each worker gets under the name `SUPPLY`. Descriptors travel by
SCM_RIGHTS, `BATCH` at a time; what the client has sent meanwhile waits in the kernel, and it sees nothing
of all this.

What goes over a supply is one byte. To a worker: `ARRIVING`, with connections, `RETIRE`, or how many of
the oldest batch that it has given were taken. From a worker: how many of the oldest batch have arrived;
the kernel cuts off what a process that has run out of descriptors cannot take. A supply that ends says
that nobody takes anything any more: the supervisor stops, or was killed.

To a worker that has asked for them (`Reporter.take_orders`) go orders, too: `RETIRE`, followed by a text.
Nothing that an app does to the signals of its process keeps an order away, and orders arrive one after the
other. An older worker does not ask for them, and reads the first byte alone; it gets signals instead.

    SIGTERM, SIGQUIT, SIGHUP    do what the signal does
    LISTENING                   the first: there will be more
    KEEP                        nobody takes connections any more
    EXITED pid                  another worker has ended

A process without a supervisor, or a supervisor itself, keeps connections for its successor: it passes them
on among its sockets where it becomes that itself, and gives them to the manager's store (`store`) when it
ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import resource
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from sockact.untrusted import ancillary

logger = logging.getLogger(__package__)

CONNECTION = "sockact.connection"
SUPPLY = "sockact.supply"

BATCH = 253
"""Descriptors that one datagram can carry: SCM_MAX_FD of the kernel, unix(7)."""

KEPT = 4096
"""Connections kept for a process that gets them by LISTEN_FDS, at most: what that process is told of all
their names has to fit into one string of its environment, 128 KiB (execve(2), MAX_ARG_STRLEN)."""

ARRIVING = 255
"""What comes with connections, and is no number of them."""

RETIRE = 254
"""Tells a worker that it is replaced: the service goes on. With a text after it, it is an order."""

LISTENING = "LISTENING"
KEEP = "KEEP"
EXITED = "EXITED"

ENDING = ("SIGTERM", "SIGQUIT")
"""Orders that end a worker."""

ORDER_LIMIT = 64
"""Bytes of an order, at most."""

WINDOW = 4
"""Batches on their way at a time: the queue of a manager holds 10, net.unix.max_dgram_qlen."""

AGAIN = 0.02
"""Seconds until the next try to send what the kernel has not let go. It refuses more descriptors on their
way than a user without privileges may have open in a process, whoever sends them (ETOOMANYREFS, unix(7)),
and nobody tells when some have arrived."""


def keepable() -> int:
    """Return how many connections may be kept for a process that gets them by LISTEN_FDS.

    On their way to the numbers which it expects, descriptors are copied beside each other.
    """
    return min(KEPT, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)


class Movable(Protocol):
    """A connection between two requests, which reads no more."""

    def fileno(self) -> int:
        """Return its descriptor."""

    def on_moved(self) -> None:
        """Give it up without a word to the client: another process has it."""

    def on_refused(self) -> None:
        """Go on with it: nobody has taken it."""


class Giver:
    """Gives connections to the manager, as many at a time as come together.

    Args:
        store: gives a batch of descriptors to the manager; returns whether they are on their way.
        confirms: whether the manager says what it has taken.

    Attributes:
        room: how many more the manager takes.
    """

    def __init__(self, store: Callable[[Sequence[int]], bool], *, confirms: bool) -> None:
        self._store = store
        self._confirms = confirms
        self.room: float = math.inf if confirms else 0
        self._closed: list[Callable[[], None]] = []
        self._offered: list[Movable] = []
        self._given: deque[list[Movable]] = deque()

    def when_closed(self, called: Callable[[], None]) -> None:
        """Call this when the manager takes none any more."""
        self._closed.append(called)

    def offer(self, connection: Movable) -> None:
        """Give a connection away, with the others of this moment; it is told how that went."""
        if not self._offered:
            asyncio.get_running_loop().call_soon(self._give)
        self._offered.append(connection)

    def taken(self, count: int) -> None:
        """Give up the first ones of the oldest batch, which the manager has; the others find no room."""
        batch = self._given.popleft()
        for connection in batch[:count]:
            connection.on_moved()
        if batch[count:]:
            self._keep(batch[count:])
            self.limit(0)
        else:
            self._give()

    def limit(self, room: float) -> None:
        """Give so many more at most."""
        self.room = room
        if not room:
            self._give()
            for called in self._closed:
                called()

    def end(self) -> None:
        """Give none any more, and keep what nobody has taken."""
        while self._given:
            self._keep(self._given.popleft())
        self.limit(0)

    def _give(self) -> None:
        """Give what was offered, until so much is on its way that the manager's queue might be full."""
        while self._offered and len(self._given) < WINDOW:
            size = int(min(self.room, BATCH)) or len(self._offered)
            # Some may be closed by now. Only these are asked: all that wait, each time, took longer than
            # the rest of a drain of thousands.
            batch = [each for each in self._offered[:size] if each.fileno() >= 0]
            del self._offered[:size]
            if not (batch and self.room):
                self._keep(batch)
            elif self._store([each.fileno() for each in batch]):
                self.room -= len(batch)
                self._given.append(batch)
                if not self._confirms:
                    self.taken(len(batch))
            elif self._confirms:  # that nobody is there will be heard over the supply
                self._offered = batch + self._offered
                asyncio.get_running_loop().call_later(AGAIN, self._give)
                break
            else:
                self._keep(batch)

    def _keep(self, connections: Sequence[Movable]) -> None:
        for connection in connections:
            connection.on_refused()


class Receiver:
    """Receives connections and orders from a supervisor, and hears which connections it has taken.

    Args:
        sock: the worker's end of the supply.
        arrived: called with each connection, non-blocking; takes it over.
        giver: what gives connections to this supervisor.
        ordered: called with each order that is none of those below.
        exited: called with the PID of each process that has ended.
        orphaned: called when the supply has ended.

    Attributes:
        retired: whether the supervisor has said that this worker is replaced.
        listened_to: whether it sends orders.
        told: set when it has said what is to become of this worker.
    """

    def __init__(
        self,
        sock: socket.socket,
        arrived: Callable[[socket.socket], None],
        giver: Giver,
        ordered: Callable[[str], None] = lambda _: None,
        exited: Callable[[int], None] = lambda _: None,
        orphaned: Callable[[], None] = lambda: None,
    ) -> None:
        self._sock = sock
        self._arrived = arrived
        self._giver = giver
        self._ordered = ordered
        self._exited = exited
        self._orphaned = orphaned
        self._loop = asyncio.get_running_loop()
        self._open = True
        self.retired = False
        self.listened_to = False
        self.told = asyncio.Event()
        sock.setblocking(False)
        # A batch in each turn of the loop: thousands of connections at once would keep it from all others.
        self._loop.add_reader(sock.fileno(), self._receive_batch)

    def receive(self) -> None:
        """Take all that has come."""
        while self._open and self._receive_batch():
            pass

    def _receive_batch(self) -> bool:
        """Take what has come together; return whether there was anything."""
        try:
            data, descriptors, _, _ = socket.recv_fds(
                self._sock, ORDER_LIMIT, BATCH, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return False
        except OSError:
            data, descriptors = b"", []
        if not data:
            self.close()
            self.told.set()
            self._orphaned()
        elif data[0] == ARRIVING:
            self._confirm(len(descriptors))
            for fd in descriptors:
                self._arrive(fd)
        elif data[0] == RETIRE:
            self._obey(data[1:].decode("ascii", "replace"))
        else:
            self._giver.taken(data[0])
        return True

    def _arrive(self, fd: int) -> None:
        """Take over what may be anything: who has given it is another worker, of older code perhaps."""
        try:
            connection = socket.socket(fileno=fd)
        except OSError as error:
            logger.warning("what moved here is no connection: %s", error)
            ancillary.close([fd])
            return
        connection.setblocking(False)
        self._arrived(connection)

    def _obey(self, order: str) -> None:
        if order == LISTENING:
            self.listened_to = True
        elif order == KEEP:
            self._giver.end()
        elif order.startswith(EXITED):
            self._exited(int(order.removeprefix(EXITED)))
        elif order:
            self._ordered(order)
            if order in ENDING:
                self.told.set()
        else:
            self.retired = True
            self.told.set()

    def _confirm(self, count: int) -> None:
        """Say how many have arrived, before anything is read from them: until then they are not ours."""
        with contextlib.suppress(OSError):  # the supervisor has gone, which the next read tells
            self._sock.send(bytes([count]))

    def close(self) -> None:
        """Receive no more, and give no more."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
            self._giver.end()
