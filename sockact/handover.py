"""Connections on their way from one process to the next.

A draining worker gives each idle connection to its manager, by FDSTORE=1 under the name `CONNECTION`,
and keeps it, unread, until it hears that it was taken. A supervisor says so and passes it on at once, to a
worker that serves; both over a socket which each worker gets under the name `SUPPLY`. Descriptors travel by
SCM_RIGHTS, `BATCH` at a time; what the client has sent meanwhile waits in the kernel, and it sees nothing
of all this.

A supply that ends says that nobody takes anything any more: the supervisor stops, or was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from sockact.notify import Notifier

CONNECTION = "sockact.connection"
SUPPLY = "sockact.supply"

BATCH = 253
"""Descriptors that one datagram can carry: SCM_MAX_FD of the kernel, unix(7)."""

WINDOW = 4
"""Batches on their way at a time: the queue of a manager holds 10, net.unix.max_dgram_qlen."""

ARRIVES = b"a"
"""On a supply: here are connections."""

TAKEN = b"t"
"""On a supply: the oldest of the batches that the worker has given was taken."""


class Movable(Protocol):
    """A connection between two requests, which reads no more."""

    def fileno(self) -> int:
        """Return its descriptor."""

    def moved(self) -> None:
        """Give it up without a word to the client: another process has it."""

    def stays(self) -> None:
        """Go on with it: nobody has taken it."""


class Giver:
    """Gives connections to the manager, as many at a time as come together.

    Args:
        notifier: the way to the manager.

    Attributes:
        willing: whether the manager takes any.
    """

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self.willing = True
        self._offered: list[Movable] = []
        self._given: deque[list[Movable]] = deque()

    def offer(self, connection: Movable) -> None:
        """Give a connection away, with the others of this moment; it is told how that went."""
        if not self._offered:
            asyncio.get_running_loop().call_soon(self._give)
        self._offered.append(connection)

    def taken(self) -> None:
        """Give up the oldest of the batches: the manager has it."""
        for connection in self._given.popleft():
            connection.moved()
        self._give()

    def end(self) -> None:
        """Keep what nobody has taken."""
        self.willing = False
        while self._given:
            self._keep(self._given.popleft())
        self._give()

    def _give(self) -> None:
        """Give what was offered, until so much is on its way that the manager's queue might be full."""
        self._offered = [each for each in self._offered if each.fileno() >= 0]  # some may be closed by now
        while self._offered and len(self._given) < WINDOW:
            batch = self._offered[:BATCH]
            del self._offered[:BATCH]
            if self.willing and self._notifier.store([each.fileno() for each in batch], CONNECTION):
                self._given.append(batch)
            else:
                self._keep(batch)

    def _keep(self, connections: Sequence[Movable]) -> None:
        for connection in connections:
            connection.stays()


class Receiver:
    """Receives connections from a supervisor, and hears which it has taken.

    Args:
        sock: the worker's end of the supply.
        arrived: called with each connection, non-blocking; takes it over.
        giver: what gives connections to this supervisor.
    """

    def __init__(self, sock: socket.socket, arrived: Callable[[socket.socket], None], giver: Giver) -> None:
        self._sock = sock
        self._arrived = arrived
        self._giver = giver
        self._loop = asyncio.get_running_loop()
        self._open = True
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self.receive)

    def receive(self) -> None:
        """Take all that has come."""
        while self._open:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._sock, 1, BATCH, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except OSError:
                data, descriptors = b"", []
            for fd in descriptors:
                connection = socket.socket(fileno=fd)
                connection.setblocking(False)
                self._arrived(connection)
            if data == TAKEN:
                self._giver.taken()
            elif not data:
                self.close()

    def close(self) -> None:
        """Receive no more, and give no more."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
            self._giver.end()


class Supply:
    """The supervisor's end of what one worker receives connections from; closed with the worker."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)

    def pass_on(self, descriptors: Sequence[int]) -> bool:
        """Return whether the worker gets copies of these."""
        try:
            socket.send_fds(self._ours, [ARRIVES], list(descriptors))
        except OSError:
            return False
        return True

    def confirm(self) -> bool:
        """Return whether the worker learns that what it gave was taken; if not, it keeps it."""
        try:
            self._ours.send(TAKEN)
        except OSError:
            self.end()
            return False
        return True

    def end(self) -> None:
        """Tell the worker that nobody takes what it would give away."""
        with contextlib.suppress(OSError):
            self._ours.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give both ends up."""
        self._ours.close()
        self.theirs.close()


class Exchange:
    """Spreads connections over a supervisor's workers; those that nobody takes yet wait here."""

    def __init__(self) -> None:
        self.supplies: dict[int, Supply] = {}
        self._homeless: list[int] = []
        self._ended = False

    def take(self, descriptors: Sequence[int], giver: int) -> None:
        """Take the connections that a worker has given; they wait until they are passed on."""
        if not self._ended and giver in self.supplies and self.supplies[giver].confirm():
            self._homeless += descriptors
        else:
            close_all(descriptors)  # copies: the worker keeps them

    def pass_on(self, workers: Sequence[int]) -> None:
        """Give the connections that wait to `workers`, to each about as many."""
        homeless = self._homeless
        supplies = [self.supplies[number] for number in workers if number in self.supplies]
        self._homeless = []
        for index, supply in enumerate(supplies):
            share = homeless[index :: len(supplies)]
            for start in range(0, len(share), BATCH):
                batch = share[start : start + BATCH]
                if supply.pass_on(batch):
                    close_all(batch)
                else:
                    self._homeless += batch
        if not supplies:
            self._homeless = homeless

    def end(self) -> None:
        """Take none any more: nobody will be there to receive them."""
        self._ended = True
        for supply in self.supplies.values():
            supply.end()
        close_all(self._homeless)
        self._homeless = []

    def forget(self, worker: int) -> None:
        """Close what a worker that has ended received from."""
        if (supply := self.supplies.pop(worker, None)) is not None:
            supply.close()


def close_all(descriptors: Sequence[int]) -> None:
    """Close what this process does not want, or has passed on."""
    for fd in descriptors:
        os.close(fd)
