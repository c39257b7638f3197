"""The drain, written once for all engines: stop accepting, wait, and the hammer at the end.

It begins once and has one deadline, whoever waits for it: a stop that overtakes a reload goes on
with the drain that the reload began.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from sockact.protocols.counters import count

logger = logging.getLogger(__package__)


class Engine(Protocol):
    """What can be drained."""

    @property
    def in_flight(self) -> int:
        """Requests at work."""

    @property
    def connections(self) -> int:
        """Open connections."""

    def stop_accepting(self) -> None:
        """Take no more connections, and let those that are here drain."""

    async def wait_drained(self) -> None:
        """Wait until nothing is left."""

    async def abort(self) -> None:
        """End what is left by force."""


class Background(Protocol):
    """Tasks beside the requests."""

    def __len__(self) -> int:
        """How many there are."""

    async def wait(self) -> None:
        """Wait until none is left."""

    async def abort(self) -> None:
        """Cancel what is left."""


class Drain:
    """The drain of one engine, and of what goes on beside it.

    Args:
        engine: what to drain.
        background: what else it waits for.
        timeout: seconds until the hammer; None for never.

    Attributes:
        begun: whether it has begun.
        under_way: whether it has, and not ended.
        hammered: whether it was ended by force.
    """

    def __init__(self, engine: Engine, background: Background, timeout: float | None) -> None:
        self.begun = False
        self.under_way = False
        self.hammered = False
        self._engine = engine
        self._background = background
        self._timeout = timeout
        self._deadline: float | None = None
        self._hammer = asyncio.Event()

    def hammer(self) -> None:
        """End the drain now; before it has begun this does nothing."""
        if self.begun:
            self._hammer.set()

    async def wait(self, *, by_force: bool = False) -> None:
        """Begin if that is still to be done, and wait for the end; which is now, if `by_force`."""
        loop = asyncio.get_running_loop()
        if not self.begun:
            self.begun = self.under_way = True
            self._deadline = None if self._timeout is None else loop.time() + self._timeout
            self._engine.stop_accepting()
        if by_force:
            self.hammer()
        drained = loop.create_task(self._wait_drained())
        hammer = loop.create_task(self._hammer.wait())
        left = None if self._deadline is None else max(self._deadline - loop.time(), 0)
        try:
            await asyncio.wait({drained, hammer}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not drained.done():
                await self._abort()
            self.under_way = False
        finally:
            drained.cancel()
            hammer.cancel()

    async def _wait_drained(self) -> None:
        while True:
            await self._engine.wait_drained()
            if not self._background:
                return
            await self._background.wait()

    async def _abort(self) -> None:
        self.hammered = True
        logger.warning(
            "hammer: the drain ends by force with %d connections and %d requests in flight%s",
            self._engine.connections,
            self._engine.in_flight,
            self._beside(),
        )
        await self._engine.abort()
        await self._background.abort()

    def status(self) -> str:
        """Say how far it is, for `systemctl status`."""
        engine = self._engine
        text = f"draining, {count(engine.in_flight, 'request')} in flight"
        text += f", {count(engine.connections, 'connection')}{self._beside()}"
        if self._deadline is not None:
            text += f", {max(self._deadline - asyncio.get_running_loop().time(), 0):.0f} s left"
        return text

    def _beside(self) -> str:
        return f", {count(len(self._background), 'background task')}" if self._background else ""
