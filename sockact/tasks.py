"""Work of a process beside its requests, which its drain waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

ABORT_TIMEOUT = 1.0
"""Seconds that a cancelled task may take to clean up."""

T = TypeVar("T")


class Background:
    """The tasks at work; each belongs to this until it ends."""

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
        for task in self._tasks:
            task.cancel("the drain's time is up")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=ABORT_TIMEOUT)
