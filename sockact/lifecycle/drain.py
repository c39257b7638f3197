"""The drain, written once for all engines: stop accepting, wait, and abort the rest at the drain timeout.

It begins once and has one deadline, whoever waits for it: a stop that overtakes a reload continues the
drain that the reload began.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from sockact.config.records import RecordKind, about
from sockact.lifecycle.tasks import Background
from sockact.protocols.counters import count
from sockact.system import loop_tasks

logger = logging.getLogger(__package__)


class Drainable(Protocol):
    """Anything that accepts connections and can be drained of them."""

    @property
    def in_flight(self) -> int:
        """The number of requests in flight."""

    @property
    def connections(self) -> int:
        """The number of open connections."""

    def stop_accepting(self) -> None:
        """Accept no more connections, and begin to drain the present ones."""

    async def wait_drained(self) -> None:
        """Wait until nothing is left."""

    async def abort(self) -> None:
        """Abort what is left."""


class Drain:
    """The drain of one engine and of the background tasks.

    Args:
        engine: the engine.
        background: the tasks.
        timeout: the drain timeout in seconds; None for none.

    Attributes:
        begun: whether it has begun.
        under_way: whether it has begun and not ended.
        aborted: whether something was left to abort.
    """

    def __init__(self, engine: Drainable, background: Background, timeout: float | None) -> None:
        self.begun = False
        self.under_way = False
        self.aborted = False
        self._engine = engine
        self._background = background
        self._timeout = timeout
        self._deadline: float | None = None
        self._abort_asked = asyncio.Event()

    def abort(self) -> None:
        """Abort what is left now; before the drain has begun this does nothing."""
        if self.begun:
            self._abort_asked.set()

    async def wait(self, *, abort: bool = False) -> None:
        """Begin, if it has not begun, and wait for the end.

        Args:
            abort: end it now, and abort what is left.
        """
        loop = asyncio.get_running_loop()
        if not self.begun:
            self.begun = self.under_way = True
            self._deadline = None if self._timeout is None else loop.time() + self._timeout
            self._engine.stop_accepting()
        if abort:
            self.abort()
        drained = loop_tasks.begin(self._wait_drained())
        asked = loop_tasks.begin(self._abort_asked.wait())
        left = None if self._deadline is None else max(self._deadline - loop.time(), 0)
        try:
            await asyncio.wait({drained, asked}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not drained.done():
                await self._abort()
            self.under_way = False
        finally:
            drained.cancel()
            asked.cancel()

    async def _wait_drained(self) -> None:
        while True:
            await self._engine.wait_drained()
            if not self._background:
                return
            await self._background.wait()

    async def _abort(self) -> None:
        self.aborted = True
        told = self._abort_asked.is_set() or self._timeout is None
        reason = "told to abort" if told else f"drain timeout after {self._timeout:g} s"
        facts = about(RecordKind.DRAIN_ABORTED)
        logger.warning("%s: aborting %s", reason, self._rest(), extra=facts)
        await self._engine.abort()
        await self._background.abort()

    def status(self) -> str:
        """Return the progress, for `systemctl status`."""
        engine = self._engine
        text = f"draining, {count(engine.in_flight, 'request')} in flight"
        text += f", {count(engine.connections, 'connection')}"
        if self._background:
            text += f", {count(len(self._background), 'background task')}"
        if self._deadline is not None:
            text += f", {max(self._deadline - asyncio.get_running_loop().time(), 0):.0f} s left"
        return text

    def _rest(self) -> str:
        """Return what is left to abort, like `3 connections and 1 request`."""
        engine = self._engine
        numbers = {
            "connection": engine.connections,
            "request": engine.in_flight,
            "background task": len(self._background),
        }
        *others, last = [count(number, noun) for noun, number in numbers.items() if number] or ["nothing"]
        return f"{', '.join(others)} and {last}" if others else last
