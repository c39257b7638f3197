"""The verbs of a service, run one at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sockact.errors import SockactError
from sockact.lifecycle.phases import Event
from sockact.system import loop_tasks
from sockact.untrusted.text import told

logger = logging.getLogger(__package__)


class Verbs:
    """Runs verbs as tasks; a new one first cancels the one under way.

    Args:
        on_done: called with the event in which a verb has ended.
        on_failure: called with the error that has ended it.
    """

    def __init__(
        self, on_done: Callable[[Event], None], on_failure: Callable[[SockactError], None]
    ) -> None:
        self._on_done = on_done
        self._on_failure = on_failure
        self._task: asyncio.Task[None] | None = None

    def begin(self, verb: Callable[[], Awaitable[Event]]) -> None:
        """Begin a verb, once the one under way has been cancelled."""
        self._task = loop_tasks.begin(self._perform(verb, self._task))

    async def _perform(
        self, verb: Callable[[], Awaitable[Event]], before: asyncio.Task[None] | None
    ) -> None:
        if before and not before.done():
            before.cancel()
            await asyncio.wait([before])
        try:
            self._on_done(await verb())
        except SockactError as error:
            self._on_failure(error)
        except (Exception, asyncio.CancelledError) as error:
            if asyncio.current_task() is not self._task:
                raise  # another verb has taken over
            logger.exception("a fault of sockact")
            self._on_failure(SockactError(told(error)))
