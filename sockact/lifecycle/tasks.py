"""Background tasks: a drain waits for them, and cancels them at its timeout."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from sockact.system import loop_tasks

ABORT_TIMEOUT = 1.0
"""Seconds that a cancelled task may take to clean up."""

T = TypeVar("T")


class Background:
    """The background tasks of a process; each is kept here until it ends."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task; the drain waits for its end, and cancels it at the drain timeout."""
        task = loop_tasks.begin_app(work, asyncio.get_running_loop())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def wait(self) -> None:
        """Wait until none is left, including those that start meanwhile."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def abort(self) -> None:
        """Cancel all, and give them a moment to end."""
        await cancel(self._tasks)


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and give them a moment to end."""
    left = list(tasks)
    for task in left:
        task.cancel("its time is up")
    if left:
        await asyncio.wait(left, timeout=ABORT_TIMEOUT)
