"""Tasks that a drain waits for, and ends by force when its time is up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

ABORT_TIMEOUT = 1.0
"""Seconds that a cancelled task may take to clean up."""

T = TypeVar("T")


class Background:
    """Work of a process beside its requests; each task belongs to this until it ends."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin; the drain waits for the end, and cancels it at the hammer."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def wait(self) -> None:
        """Wait until none is left, those included that begin meanwhile."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def abort(self) -> None:
        """Cancel all, and wait for a moment until they have ended."""
        await cancel(self._tasks)


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel what was not done in time, and wait for a moment until it has ended."""
    left = list(tasks)
    for task in left:
        task.cancel("its time is up")
    if left:
        await asyncio.wait(left, timeout=ABORT_TIMEOUT)
