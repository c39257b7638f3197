"""The transfer of connections from one process to the next.

A draining worker offers each idle connection to its manager, by FDSTORE=1 under the name `CONNECTION`,
and keeps it, unread, until it is told that it was taken. A supervisor confirms it and passes it on at once,
to a worker that serves; both over a socket, the supply, which each worker gets under the name `SUPPLY`.
Descriptors travel by SCM_RIGHTS, `DATAGRAM_CAPACITY` at a time; what the client has sent meanwhile waits in
the kernel, and it sees nothing of all this.

A message over a supply is one byte. To a worker: `ARRIVING`, with connections; `RETIRE`; or how many of
the oldest batch that it has offered were taken. From a worker: how many of the oldest batch have arrived;
the kernel cuts off what a process that has run out of descriptors cannot receive. The end of a supply
means that nobody takes anything any more: the supervisor stops, or was killed. `RETIRE` with a text after
it is an order, see `protocols.worker_messages`; an older worker reads the first byte alone, and gets none.

A process without a supervisor, or a supervisor itself, keeps connections for its successor: it passes them
on among its sockets where it becomes its successor itself, and puts them into the manager's store (`store`)
when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import resource
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from sockact.protocols.worker_messages import (
    ENDING_ORDERS,
    KEEP,
    LISTENING,
    ORDER_LIMIT,
    SupervisorOrder,
)
from sockact.untrusted import ancillary

logger = logging.getLogger(__package__)

CONNECTION = "sockact.connection"
SUPPLY = "sockact.supply"

DATAGRAM_CAPACITY = ancillary.MAX_DESCRIPTORS
"""Connections in one batch, at most."""

KEPT = 4096
"""Connections kept for a process that gets them by LISTEN_FDS, at most: the list of all their names has to
fit into one string of that process's environment, 128 KiB (execve(2), MAX_ARG_STRLEN)."""

ARRIVING = 255
"""The byte that comes with connections; it is no number of them."""

RETIRE = 254
"""Tells a worker that it is replaced: the service goes on. With a text after it, it is an order."""

BATCHES_UNDER_WAY = 4
"""Batches on their way at a time: the queue of a manager holds 10, net.unix.max_dgram_qlen."""

RETRY_PAUSE = 0.02
"""Seconds until the next try to send what the kernel has refused. It refuses more descriptors on their
way than a user without privileges may have open in a process, whoever sends them (ETOOMANYREFS, unix(7)),
and nothing tells when some have arrived."""


OWN = 32
"""Descriptors that a process has for itself: streams, sockets to the manager, its loop, its statistics."""


