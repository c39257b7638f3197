"""The life of the app in a worker: its start and end, and its hooks at the points between."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from sockact import hooks
from sockact.config.settings import Settings
from sockact.engines.group import Engines
from sockact.errors import AppError, ReloadRefused
from sockact.lifecycle.deadlines import SHUTDOWN_LEEWAY
from sockact.lifecycle.readiness import Readiness
from sockact.lifecycle.tasks import Background
from sockact.process import green_threads
from sockact.runtime import Draining
from sockact.system import standard_streams
from sockact.worker.hook_runner import HookRunner

logger = logging.getLogger(__package__)


class AppContext(NamedTuple):
    """The part of the app's code in the life of its process.

    Attributes:
        hooks: runs its hooks.
        background: its background tasks.
        draining: tells it when the process drains.
        readiness: tells load balancers whether it is ready.
    """

    hooks: HookRunner
    background: Background
    draining: Draining
    readiness: Readiness


class AppLifecycle:
    """Starts and ends the app, and runs its hooks.

    Args:
        engine: serves the app.
        settings: the limits.
        context: the part of the app's code.
        within: as in `Host`.
        on_hooks_done: called when hooks in the background are done; they may have touched signals.
    """

    def __init__(
        self,
        engine: Engines,
        settings: Settings,
        context: AppContext,
        within: Callable[[float | None, str], None],
        on_hooks_done: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._context = context
        self._within = within
        self._on_hooks_done = on_hooks_done

    async def start(self) -> None:
        """Start the app, and accept connections; raises SockactError, and leaves the rest to `end`."""
        await self._context.hooks.require(hooks.START, self._settings.start_timeout, AppError)
        await self._engine.start()
        green_threads.refuse()
        standard_streams.fill()

    def on_ready(self) -> None:
        """Called when the worker is ready: runs the `on_ready` hooks."""
        self._run_in_background(hooks.READY, self._settings.start_timeout)

    async def ask_reload(self) -> None:
        """Run the `on_reload` hooks; raises ReloadRefused if one of them fails."""
        try:
            await self._context.hooks.require(hooks.RELOAD, self._settings.start_timeout, ReloadRefused)
        except ReloadRefused as error:
            logger.info("the app refuses the reload", exc_info=error.__cause__)
            raise

    def on_process_exit(self, pid: int, on_seen: Callable[[int], None]) -> None:
        """Called when another process that has loaded the app has ended: runs the hooks for that.

        Args:
            pid: that process.
            on_seen: called with it when the hooks have run.
        """
        task = self._context.background.start(
            self._context.hooks.run(hooks.WORKER_EXIT, self._settings.start_timeout, pid)
        )
        task.add_done_callback(lambda task: None if task.cancelled() else on_seen(pid))

    def on_drain(self) -> None:
        """Called when the drain begins: tells the app, and runs the `on_drain` hooks."""
        self._context.draining.begin()
        self._run_in_background(hooks.DRAIN, self._settings.drain_timeout)

    async def end(self) -> None:
        """End the app: its `on_stop` hooks, its shutdown, its `on_exit` hooks."""
        limit = self._settings.shutdown_timeout
        self._within(limit + SHUTDOWN_LEEWAY, "its on_stop hooks")
        await self._context.hooks.run_once(hooks.STOP, limit)
        self._within(limit + SHUTDOWN_LEEWAY, "the app's shutdown")
        await self._engine.close()
        self._within(limit + SHUTDOWN_LEEWAY, "its on_exit hooks")
        await self._context.hooks.run_once(hooks.EXIT, limit)

    def _run_in_background(self, point: str, limit: float | None) -> None:
        if self._context.hooks.hooks(point):
            task = self._context.background.start(self._context.hooks.run(point, limit))
            task.add_done_callback(lambda _: self._on_hooks_done())
