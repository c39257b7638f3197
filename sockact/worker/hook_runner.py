"""What runs hooks: in order, each within its time, whatever they do.

A point has a limit of time for all of its hooks. Each gets its own timeout of that, but no more than its
share of what is left, so that one that hangs leaves time to those after it. What fails is logged, told and
remembered, and the next hook runs; only `require` ends with the first failure.

A hook that is not async runs in a thread, which nothing can end: it is left behind when its time is up. It
is a daemon thread of its own, not one of an executor, for which Python would wait at its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from sockact.errors import HookTimeout, SockactError
from sockact.hooks import Hook, Registry
from sockact.untrusted.text import told

CLEANUP = 1.0
"""Seconds that async hooks may take to clean up after those of their point have run."""

logger = logging.getLogger(__package__)


class HookRunner:
    """Runs the hooks of one process.

    Args:
        registry: the hooks.
        without: points of which the hooks do not run in this process.

    Attributes:
        failures: what has failed, in words.
        failed: called with each failure.
    """

    def __init__(self, registry: Registry, without: Collection[str] = ()) -> None:
        self.failures: list[str] = []
        self.failed: Callable[[str], None] = lambda _: None
        self._registry = registry
        self._without = without
        self._once: dict[str, asyncio.Task[None]] = {}
        self._left: set[asyncio.Task[Any]] = set()

    def hooks(self, point: str) -> list[Hook]:
        """Return those that run at `point`."""
        return [] if point in self._without else list(self._registry.at(point))

    @property
    def stuck(self) -> bool:
        """Whether an async hook goes on though it was cancelled."""
        return bool(self._left)

    def complaint(self) -> str:
        """Say for a status what has failed last, and how often something has; empty for nothing."""
        if not self.failures:
            return ""
        more = f" ({len(self.failures)} hooks have failed)" if len(self.failures) > 1 else ""
        return f"; {self.failures[-1]}{more}"

    async def run(self, point: str, limit: float | None = None, *arguments: object) -> None:
        """Run the hooks of a point; what fails harms nobody.

        Args:
            point: one of those in `hooks`.
            limit: seconds for all of them; None for the timeout of each.
            arguments: what each of them gets.
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
        if self._left:  # not after each: what one takes to clean up is time of those after it
            await asyncio.wait(self._left, timeout=CLEANUP)

    async def run_once(self, point: str, limit: float) -> None:
        """Run the hooks of a point, or wait for them if they run already, also when it was cancelled."""
        if point not in self._once:
            self._once[point] = asyncio.get_running_loop().create_task(self.run(point, limit))
        await asyncio.shield(self._once[point])

    async def require(self, point: str, limit: float, refusal: type[SockactError]) -> None:
        """Run the hooks of a point, up to the first that fails.

        Raises:
            SockactError: one has failed; a `refusal`, whose cause is what the hook has raised.
        """
        deadline = asyncio.get_running_loop().time() + limit
        for hook in self.hooks(point):
            error = await self._call(hook, deadline - asyncio.get_running_loop().time())
            if error is not None:
                raise refusal(_failure(point, hook, error)) from error

    async def _call(self, hook: Hook, most: float | None, *arguments: object) -> BaseException | None:
        """Return what the hook has raised, or that it has not ended in time."""
        timeout = hook.timeout if most is None else max(min(hook.timeout, most), 0)
        task = asyncio.get_running_loop().create_task(_caught(partial(hook.function, *arguments)))
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
        """End a hook; it may take that as it likes, nobody waits for it."""
        self._left.add(task)
        task.add_done_callback(self._left.discard)
        task.cancel()

    def _fail(self, text: str, error: BaseException | None) -> None:
        logger.error("%s", text, exc_info=error)
        self.failures.append(text)
        self.failed(text)


async def _caught(function: Callable[[], Any]) -> BaseException | None:
    """Return what a hook raises; passed on, sys.exit would end the loop, a cancellation our wait."""
    try:
        result = function() if _is_async(function) else await _in_thread(function)
        if isinstance(result, _Raised):
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


@dataclass(frozen=True, slots=True)
class _Raised:
    """What a thread returns in place of an error: no future takes a StopIteration."""

    error: BaseException


def _in_thread(function: Callable[[], Any]) -> asyncio.Future[Any]:
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any) -> None:
        if not outcome.done():  # else its time was up
            outcome.set_result(result)

    def work() -> None:
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - the thread's last frame: it has nobody to raise to
            result = _Raised(error)
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=work, name="hook", daemon=True).start()
    return outcome


def _failure(point: str, hook: Hook, error: BaseException) -> str:
    what = str(error) if isinstance(error, HookTimeout) else told(error)
    return f"{point} hook {hook.name} failed: {what}"
