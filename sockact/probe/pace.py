"""The clock of a run, and the schedule of each client.

A schedule is fixed in advance: request n of a client is due at `offset + n / rate`, however late the client
is. Rejected: `sleep(1 / rate)` between requests, which loads a service least while it is slowest.
"""

import asyncio
import math


class Clock:
    """The time of one run, in seconds since its beginning, until `end`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._zero = self._loop.time()
        self._sleepers: set[asyncio.Future[None]] = set()
        self.ended: asyncio.Future[float] = self._loop.create_future()

    def now(self) -> float:
        """Return the seconds since the run began."""
        return self._loop.time() - self._zero

    def end(self) -> None:
        """End the run: no more requests begin, those in flight go on. A second call does nothing."""
        if not self.ended.done():
            self.ended.set_result(self.now())
        for sleeper in self._sleepers:
            _wake(sleeper)

    async def sleep_until(self, when: float) -> None:
        """Wait until `when` or until the end of the run, whichever is first."""
        if self.ended.done():
            return
        # A future and a timer, not wait_for(self.ended): this runs for each request, and raises nothing.
        sleeper: asyncio.Future[None] = self._loop.create_future()
        timer = self._loop.call_at(self._zero + when, _wake, sleeper)
        self._sleepers.add(sleeper)
        try:
            await sleeper
        finally:
            timer.cancel()
            self._sleepers.discard(sleeper)


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)


class Pace:
    """The schedule of one client.

    Args:
        clock: the time of the run; when it ends, so does the schedule.
        rate: requests a second; None if each is due as soon as the last has ended.
        offset: the time of the first request, so that clients of a kind do not send at the same times.
        requests: the number of requests; None for no end.

    `unsent` is the number of requests that were due before the end of the run and had not begun, because
    the client was still waiting for an earlier one: without this number, a stall at the end would hide
    them.
    """

    def __init__(self, clock: Clock, rate: float | None, offset: float, requests: int | None) -> None:
        self._clock = clock
        self._rate = rate
        self._offset = offset
        self._limit = math.inf if requests is None else requests
        self._count = 0
        self.unsent = 0

    async def next(self) -> float | None:
        """Wait until the next request is due, and return that time; None if there is none."""
        if self._count >= self._limit:
            return None
        due = None if self._rate is None else self._offset + self._count / self._rate
        if due is not None and due > self._clock.now():
            await self._clock.sleep_until(due)
            if self._clock.ended.done():
                return None
        else:
            # Answers and refusals on loopback come without suspension; other tasks must run too.
            await asyncio.sleep(0)
        if self._clock.ended.done():
            self.unsent = self._missed(due)
            return None
        self._count += 1
        return self._clock.now() if due is None else due

    def _missed(self, due: float | None) -> int:
        """Return the number of requests that were due when the run ended, from the one due at `due` on."""
        if due is None or self._rate is None or (late := self._clock.ended.result() - due) < 0:
            return 0
        return int(min(math.floor(late * self._rate) + 1, self._limit - self._count))
