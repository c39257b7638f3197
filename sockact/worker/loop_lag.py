"""The lag of the event loop: how late a timer is called, since something else kept the loop busy.

It is measured twice a second while requests come; a process that has nothing to do is not woken for it.
"""

from __future__ import annotations

import asyncio
import time

from sockact.protocols.statistics_page import WorkerStatistics

INTERVAL = 0.5
"""Seconds from one measurement to the next."""


class LoopLag:
    """Measures the lag of the running loop.

    Args:
        statistics: where it is noted.
    """

    def __init__(self, statistics: WorkerStatistics) -> None:
        self._statistics = statistics
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._expected = 0.0
        self._requested = False

    def requested(self) -> None:
        """Note that a request has come: called for each of them."""
        self._requested = True
        if self._timer is None:
            self._begin()

    def close(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _begin(self) -> None:
        self._requested = False
        # Not the loop's clock: it stands still during a turn.
        self._expected = time.monotonic() + INTERVAL
        self._timer = self._loop.call_later(INTERVAL, self._measure)

    def _measure(self) -> None:
        self._timer = None
        self._statistics.lagged(time.monotonic() - self._expected)
        if self._requested:
            self._begin()
