"""Limits on the time that a client may take, and on the bytes that it may send.

    the client has to              within           or else
    begin its first request        header_timeout   closed without a response: many connect in advance
    complete the headers           header_timeout   408
    send more of a body            body_timeout     408; closed, if the response has begun
    read more of a response        write_timeout    reset
    begin another request          keep_alive       closed

Nothing here runs for each request: setting and cancelling a timer takes 0.8 us of the 16 that a small
request takes. Instead all connections are checked at intervals, and a client's time begins with the first
check that finds it in the same state. So it gets never less than the limit, and up to a fifth more.

The defaults are nginx's, which counts in the same way. Headers may have 64 KiB, more than nginx (32) and
Node (16) allow; bodies and connections have no limit, since only the app can know one.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from enum import Enum, auto
from typing import Any, NamedTuple, Self

from sockact.config.records import in_request
from sockact.config.settings import Settings
from sockact.sockets.kernel import unacknowledged
from sockact.system.hangup import disconnect

MIN_INTERVAL = 0.05
MAX_INTERVAL = 5.0
"""Least and most seconds between two checks: a check of 10,000 connections takes 25 ms."""

CONNECTIONS_PER_TURN = 200
"""Connections checked in one turn of the loop, which takes 0.5 ms."""

logger = logging.getLogger(__package__)


class Wait(Enum):
    """The next step that a client has to take."""

    BEGIN = auto()
    HEADERS = auto()
    BODY = auto()
    TAKE = auto()
    GO_ON = auto()


class Bounds(NamedTuple):
    """The limits that the settings give.

    Attributes:
        limits: seconds for each kind of wait.
        max_header_bytes: of one request; infinity for no limit.
        max_body_bytes: of one request; 0 for no limit.
    """

    limits: Mapping[Wait, float]
    max_header_bytes: float
    max_body_bytes: int

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the limits in the settings."""
        header = _seconds(settings.header_timeout)
        limits = {
            Wait.BEGIN: header,
            Wait.HEADERS: header,
            Wait.BODY: _seconds(settings.body_timeout),
            Wait.TAKE: _seconds(settings.write_timeout),
            Wait.GO_ON: settings.keep_alive,
        }
        return cls(limits, settings.max_header_bytes or math.inf, settings.max_body_bytes)

    @property
    def interval(self) -> float:
        """Seconds between two checks."""
        return min(max(min(self.limits.values()) / 10, MIN_INTERVAL), MAX_INTERVAL)


class Bounded(ABC):
    """A connection with a limit on the time that its client takes."""

    __slots__ = ("_since", "_wait")
    transport: Any

    def __init__(self) -> None:
        self._wait: tuple[Wait, object] | None = None
        self._since = 0.0

    def look(self, now: float, limits: Mapping[Wait, float]) -> None:
        """Check what the client has to do, and end the connection if it has taken too long."""
        unsent = self.unsent()
        if not unsent and self.transport.is_closing():
            # Only over TLS, where the transport closes when the client has everything, and does not count
            # encrypted bytes: a client that does not read a complete response gets here after `keep_alive`.
            unsent = unacknowledged(self.transport)
        # Acknowledged bytes are progress too: if the kernel's buffer is large, a slow client takes minutes
        # until there is room for more.
        wait = (Wait.TAKE, (unsent, unacknowledged(self.transport))) if unsent else self._waits()
        if wait != self._wait:
            self._wait, self._since = wait, now
        elif wait is None or now - self._since < limits[wait[0]]:
            return
        elif unsent:
            with in_request(self.request_id):
                logger.debug("aborted: %s: its client does not read", self.describe())
            self.on_stalled()
        else:
            self._overdue(wait[0])

    @abstractmethod
    def describe(self) -> str:
        """Describe the connection for a log line."""

    @property
    @abstractmethod
    def request_id(self) -> str:
        """Return the id of the request in flight; empty for none."""

    def unsent(self) -> int:
        """Return how many bytes the client has to take."""
        size: int = self.transport.get_write_buffer_size()
        return size

    def on_stalled(self) -> None:
        """Called when the client has not read for too long."""
        reset(self.transport)

    def _waits(self) -> tuple[Wait, object] | None:
        """Return the client's next step, with a value that changes when it has made progress."""
        return None

    def _overdue(self, wait: Wait) -> None:  # noqa: B027 - without a wait it is never called
        """End a connection whose client has taken too long."""


class Sweep:
    """Checks the connections of an engine at intervals, while there are any."""

    def __init__(self, bounds: Bounds, connections: Collection[Any]) -> None:
        self._bounds = bounds
        self._connections = connections
        self._due: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """Schedule the next check; called when a connection opens or closes."""
        if self._due is None and self._connections:
            self._due = asyncio.get_running_loop().call_later(self._bounds.interval, self._look)

    def _look(self) -> None:
        self._due = None
        self.wake()
        self._look_at(list(self._connections))

    def _look_at(self, connections: list[Any]) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in connections[:CONNECTIONS_PER_TURN]:
            if connection in self._connections:  # it may have ended in the pauses
                connection.look(now, self._bounds.limits)
        if rest := connections[CONNECTIONS_PER_TURN:]:
            loop.call_soon(self._look_at, rest)


def reset(transport: asyncio.Transport) -> None:
    """Reset a connection; after a close the kernel would keep unsent data, and retry for minutes."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            disconnect(sock)
    transport.abort()


def _seconds(limit: float | None) -> float:
    return math.inf if limit is None else limit
