"""How long a client may take, and how much it may send.

    a client that is to            has              and then
    begin its first request        header_timeout   is closed, without a word: many connect in advance
    end the headers it has begun   header_timeout   408
    send more of a body            body_timeout     408; closed, if the response has begun
    take more of what was written  write_timeout    is reset
    begin another request          keep_alive       is closed

Nothing here runs for each request: a timer that is set and cancelled takes 0.8 us of the 16 which a small
request takes. Instead all connections are looked at once in a while, and a client's time begins with the
first look that sees it wait for the same: it has never less than said, and up to a fifth more.

The defaults are nginx's, which counts in the same way. Headers may have 64 KiB, more than nginx (32) and
Node (16) let through; bodies and connections have no limit, since only the app can know one.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Self

from sockact.config.settings import Settings
from sockact.sockets.kernel import unacknowledged
from sockact.system.hangup import disconnect

MIN_INTERVAL = 0.05
MAX_INTERVAL = 5.0
"""Seconds between two looks, at least and at most: a look at 10,000 connections takes 25 ms."""

CONNECTIONS_PER_TURN = 200
"""Connections looked at without a pause, that is for 0.5 ms."""

logger = logging.getLogger(__package__)


class Wait(Enum):
    """What a client is waited for to do."""

    BEGIN = auto()
    HEADERS = auto()
    BODY = auto()
    TAKE = auto()
    GO_ON = auto()


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the settings say.

    Attributes:
        limits: seconds that each wait may take.
        max_header_bytes: of one request; infinity for no limit.
        max_body_bytes: of one request; 0 for no limit.
    """

    limits: Mapping[Wait, float]
    max_header_bytes: float
    max_body_bytes: int

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Take them from the settings."""
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
        """Seconds between two looks."""
        return min(max(min(self.limits.values()) / 10, MIN_INTERVAL), MAX_INTERVAL)


class Bounded(ABC):
    """A connection whose client may be waited for."""

    transport: asyncio.Transport
    _wait: tuple[Wait, object] | None = None
    _since = 0.0

    def look(self, now: float, limits: Mapping[Wait, float]) -> None:
        """See what it waits for, and end it when it has waited too long."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent and self.transport.is_closing():
            # Over TLS, where it is closed only when the client has it all, and does not count what is
            # encrypted: who does not read a response that is complete gets here after `keep_alive`.
            unsent = unacknowledged(self.transport)
        # What the peer has acknowledged is progress too: where the kernel's buffer is large, a slow client
        # takes minutes until there is room for more.
        wait = (Wait.TAKE, (unsent, unacknowledged(self.transport))) if unsent else self._waits()
        if wait != self._wait:
            self._wait, self._since = wait, now
        elif wait is None or now - self._since < limits[wait[0]]:
            return
        elif unsent:
            logger.debug("aborted: %s: its client does not read", self.describe())
            reset(self.transport)
        else:
            self._overdue(wait[0])

    @abstractmethod
    def describe(self) -> str:
        """Say for a log line what the connection is doing."""

    def _waits(self) -> tuple[Wait, object] | None:
        """Return what the client is to do, with a value that changes when it has done some of it."""
        return None

    def _overdue(self, wait: Wait) -> None:  # noqa: B027 - one that waits for nothing is never overdue
        """End a connection whose client has not done it."""


class Sweep:
    """Looks at the connections of an engine, as long as there are any."""

    def __init__(self, bounds: Bounds, connections: Collection[Any]) -> None:
        self._bounds = bounds
        self._connections = connections
        self._due: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """Look again after a while; called when a connection comes or goes."""
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
    """End a connection at once; else the kernel would keep what was not sent, and try for minutes."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            disconnect(sock)
    transport.abort()


def _seconds(limit: float | None) -> float:
    return math.inf if limit is None else limit
