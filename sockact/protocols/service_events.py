"""The events in the life of a service that are counted: reloads, ends of workers, and their drains."""

from __future__ import annotations

import enum
from bisect import bisect_left
from typing import NamedTuple

from sockact.protocols.histogram import Histogram

DRAINS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
"""Upper bounds of the buckets for drains, in seconds."""


class Cause(enum.IntEnum):
    """The causes for which a worker has ended; the name is what metrics show."""

    REPLACED = 0
    """A reload, a stop or SIGTTOU has ended it, after its drain."""
    RECYCLED = 1
    """It had answered `max_requests`, or was as old as `max_worker_age`."""
    MEMORY = 2
    """It had more memory than `max_worker_memory`, or memory was short."""
    WATCHDOG = 3
    """It had not pinged for `worker_watchdog`, and was killed."""
    TIMEOUT = 4
    """It had not started, drained or ended in time, and was killed."""
    OOM = 5
    """The kernel has killed it, since the service or the machine had no memory left."""
    SIGNAL = 6
    """A signal has killed it: a crash, or a kill from outside."""
    ERROR = 7
    """It has exited by itself."""


RELOADS_OK, RELOADS_FAILED = range(2)
"""Places of the numbers; here and below."""

ENDS = 2
DRAIN_SUM = ENDS + len(Cause)
DRAIN_BUCKETS = DRAIN_SUM + 1
COUNT = DRAIN_BUCKETS + len(DRAINS) + 1


class ServiceEvents(NamedTuple):
    """The numbers of all events.

    Attributes:
        numbers: by their places.
    """

    numbers: tuple[int, ...] = (0,) * COUNT

    def reloads(self, *, ok: bool) -> int:
        """Return how many reloads have succeeded, or failed."""
        return self.numbers[RELOADS_OK if ok else RELOADS_FAILED]

    def ends(self, cause: Cause) -> int:
        """Return how many workers have ended for a cause."""
        return self.numbers[ENDS + cause]

    @property
    def drains(self) -> Histogram:
        """The times that workers have taken from the order to drain to their ends."""
        return Histogram(DRAINS, self.numbers[DRAIN_BUCKETS:COUNT], self.numbers[DRAIN_SUM] / 1_000_000)


def drained(seconds: float) -> dict[int, int]:
    """Return the numbers to be added for a drain, by their places."""
    usec = round(max(seconds, 0) * 1_000_000)
    return {DRAIN_SUM: usec, DRAIN_BUCKETS + bisect_left(DRAINS, seconds): 1}
