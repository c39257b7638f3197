"""The announcements of a service: status and pings to its manager, answers to the callers of a reload."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from sockact.lifecycle.deadlines import EXTENSION
from sockact.protocols.control import Caller
from sockact.protocols.counters import Counters
from sockact.protocols.worker_messages import Reporter
from sockact.system import loop_tasks

STATUS_INTERVAL = 1.0
"""The least seconds between two status lines, and those between two extensions of a deadline."""

BARRIER_TIMEOUT = 5.0
"""Seconds to wait until the manager has read READY=1, before a caller is told so."""


class Announcer:
    """Repeats announcements for as long as they are due, and keeps them in order.

    Args:
        notifier: the notifier.
        text: returns the present status.
        counters: returns the counters that go with it.
        on_tick: called with each periodic announcement.
    """

    def __init__(
        self,
        notifier: Reporter,
        text: Callable[[], str],
        counters: Callable[[], Counters | None],
        on_tick: Callable[[], None],
    ) -> None:
        self._notifier = notifier
        self._text = text
        self._counters = counters
        self._on_tick = on_tick
        self._announced: tuple[str, Counters | None] = ("", None)
        self._due: asyncio.TimerHandle | None = None
        self._answering: asyncio.Task[None] | None = None

    def show(self) -> None:
        """Send the status, if it has changed."""
        now = self._text(), self._counters()
        if now != self._announced:
            self._announced = now
            self._notifier.status(*now)

    def repeat(self) -> None:
        """Send the status, though it has not changed."""
        self._announced = ("", None)
        self.show()

    def show_while_busy(self) -> None:
        """Send the status in a second, and then each second as long as a request is in flight."""
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(STATUS_INTERVAL, self._show_again)

    @contextlib.asynccontextmanager
    async def extending(self, limit: float | None) -> AsyncIterator[None]:
        """Send the status and, up to `limit` seconds, ask for more time while the body runs."""
        loop = asyncio.get_running_loop()
        deadline = None if limit is None else loop.time() + limit

        async def tick() -> None:
            while True:
                left = EXTENSION if deadline is None else min(EXTENSION, deadline - loop.time())
                if left > 0:
                    self._notifier.extend(left)
                self.show()
                await asyncio.sleep(STATUS_INTERVAL)

        ticking = loop_tasks.begin(tick())
        try:
            yield
        finally:
            ticking.cancel()

    async def ping(self) -> None:
        """Ping the manager's watchdog, if it has one, until cancelled."""
        interval = self._notifier.watchdog_interval
        while interval:
            self._notifier.ping()
            self._on_tick()
            await asyncio.sleep(interval)

    def answer(self, callers: Sequence[Caller], ok: bool, text: str) -> None:
        """Send the callers a result, once the manager has read the notifications before it.

        A caller that ends while systemd still reads `reloading` leaves the unit there (252, 257),
        and one that is told early may look early.
        """
        if callers:
            answer = self._answer_after_barrier(callers, ok, text)
            self._answering = loop_tasks.begin(answer)

    async def close(self) -> None:
        """Stop announcing, once the last answer is sent."""
        if self._due is not None:
            self._due.cancel()
        if self._answering is not None:
            await self._answering

    def _show_again(self) -> None:
        self._due = None
        self.show()
        self._on_tick()
        counters = self._counters()
        if counters is not None and counters.in_flight:
            self.show_while_busy()

    async def _answer_after_barrier(self, callers: Sequence[Caller], ok: bool, text: str) -> None:
        # It may be impossible to start a thread: an early answer is better than none.
        with contextlib.suppress(RuntimeError):
            await loop_tasks.in_thread(self._notifier.barrier, BARRIER_TIMEOUT)
        for caller in callers:
            caller.answer(ok, text)
