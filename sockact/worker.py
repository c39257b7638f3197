"""The worker: the service that serves an app, and does not know who its manager is.

A reload replaces the code in place: a canary tries it, the drain ends, and the process executes its
own command again, with the same PID and the same sockets.
"""

from __future__ import annotations

import logging
import signal

from sockact import canary
from sockact.drain import Drain, count
from sockact.engines.http import HttpEngine
from sockact.process import MARGIN
from sockact.program import Program
from sockact.settings import Settings

logger = logging.getLogger(__name__)


class Worker:
    """The service of one app on the listeners that were passed; see `lifecycle.Service`."""

    def __init__(self, engine: HttpEngine, settings: Settings, program: Program, generation: int) -> None:
        self.name = f"gen {generation}"
        self._engine = engine
        self._settings = settings
        self._program = program
        self._drain = Drain(engine, settings.drain_timeout)
        self._state = "starting the app"

    @property
    def hammered(self) -> bool:
        """Whether the drain was ended by force."""
        return self._drain.hammered

    @property
    def in_flight(self) -> int:
        """How many requests are at work."""
        return self._engine.in_flight

    async def start(self) -> None:
        """Start the app and accept."""
        await self._engine.start()
        self._state = ""

    async def check(self) -> None:
        """Let a canary start the new code."""
        self._state = "trying the new code"
        try:
            await canary.rehearse(
                self._program,
                start_timeout=self._settings.start_timeout + MARGIN,
                end_timeout=self._settings.shutdown_timeout + MARGIN,
            )
        finally:
            self._state = ""

    async def replace(self) -> bool:
        """Drain, so that the process can execute the new code."""
        await self.stop()
        return True

    async def stop(self, *, by_force: bool = False) -> None:
        """Drain, then let the app shut down."""
        await self._drain.wait(by_force=by_force)
        await self._engine.close()

    def hammer(self) -> None:
        """End the drain by force."""
        self._drain.hammer()

    def signalled(self, number: signal.Signals) -> None:
        """Say that it has no meaning; its default would end or halt the process."""
        logger.info("%s has no meaning here", number.name)

    def status(self) -> str:
        """Say what the worker is doing."""
        if self._drain.begun:
            return self._drain.status()
        return self._state or f"ready, {count(self._engine.in_flight, 'request')} in flight"
