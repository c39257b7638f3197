"""Notices that a service has had nothing to do for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Idle:
    """Watches whether there is anything to do.

    Args:
        after: seconds without anything to do.
        busy: returns whether there is something.
        told: called with True when there was nothing for so long, and each time so long again; and
            with False when there is something again.
    """

    def __init__(self, after: float, busy: Callable[[], bool], told: Callable[[bool], None]) -> None:
        self._after = after
        self._busy = busy
        self._told = told
        self._said = False
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._timer = self._loop.call_later(after, self._due)

    def changed(self) -> None:
        """Take notice of a change; called often, so that no timer is moved here."""
        self._since = self._loop.time()
        if self._said and self._busy():
            self._said = False
            self._told(False)

    def close(self) -> None:
        """Watch no more."""
        self._timer.cancel()

    def _due(self) -> None:
        if self._busy():
            self._since = self._loop.time()
        left = self._since + self._after - self._loop.time()
        self._timer = self._loop.call_later(left if left > 0 else self._after, self._due)
        if left <= 0:
            self._said = True
            self._told(True)
