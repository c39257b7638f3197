"""The time by which a fleet decides, and the timer for its next deadline.

Where the service was frozen, by the freezer of its control group or with its whole machine, all deadlines
have passed when it goes on, though nobody could keep them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from sockact.supervisor.fleet import Fleet

LATE = 0.5
"""Seconds after the time of a timer from which this process cannot have run: its container was frozen, for
example. Its workers were, too, and what they have said may be unread."""

EARLY = 1.0
"""Seconds before a deadline at which this process looks at the clock, too: else a service that was frozen
until less than `LATE` after it would seem to have missed it. A worker that is in time has been heard of by
then, since it pings in half of what it may take."""

logger = logging.getLogger(__package__)


class FleetClock:
    """Tells the time, and calls the supervisor when a deadline of the fleet has come.

    Args:
        fleet: has the deadlines, and is told of time that did not count.
        on_due: called when the next one has come.
    """

    def __init__(self, fleet: Fleet, on_due: Callable[[], None]) -> None:
        self._fleet = fleet
        self._on_due = on_due
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        self._ran = self._loop.time()

    def now(self) -> float:
        """Return the time; where this process did not run for a while, its workers get as much more."""
        now = self._loop.time()
        if self._due is not None and now - self._due > LATE:
            lost = now - self._ran
            logger.warning("this process did not run for up to %.1f s: workers get more time", lost)
            self._fleet.postpone(lost)
            self._due = None
        self._ran = now
        return now

    def wake(self) -> None:
        """Call `on_due` at the next deadline of the fleet, which may have changed."""
        if self._timer is not None:
            self._timer.cancel()
        self._due = self._fleet.deadline()
        self._timer = None
        if self._due is not None:
            if (early := self._due - EARLY) > self._loop.time():
                self._due = early
            self._timer = self._loop.call_at(self._due, self._on_due)
