"""When a worker asks for a replacement: after so many requests, or so much time.

Each limit is up to a tenth more, so that workers which began together do not end together. It asks again
after another tenth: a manager that is in the middle of a reload has no time for it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from sockact.protocols.counters import count


class Recycling:
    """Watches the limits of one worker.

    Args:
        max_requests: how many it answers; 0 for no limit.
        max_age: how many seconds it lives; 0 for no limit.
        ask: asks for a replacement, and says why.
    """

    def __init__(self, max_requests: int, max_age: float, ask: Callable[[str], None]) -> None:
        self._max_requests = max_requests
        self._due = max_requests + random.randint(0, max_requests // 10)
        self._max_age = max_age
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self._born = self._loop.time()

    def begin(self) -> None:
        """Watch its age from now on: it is ready, and may be replaced."""
        if self._max_age:
            self._loop.call_later(self._max_age * random.uniform(1, 1.1), self._grow_old)

    def requested(self, requests: int) -> None:
        """Take notice of how many requests it has begun to answer."""
        if self._max_requests and requests >= self._due:
            self._due = requests + self._max_requests // 10 + 1
            self._ask(count(requests, "request"))

    def _grow_old(self) -> None:
        self._ask(f"{self._loop.time() - self._born:.3g} s old")
        self._loop.call_later(self._max_age / 10, self._grow_old)
