"""What a service says while it lives: status and pings to its manager, answers to callers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from sockact.protocols.control import Caller
from sockact.protocols.counters import Counters
from sockact.protocols.worker_messages import Reporter

TICK = 1.0
"""Seconds between two status lines at most, and between two extensions of a deadline."""

EXTENSION = 10.0
"""Seconds asked for by one EXTEND_TIMEOUT_USEC. The loop that works sends them, so a loop that
hangs asks for nothing, and the manager's own timeout ends it."""

BARRIER_TIMEOUT = 5.0
"""Seconds to wait until the manager has read READY=1, before a caller is told so."""


class Announcer:
    """Says what has to be said again and again, or in an order.

    Args:
        notifier: the voice to the manager.
        text: returns the status as it is now.
        counters: returns what goes with it.

    Attributes:
        beside: called each time that it speaks by itself.
    """

    def __init__(
        self, notifier: Reporter, text: Callable[[], str], counters: Callable[[], Counters | None]
    ) -> None:
        self.beside: Callable[[], None] = lambda: None
        self._notifier = notifier
        self._text = text
        self._counters = counters
        self._said: tuple[str, Counters | None] = ("", None)
        self._due: asyncio.TimerHandle | None = None
        self._answering: asyncio.Task[None] | None = None

    def show(self) -> None:
        """Show the status, if it has changed."""
        now = self._text(), self._counters()
        if now != self._said:
            self._said = now
            self._notifier.status(*now)

    def show_while_busy(self) -> None:
        """Show the status in a second, and then once a second as long as a request is in flight."""
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(TICK, self._show_again)

    @contextlib.asynccontextmanager
    async def extending(self, limit: float | None) -> AsyncIterator[None]:
        """While the body runs, ask for more time as long as `limit` allows, and show the status."""
        loop = asyncio.get_running_loop()
        deadline = None if limit is None else loop.time() + limit

        async def tick() -> None:
            while True:
                left = EXTENSION if deadline is None else min(EXTENSION, deadline - loop.time())
                if left > 0:
                    self._notifier.extend(left)
                self.show()
                await asyncio.sleep(TICK)

        ticking = loop.create_task(tick())
        try:
            yield
        finally:
            ticking.cancel()

    async def ping(self) -> None:
        """Ping the manager's watchdog, if it has one, until cancelled."""
        interval = self._notifier.watchdog_interval
        while interval:
            self._notifier.ping()
            self.beside()
            await asyncio.sleep(interval)

    def answer(self, callers: Sequence[Caller], ok: bool, text: str) -> None:
        """Tell the callers a result, but not before the manager has read what was said to it.

        A caller that ends while systemd still reads `reloading` leaves the unit there (252, 257),
        and one that is told early may look early.
        """
        if callers:
            answer = self._answer_after_barrier(callers, ok, text)
            self._answering = asyncio.get_running_loop().create_task(answer)

    async def close(self) -> None:
        """Say no more, when the last answer is given."""
        if self._due is not None:
            self._due.cancel()
        if self._answering is not None:
            await self._answering

    def _show_again(self) -> None:
        self._due = None
        self.show()
        self.beside()
        counters = self._counters()
        if counters is not None and counters.in_flight:
            self.show_while_busy()

    async def _answer_after_barrier(self, callers: Sequence[Caller], ok: bool, text: str) -> None:
        # No thread may be had: an early answer is better than none.
        with contextlib.suppress(RuntimeError):
            await asyncio.to_thread(self._notifier.barrier, BARRIER_TIMEOUT)
        for caller in callers:
            caller.answer(ok, text)
