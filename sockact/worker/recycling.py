"""The recycling of a worker: it asks for a replacement after a number of requests, or some time.

Each limit is exceeded by up to a tenth, so that workers which began together do not end together. The
worker asks again after another tenth: a manager in the middle of a reload ignores it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from sockact.protocols.counters import count


class Recycling:
    """Watches the limits of one worker.

    Args:
        max_requests: the number of requests that it answers; 0 for no limit.
        max_age: the seconds that it lives; 0 for no limit.
        on_limit: called with the reason when a limit is reached.
    """

    def __init__(self, max_requests: int, max_age: float, on_limit: Callable[[str], None]) -> None:
        self._max_requests = max_requests
        self._due = max_requests + random.randint(0, max_requests // 10)
        self._max_age = max_age
        self._on_limit = on_limit
        self._loop = asyncio.get_running_loop()
        self._born = self._loop.time()

    def begin(self) -> None:
        """Watch its age from now on: it is ready, and can be replaced."""
        if self._max_age:
            self._loop.call_later(self._max_age * random.uniform(1, 1.1), self._on_age)

    @property
    def counts(self) -> bool:
        """Return whether there is a limit for the number of requests."""
        return self._max_requests > 0

    def requested(self, requests: int) -> None:
        """Note the number of requests that it has begun to answer."""
        if self._max_requests and requests >= self._due:
            self._due = requests + self._max_requests // 10 + 1
            self._on_limit(count(requests, "request"))

    def _on_age(self) -> None:
        self._on_limit(f"{self._loop.time() - self._born:.3g} s old")
        self._loop.call_later(self._max_age / 10, self._on_age)