def keepable() -> int:
    """Return how many connections may be kept for a process that gets them by LISTEN_FDS.

    On their way to the numbers which it expects, descriptors are copied beside each other.
    """
    free = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - OWN
    return max(0, min(KEPT, free // 4))


REFUSED_TIMEOUT = 2.0
"""Seconds for which the kernel may refuse to send a connection: its client waits meanwhile."""


class Movable(Protocol):
    """A connection between two requests, from which nothing is read any more."""

    def fileno(self) -> int:
        """Return its descriptor."""

    def on_moved(self) -> None:
        """Called when another process has it: give it up, and tell the client nothing."""

    def on_refused(self) -> None:
        """Called when nobody has taken it: go on with it."""


class HandoverSender:
    """Offers connections to the manager, in batches.

    Args:
        store: sends a batch of descriptors to the manager; returns whether they are on their way.
        confirms: whether the manager tells how many it has taken.

    Attributes:
        room: how many more the manager takes.
        lasting: whether it goes on when the manager had no room for some, since this process serves on.
    """

    def __init__(self, store: Callable[[Sequence[int]], bool], *, confirms: bool) -> None:
        self.lasting = False
        self._store = store
        self._confirms = confirms
        self.room: float = math.inf if confirms else 0
        self._when_closed: list[Callable[[], None]] = []
        self._offered: list[Movable] = []
        self._refused_since: float | None = None
        self._under_way: deque[list[Movable]] = deque()

    def when_closed(self, called: Callable[[], None]) -> None:
        """Call this when the manager takes none any more."""
        self._when_closed.append(called)

    def offer(self, connection: Movable) -> None:
        """Offer a connection, in one batch with others of this turn of the loop; it is told the outcome."""
        if not self._offered:
            asyncio.get_running_loop().call_soon(self._send)
        self._offered.append(connection)

    def taken(self, count: int) -> None:
        """Give up the first ones of the oldest batch, which the manager has; the others found no room."""
        if not self._under_way:
            return  # of a batch that was given up, or of none
        batch = self._under_way.popleft()
        for connection in batch[:count]:
            connection.on_moved()
        self._refuse(batch[count:])
        if batch[count:] and not self.lasting:
            self.limit(0)
        else:
            self._send()

    def limit(self, room: float) -> None:
        """Send no more than this from now on."""
        self.room = room
        if not room:
            self._send()
            for called in self._when_closed:
                called()

    def end(self) -> None:
        """Send none any more, and keep those that nobody has taken."""
        while self._under_way:
            self._refuse(self._under_way.popleft())
        self.limit(0)

    def _send(self) -> None:
        """Send what was offered, until so much is on its way that the manager's queue might be full."""
        while self._offered and len(self._under_way) < BATCHES_UNDER_WAY:
            size = int(min(self.room, DATAGRAM_CAPACITY)) or len(self._offered)
            # Some may be closed by now. Only these are asked: all that wait, each time, took longer than
            # the rest of a drain of thousands.
            batch = [each for each in self._offered[:size] if each.fileno() >= 0]
            del self._offered[:size]
            if not (batch and self.room):
                self._refuse(batch)
            elif self._store([each.fileno() for each in batch]):
                self._refused_since = None
                self.room -= len(batch)
                self._under_way.append(batch)
                if not self._confirms:
                    self.taken(len(batch))
            elif self._confirms and not self._refused_for_long():  # the end of the supply tells of that
                self._offered = batch + self._offered
                asyncio.get_running_loop().call_later(RETRY_PAUSE, self._send)
                break
            else:
                self._refuse(batch)

    def _refused_for_long(self) -> bool:
        """Note that the kernel has refused to send; return whether it has done so for too long."""
        now = asyncio.get_running_loop().time()
        if self._refused_since is None:
            self._refused_since = now
        return now - self._refused_since >= REFUSED_TIMEOUT

    def _refuse(self, connections: Sequence[Movable]) -> None:
        for connection in connections:
            connection.on_refused()


class HandoverReceiver:
    """Receives connections, orders and confirmations from a supervisor.

    Args:
        sock: the worker's end of the supply.
        arrived: called with each connection, non-blocking; takes it over.
        sender: offers connections to this supervisor.
        ordered: called with the name of each order that is not obeyed here, and has no number.
        numbered: called with the number of an order, by its name.
        supervisor_exited: called when the supply has ended.

    Attributes:
        retired: whether the supervisor has told this worker that it is replaced.
        listened_to: whether the supervisor sends orders.
        told: set when the supervisor has told this worker why it ends.
    """

    def __init__(
        self,
        sock: socket.socket,
        arrived: Callable[[socket.socket], None],
        sender: HandoverSender,
        ordered: Callable[[str], None] = lambda _: None,
        numbered: Mapping[str, Callable[[int], None]] | None = None,
        supervisor_exited: Callable[[], None] = lambda: None,
    ) -> None:
        self._sock = sock
        self._arrived = arrived
        self._sender = sender
        self._ordered = ordered
        self._numbered = numbered or {}
        self._supervisor_exited = supervisor_exited
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
        """Take one message; return whether there was any."""
        try:
            data, descriptors, _, _ = socket.recv_fds(
                self._sock, 1 + ORDER_LIMIT, DATAGRAM_CAPACITY, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return False
        except OSError:
            data, descriptors = b"", []
        if data[:1] != bytes([ARRIVING]):
            ancillary.close(descriptors)  # they belong to nothing
        if not data:
            self.close()
            self.told.set()
            self._supervisor_exited()
        elif data[0] == ARRIVING:
            self._confirm(len(descriptors))
            for fd in descriptors:
                self._arrive(fd)
        elif data == bytes([RETIRE]):
            self.retired = True
            self.told.set()
        elif data[0] == RETIRE:
            self._obey(SupervisorOrder.from_bytes(data[1:]))
        else:
            self._sender.taken(data[0])
        return True

    def _arrive(self, fd: int) -> None:
        """Take over a descriptor; it may be anything: another worker sent it, of older code perhaps."""
        try:
            connection = socket.socket(fileno=fd)
        except OSError as error:
            logger.warning("a descriptor that moved here is no connection: %s", error)
            ancillary.close([fd])
            return
        connection.setblocking(False)
        self._arrived(connection)

    def _obey(self, order: SupervisorOrder) -> None:
        if order.name == LISTENING:
            self.listened_to = True
        elif order.name == KEEP:
            self._sender.end()
        elif order.number is not None and order.name in self._numbered:
            self._numbered[order.name](order.number)
        else:
            self._ordered(order.name)
            if order.name in ENDING_ORDERS:
                self.told.set()

    def _confirm(self, count: int) -> None:
        """Tell how many have arrived, before anything is read from them: until then they are not ours."""
        with contextlib.suppress(OSError):  # the supervisor has gone, which the next read tells
            self._sock.send(bytes([count]))

    def close(self) -> None:
        """Receive no more, and send no more."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
            self._sender.end()
