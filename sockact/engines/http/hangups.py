"""Tells when clients close connections from which nothing is read: an event loop would not notice.

The kernel reports it by an epoll of our own, which the loop watches. Source: epoll_ctl(2), EPOLLRDHUP.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from typing import Protocol

from sockact.system import forks

_FOR_A_HALF = select.EPOLLRDHUP | select.EPOLLONESHOT
_FOR_ALL = select.EPOLLHUP | select.EPOLLERR


class UnreadConnection(Protocol):
    """A connection from which nothing is read."""

    def fileno(self) -> int:
        """Return its descriptor."""

    def on_hung_up(self, *, entirely: bool) -> None:
        """Called when the client has closed its side, or all of the connection."""


class Hangups:
    """Watches connections from which nothing is read."""

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._held: dict[int, UnreadConnection] = {}
        self._numbers: dict[UnreadConnection, int] = {}

    def fileno(self) -> int:
        """Return the descriptor of the epoll; negative if there is none."""
        return -1 if self._epoll is None else self._epoll.fileno()

    def watch(self, connection: UnreadConnection) -> None:
        """Tell this connection once when its client closes it."""
        if self._epoll is None and not self._begin():
            return
        fd = connection.fileno()
        if fd >= 0 and connection not in self._numbers:
            self._held[fd] = connection
            self._numbers[connection] = fd
            assert self._epoll is not None
            with contextlib.suppress(FileExistsError):  # of one that was closed without our knowledge
                self._epoll.register(fd, _FOR_A_HALF)

    def _begin(self) -> bool:
        """Make the epoll; return False if descriptors have run out: then nothing tells."""
        try:
            self._epoll = select.epoll()
        except OSError:
            return False
        forks.keep(self)
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._look)
        return True

    def forget(self, connection: UnreadConnection) -> None:
        """Watch a connection no more; best before its descriptor is closed."""
        fd = self._numbers.pop(connection, None)
        if fd is not None and self._held.get(fd) is connection:
            self._stop(fd)

    def _look(self) -> None:
        assert self._epoll is not None
        for fd, events in self._epoll.poll(0):
            connection = self._held.get(fd)
            self._stop(fd)
            if connection is not None:
                self._numbers.pop(connection, None)
                connection.on_hung_up(entirely=bool(events & _FOR_ALL))

    def _stop(self, fd: int) -> None:
        self._held.pop(fd, None)
        if self._epoll is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)
