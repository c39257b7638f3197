"""The runner of hooks: in order, each within its time, whatever they do.

A point has a time limit for all of its hooks. Of that each gets its own timeout, but no more than its share
of what is left, so that one that hangs leaves time to the next ones. A failure is logged, reported and
noted, and the next hook runs; only `require` ends with the first failure.

A hook that is not async runs in a thread, which nothing can end: it is left behind when its time is up. It
is a daemon thread of its own, not one of an executor, for which Python would wait at its end.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from sockact.errors import HookTimeout, SockactError
from sockact.hooks import Hook, Registry
from sockact.system import loop_tasks
from sockact.untrusted.text import told

CLEANUP_TIMEOUT = 1.0
"""Seconds that async hooks may take to clean up after those of their point have run."""

logger = logging.getLogger(__package__)


class HookRunner:
    """Runs the hooks of one process.

    Args:
        registry: the hooks.
        without: points of which the hooks do not run in this process.
        on_failure: called with the text of each failure.

    Attributes:
        failures: the texts of the failures.
    """

    def __init__(
        self,
        registry: Registry,
        without: Collection[str] = (),
        on_failure: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.failures: list[str] = []
        self._on_failure = on_failure
        self._registry = registry
        self._without = without
        self._once: dict[str, asyncio.Task[None]] = {}
        self._left: set[asyncio.Task[Any]] = set()

    def hooks(self, point: str) -> list[Hook]:
        """Return the hooks that run at `point`."""
        return [] if point in self._without else list(self._registry.at(point))

    @property
    def stuck(self) -> bool:
        """True if an async hook goes on though it was cancelled."""
        return bool(self._left)

    def complaint(self) -> str:
        """Return the last failure and the number of failures, for a status; empty for none."""
        if not self.failures:
            return ""
        more = f" ({len(self.failures)} hooks have failed)" if len(self.failures) > 1 else ""
        return f"; {self.failures[-1]}{more}"

    async def run(self, point: str, limit: float | None = None, *arguments: object) -> None:
        """Run the hooks of a point; a failure does not end the run.

        Args:
            point: one of those in `hooks`.
            limit: seconds for all of them; None for the timeout of each.
            arguments: passed to each of them.
        """
        hooks = self.hooks(point)
        clock = asyncio.get_running_loop().time
        deadline = None if limit is None else clock() + limit
        for index, hook in enumerate(hooks):
            share = None if deadline is None else (deadline - clock()) / (len(hooks) - index)
            try:
                error = await self._call(hook, share, *arguments)
            except asyncio.CancelledError:
                rest = f", {len(hooks) - index - 1} after it did not run" if index + 1 < len(hooks) else ""
                self._fail(f"{point} hook {hook.name} was cut short{rest}", None)
                raise
            if error is not None:
                self._fail(_failure(point, hook, error), error)
        if self._left:  # not after each: its cleanup would take the time of the next ones
            await asyncio.wait(self._left, timeout=CLEANUP_TIMEOUT)

    async def run_once(self, point: str, limit: float) -> None:
        """Run the hooks of a point once; wait for them if they run already, also when it was cancelled."""
        if point not in self._once:
            self._once[point] = loop_tasks.begin(self.run(point, limit))
        await asyncio.shield(self._once[point])

    async def require(self, point: str, limit: float, refusal: type[SockactError]) -> None:
        """Run the hooks of a point, up to the first that fails.

        Raises:
            SockactError: one has failed; a `refusal`, whose cause is the error that the hook has raised.
        """
        deadline = asyncio.get_running_loop().time() + limit
        for hook in self.hooks(point):
            error = await self._call(hook, deadline - asyncio.get_running_loop().time())
            if error is not None:
                raise refusal(_failure(point, hook, error)) from error

    async def _call(self, hook: Hook, most: float | None, *arguments: object) -> BaseException | None:
        """Return the error that the hook has raised, or a `HookTimeout`."""
        timeout = hook.timeout if most is None else max(min(hook.timeout, most), 0)
        task = loop_tasks.begin_app(_caught(partial(hook.function, *arguments)), asyncio.get_running_loop())
        try:
            await asyncio.wait({task}, timeout=timeout)
        except asyncio.CancelledError:
            self._leave(task)
            raise
        if task.done():
            return task.result()
        self._leave(task)
        return HookTimeout(f"it did not end within {timeout:.3g} s")

    def _leave(self, task: asyncio.Task[Any]) -> None:
        """Cancel a hook; it may ignore that, nobody waits for it."""
        self._left.add(task)
        task.add_done_callback(self._left.discard)
        task.cancel()

    def _fail(self, text: str, error: BaseException | None) -> None:
        logger.error("%s", text, exc_info=error)
        self.failures.append(text)
        self._on_failure(text)


async def _caught(function: Callable[[], Any]) -> BaseException | None:
    """Return the error that a hook raises: SystemExit would end the loop, CancelledError our own wait."""
    try:
        result = function() if _is_async(function) else await loop_tasks.threaded(function, "hook")
        if isinstance(result, loop_tasks.Raised):
            return result.error
        if inspect.isawaitable(result):
            await result
    except (Exception, asyncio.CancelledError, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001
        return error
    return None


def _is_async(function: Any) -> bool:
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(type(function), "__call__", None)  # noqa: B004 - an object of a class with an async one
    )


def _failure(point: str, hook: Hook, error: BaseException) -> str:
    what = str(error) if isinstance(error, HookTimeout) else told(error)
    return f"{point} hook {hook.name} failed: {what}"
