"""Both ends of the page of memory in which a worker counts its work: see `statistics` for the layout.

The supervisor makes a page for each worker, or a process that serves alone for itself, and passes it under
the name `sockact.statistics`. In the service manager's store the worker's number and generation follow.

Rule of this file: an attacker who has broken into a worker can write anything into its page, and no other
worker has it.
"""

from __future__ import annotations

import logging
import mmap
import time
from bisect import bisect_left

from sockact.protocols.memory_page import MemoryPage
from sockact.protocols.statistics import (
    ABORTED,
    BEGUN,
    CLOSED,
    DELAYS,
    DURATION_BUCKETS,
    DURATION_SUMS,
    DURATIONS,
    EXCEPTIONS,
    FIRST,
    IDENTITY,
    LAG_SUM,
    LAYOUT,
    MOVED,
    OPENED,
    RECEIVED,
    RESPONSES,
    VERSION,
    WAIT_SUM,
    WEBSOCKETS_CLOSED,
    WEBSOCKETS_OPENED,
    WORDS,
    Reason,
    Statistics,
)
from sockact.sockets.fds import Listener
from sockact.system.sealed_memory import mapped

STATISTICS = "sockact.statistics"
"""The name of the memory."""

SIZE = mmap.PAGESIZE
assert (FIRST + WORDS) * 8 <= SIZE

MOST = 1 << 53
"""The largest number that is believed: a float is exact up to it."""

_DURATION_USEC = tuple(round(seconds * 1_000_000) for seconds in DURATIONS)
_FAST = _DURATION_USEC[0]
_DELAY_USEC = tuple(round(seconds * 1_000_000) for seconds in DELAYS)

logger = logging.getLogger(__package__)


class StatisticsPage(MemoryPage):
    """The memory of one worker, as it is read."""

    NAME, SIZE, VERSION = STATISTICS, SIZE, VERSION

    @classmethod
    def new(cls, number: int, generation: int) -> StatisticsPage:
        """Return new memory for a worker; raises OSError if there is none to be had."""
        # The identity is not the worker's number: after a restart another worker may have it.
        return cls._made(number, generation, time.monotonic_ns())

    @property
    def identity(self) -> int:
        """A number that no other worker of this service has or had since the machine was started."""
        return self._words[IDENTITY]

    def read(self) -> Statistics:
        """Return the numbers."""
        words = self._words[FIRST : FIRST + WORDS].tolist()
        return Statistics(tuple(min(word, MOST) for word in words))


class WorkerStatistics:
    """The worker's end: it counts. Only the event loop's thread calls this.

    Args:
        words: the memory in which it counts; None for memory of its own, which nobody reads.
    """

    __slots__ = ("_counts", "_words")

    def __init__(self, words: memoryview[int] | None = None) -> None:
        self._words = memoryview(bytearray(8 * WORDS)).cast("Q") if words is None else words[FIRST:][:WORDS]
        # Not read from the memory, which does not belong to this process alone.
        self._counts = [0] * WORDS

    @classmethod
    def passed(cls, listener: Listener) -> WorkerStatistics | None:
        """Return the worker's end of the memory that was passed; None if it cannot be used.

        The descriptor is closed.
        """
        try:
            words = mapped(listener.fd, SIZE)
            if words[LAYOUT] != VERSION:
                raise OSError(f"layout {words[LAYOUT]}: expected {VERSION}")
            return cls(words)
        except OSError as error:
            logger.info("this process's statistics are not counted: %s", error)
            return None
        finally:
            listener.close()

    def _add(self, place: int, number: int = 1) -> None:
        self._counts[place] = self._words[place] = self._counts[place] + number

    # Requests.

    def begin(self) -> float:
        """Note that a request begins; return the time, by the monotonic clock."""
        self._counts[BEGUN] = self._words[BEGUN] = self._counts[BEGUN] + 1
        return time.monotonic()

    def complete(self, status: int, since: float) -> None:
        """Note that a response is complete, to a request that has begun at `since`."""
        usec = int((time.monotonic() - since) * 1_000_000)
        counts, words, row = self._counts, self._words, status // 100 - 1
        place = RESPONSES + row * DURATION_BUCKETS
        if usec > _FAST:  # else it is the first bucket: the search takes a fifth of all this
            place += bisect_left(_DURATION_USEC, usec)
        counts[place] = words[place] = counts[place] + 1
        place = DURATION_SUMS + row
        counts[place] = words[place] = counts[place] + usec

    def abort(self) -> None:
        """Note that a request gets no complete response."""
        self._add(ABORTED)

    def fail(self) -> None:
        """Note that the app has failed in a request."""
        self._add(EXCEPTIONS)

    def waited(self, seconds: float) -> None:
        """Note how long a request has waited for a thread."""
        self._delayed(WAIT_SUM, seconds)

    def lagged(self, seconds: float) -> None:
        """Note how late a timer of the event loop was."""
        self._delayed(LAG_SUM, seconds)

    def _delayed(self, place: int, seconds: float) -> None:
        usec = max(int(seconds * 1_000_000), 0)
        self._add(place, usec)
        self._add(place + 1 + bisect_left(_DELAY_USEC, usec))

    @property
    def begun(self) -> int:
        """The number of requests that have begun."""
        return self._counts[BEGUN]

    # Connections.

    def open(self) -> None:
        """Note that a connection was accepted."""
        self._add(OPENED)

    def receive(self) -> None:
        """Note that a connection has come from another process."""
        self._add(RECEIVED)

    def move(self) -> None:
        """Note that another process has taken a connection."""
        self._add(MOVED)

    def close(self, reason: Reason) -> None:
        """Note that a connection is closed."""
        self._add(CLOSED + reason)

    def open_websocket(self) -> None:
        """Note that a connection carries a WebSocket from now on."""
        self._add(WEBSOCKETS_OPENED)

    def close_websocket(self) -> None:
        """Note that a connection with a WebSocket is closed, or gone."""
        self._add(WEBSOCKETS_CLOSED)
