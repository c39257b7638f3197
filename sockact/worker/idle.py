"""The detector of a service that has nothing to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Idle:
    """Detects that there was nothing to do for some time.

    Args:
        after: the seconds of that time.
        is_busy: returns whether there is something to do.
        on_idle: called with True when there was nothing for that time, and each time that it passes again;
            with False when there is something again.
    """

    def __init__(self, after: float, is_busy: Callable[[], bool], on_idle: Callable[[bool], None]) -> None:
        self._after = after
        self._is_busy = is_busy
        self._on_idle = on_idle
        self._reported = False
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._timer = self._loop.call_later(after, self._due)

    def changed(self) -> None:
        """Note a change; called often, so that no timer is moved here."""
        self._since = self._loop.time()
        if self._reported and self._is_busy():
            self._reported = False
            self._on_idle(False)

    def close(self) -> None:
        """Stop detecting."""
        self._timer.cancel()

    def _due(self) -> None:
        if self._is_busy():
            self._since = self._loop.time()
        left = self._since + self._after - self._loop.time()
        self._timer = self._loop.call_later(left if left > 0 else self._after, self._due)
        if left <= 0:
            self._reported = True
            self._on_idle(True)
