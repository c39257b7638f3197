"""The common base of the stream engine and the datagram engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sockact.config.settings import Settings
from sockact.engines.interface import EngineObserver, NoObserver
from sockact.protocols.statistics import Reason
from sockact.protocols.statistics_page import WorkerStatistics
from sockact.untrusted.text import told

logger = logging.getLogger(__package__)


class HandlerEngine:
    """Serves a handler, which has neither a startup nor a shutdown.

    Args:
        handler: the user's callable.
        kind: the kind of app; see `sockact.apps.kinds`.
        settings: how to serve.

    Attributes:
        requests: the number of calls of the handler.
    """

    def __init__(self, handler: Callable[..., Any], kind: str, settings: Settings) -> None:
        self._handler = handler
        self._kind = kind
        self._threads = ThreadPoolExecutor(settings.threads, "handler")
        self._observer: EngineObserver = NoObserver()
        self._draining = False
        self._statistics = WorkerStatistics()
        self.requests = 0

    def watch(self, observer: EngineObserver) -> None:
        """Report requests and connections to `observer` from now on."""
        self._observer = observer

    def count_in(self, statistics: WorkerStatistics) -> None:
        """Count connections, and handlers that fail, in `statistics`."""
        self._statistics = statistics

    async def start(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Shut the thread pool down without waiting for the threads that still run."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _called(self) -> None:
        """Count a call."""
        self.requests += 1
        self._observer.on_request()
        self._observer.on_change()

    def _closed(self, task: asyncio.Task[None], *, moved: bool) -> None:
        """Count a connection whose handler has ended."""
        if moved:
            self._statistics.move()
            return
        failed = not task.cancelled() and task.exception() is not None
        reason = Reason.ERROR if failed else Reason.COMPLETE
        self._statistics.close(Reason.ABORTED if task.cancelled() else reason)

    def _returned(self, task: asyncio.Task[None]) -> None:
        """Log what a call has raised."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._statistics.fail()
            logger.error("a handler failed: %s", told(error), exc_info=error)
        self._observer.on_change()
