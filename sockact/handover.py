"""Connections on their way from one process to the next.

A draining worker gives each idle connection to its manager, by FDSTORE=1 under the name `CONNECTION`,
and does not care who that is. A supervisor passes them on at once, to a worker that serves, over a socket
which each worker gets under the name `SUPPLY`. Descriptors travel by SCM_RIGHTS, `BATCH` at a time; what
the client has sent meanwhile waits in the kernel, and it sees nothing of all this.

When the supervisor stops, nobody will be there to receive: it closes the supply first, then it says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from sockact.notify import Notifier

CONNECTION = "sockact.connection"
SUPPLY = "sockact.supply"

BATCH = 253
"""Descriptors that one datagram can carry: SCM_MAX_FD of the kernel, unix(7)."""


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
        willing: returns whether the manager takes any.
    """

    def __init__(self, notifier: Notifier, willing: Callable[[], bool]) -> None:
        self._notifier = notifier
        self.willing = willing
        self._offered: list[Movable] = []

    def offer(self, connection: Movable) -> None:
        """Give a connection away, with the others of this moment; it is told how that went."""
        if not self._offered:
            asyncio.get_running_loop().call_soon(self._give)
        self._offered.append(connection)

    def _give(self) -> None:
        offered = [each for each in self._offered if each.fileno() >= 0]  # the hammer may have closed some
        self._offered = []
        for start in range(0, len(offered), BATCH):
            batch = offered[start : start + BATCH]
            taken = self._notifier.store([each.fileno() for each in batch], CONNECTION)
            for connection in batch:
                if taken:
                    connection.moved()
                else:
                    connection.stays()


class Receiver:
    """Receives connections from a supervisor.

    Args:
        sock: the worker's end of the supply.
        arrived: called with each connection, non-blocking; takes it over.
    """

    def __init__(self, sock: socket.socket, arrived: Callable[[socket.socket], None]) -> None:
        self._sock = sock
        self._arrived = arrived
        self._loop = asyncio.get_running_loop()
        self.open = True
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self.receive)

    def receive(self) -> None:
        """Take all that has come."""
        while self.open:
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
            if not data:
                self.close()

    def close(self) -> None:
        """Receive no more."""
        if self.open:
            self.open = False
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()


class Supply:
    """The supervisor's end of what one worker receives connections from; closed with the worker."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)

    def send(self, descriptors: Sequence[int]) -> bool:
        """Return whether the worker gets copies of these."""
        try:
            socket.send_fds(self._ours, [b"c"], list(descriptors))
        except OSError:
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

    def pass_on(self, descriptors: Sequence[int], workers: Sequence[int]) -> None:
        """Give connections, and those that have waited, to `workers`, to each about as many."""
        homeless = [*self._homeless, *descriptors]
        supplies = [self.supplies[number] for number in workers if number in self.supplies]
        self._homeless = []
        for index, supply in enumerate(supplies):
            share = homeless[index :: len(supplies)]
            for start in range(0, len(share), BATCH):
                batch = share[start : start + BATCH]
                if supply.send(batch):
                    close_all(batch)
                else:
                    self._homeless += batch
        if not supplies:
            self._homeless = homeless
        if self._ended:
            self._drop()

    def end(self) -> None:
        """Take none any more: nobody will be there to receive them."""
        self._ended = True
        for supply in self.supplies.values():
            supply.end()
        self._drop()

    def forget(self, worker: int) -> None:
        """Close what a worker that has ended received from."""
        if (supply := self.supplies.pop(worker, None)) is not None:
            supply.close()

    def _drop(self) -> None:
        close_all(self._homeless)
        self._homeless = []


def close_all(descriptors: Sequence[int]) -> None:
    """Close connections that nobody wants; their clients see the end."""
    for fd in descriptors:
        os.close(fd)
