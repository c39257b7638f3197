"""The statistics of a worker: their layout in memory, and a snapshot of them.

A worker counts in a page of memory that its supervisor, or the process itself if it serves alone, has made
and can read at any moment, without asking: while the worker hangs, and after it was killed. Nobody else has
that page. All but the first four of its words of 8 bytes are written by the worker, each of them always
grows, and nothing is locked: a reader may see one request more in one word than in another.

    LAYOUT, NUMBER, GENERATION, IDENTITY     written by the process that makes the page
    BEGUN, ABORTED, EXCEPTIONS               requests; those in flight are begun, and neither of the others
    OPENED, RECEIVED, MOVED                  connections accepted, come from another process, gone to one
    WEBSOCKETS_OPENED, WEBSOCKETS_CLOSED     connections that carry a WebSocket
    CLOSED                                   connections closed, by reason
    DURATION_SUMS, RESPONSES                 responses by status class: microseconds; numbers by duration
    LAG_SUM, LAGS, WAIT_SUM, WAITS           the same for lags of the event loop, and waits for a thread

Who counts and who reads is in `statistics_page`. The supervisor reads for metrics, and to compare a canary
with the others: what a worker writes decides about nothing else than whether new code takes over.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

from sockact.protocols.histogram import Histogram

DURATIONS = (
    *(0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0),
)
"""Upper bounds of the buckets for durations, in seconds; one without a bound follows.

They lie close enough for a quantile to be right within a fifth."""

DELAYS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The same for delays of the event loop, and for waits for a thread."""


class Reason(enum.IntEnum):
    """The reasons for which a connection was closed; the name is what metrics show."""

    CLIENT = 0
    """The client has closed it, or gone."""
    COMPLETE = 1
    """The last response was complete, as HTTP/1.0 or `Connection: close` has it, or a handler has ended."""
    ERROR = 2
    """The input was no HTTP, or the app has failed amid a response."""
    TIMEOUT = 3
    """The client was too slow, or silent."""
    DRAIN = 4
    """A drain has closed it, after its grace."""
    ABORTED = 5
    """The drain timeout was over."""
    EXIT = 6
    """The worker has ended with it: a crash, or SIGKILL."""


CLASSES = range(1, 6)
"""The status classes, 1xx to 5xx."""

DURATION_BUCKETS, DELAY_BUCKETS = len(DURATIONS) + 1, len(DELAYS) + 1

LAYOUT, NUMBER, GENERATION, IDENTITY = range(4)
FIRST = 4
"""The first word that a worker writes."""

BEGUN, ABORTED, EXCEPTIONS, OPENED, RECEIVED, MOVED, WEBSOCKETS_OPENED, WEBSOCKETS_CLOSED = range(8)
"""Places of words from the first on that a worker writes; here and below."""

CLOSED = 8
DURATION_SUMS = CLOSED + len(Reason)
LAG_SUM = DURATION_SUMS + len(CLASSES)
LAGS = LAG_SUM + 1
WAIT_SUM = LAGS + DELAY_BUCKETS
WAITS = WAIT_SUM + 1
RESPONSES = WAITS + DELAY_BUCKETS
WORDS = RESPONSES + len(CLASSES) * DURATION_BUCKETS

VERSION = 1
"""The version of this layout: other code may read it, after a reload or a restart."""


class Statistics(NamedTuple):
    """The numbers of one worker, or of several, at one moment.

    The difference of two snapshots of the same worker is what has happened between them.

    Attributes:
        words: what a worker writes.
    """

    words: tuple[int, ...] = (0,) * WORDS

    def plus(self, other: Statistics) -> Statistics:
        """Return the sums."""
        return Statistics(tuple(map(int.__add__, self.words, other.words)))

    def since(self, earlier: Statistics) -> Statistics:
        """Return the differences from an earlier snapshot; below 0 nowhere."""
        pairs = zip(self.words, earlier.words, strict=True)
        return Statistics(tuple(max(now - then, 0) for now, then in pairs))

    def ended(self) -> Statistics:
        """Return the numbers of a worker that has ended: what was in flight, and open, ended with it."""
        words = list(self.words)
        words[ABORTED] += self.in_flight
        words[CLOSED + Reason.EXIT] += self.connections
        words[WEBSOCKETS_CLOSED] += self.websockets
        return Statistics(tuple(words))

    @property
    def begun(self) -> int:
        """The number of requests that have begun."""
        return self.words[BEGUN]

    @property
    def responses(self) -> tuple[int, ...]:
        """The numbers of complete responses, from 1xx to 5xx. An accepted WebSocket counts as 1xx."""
        return tuple(self.durations(each).count for each in CLASSES)

    @property
    def aborted(self) -> int:
        """The number of requests that have got no complete response: the client or the worker has gone."""
        return self.words[ABORTED]

    @property
    def exceptions(self) -> int:
        """The number of requests in which the app has failed; most are among the responses 5xx too."""
        return self.words[EXCEPTIONS]

    @property
    def in_flight(self) -> int:
        """The number of requests without a complete response."""
        return max(self.begun - sum(self.words[RESPONSES:WORDS]) - self.aborted, 0)

    def durations(self, *classes: int) -> Histogram:
        """Return the durations of responses, from the request's head to the last byte of the response.

        Args:
            classes: status classes, from 1 to 5; all, if none is given.
        """
        chosen = [each - 1 for each in classes or CLASSES]
        rows = [self.words[RESPONSES + each * DURATION_BUCKETS :][:DURATION_BUCKETS] for each in chosen]
        usec = sum(self.words[DURATION_SUMS + each] for each in chosen)
        return Histogram(DURATIONS, tuple(map(sum, zip(*rows, strict=True))), usec / 1_000_000)

    @property
    def loop_lag(self) -> Histogram:
        """The lags of the event loop: how late its timers were, measured while there are requests."""
        return Histogram(DELAYS, self.words[LAGS:WAIT_SUM], self.words[LAG_SUM] / 1_000_000)

    @property
    def thread_wait(self) -> Histogram:
        """The times for which requests to a WSGI app have waited for a thread."""
        return Histogram(DELAYS, self.words[WAITS:RESPONSES], self.words[WAIT_SUM] / 1_000_000)

    @property
    def connections(self) -> int:
        """The number of open connections."""
        gone = self.moved + sum(self.words[CLOSED:DURATION_SUMS])
        return max(self.words[OPENED] + self.received - gone, 0)

    @property
    def opened(self) -> int:
        """The number of connections that were accepted."""
        return self.words[OPENED]

    @property
    def received(self) -> int:
        """The number of connections that have come from another process."""
        return self.words[RECEIVED]

    @property
    def moved(self) -> int:
        """The number of connections that another process has taken."""
        return self.words[MOVED]

    @property
    def websockets(self) -> int:
        """The number of open connections that carry a WebSocket."""
        return max(self.words[WEBSOCKETS_OPENED] - self.words[WEBSOCKETS_CLOSED], 0)

    def closed(self, reason: Reason) -> int:
        """Return the number of connections that were closed for a reason."""
        return self.words[CLOSED + reason]


def total(every: Sequence[Statistics]) -> Statistics:
    """Return the sums."""
    words = zip(*(each.words for each in every), strict=True)
    return Statistics(tuple(map(sum, words))) if every else Statistics()
