"""Tasks of our own, which an app does not see.

An app that cancels all tasks at its shutdown, or after an error, means its own: asyncio.all_tasks() of it.
With the tasks of its server it would end the drain, the watchdog's pings, or all that this process does.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_hidden: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()


async def main(work: Coroutine[Any, Any, T]) -> T:
    """Hide the task of a loop's main work, too; at its end show all, for the loop cancels what it sees."""
    task = asyncio.current_task()
    assert task is not None
    hide(task)
    try:
        return await work
    finally:
        for each in list(_hidden):
            if not each.done():
                asyncio._register_task(each)  # noqa: SLF001 - as in `hide`


def begin(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Begin a task that an app does not see."""
    return hide(asyncio.get_running_loop().create_task(work))


def hide(task: asyncio.Task[T]) -> asyncio.Task[T]:
    """Hide a task from asyncio.all_tasks(), and return it."""
    asyncio._unregister_task(task)  # noqa: SLF001 - documented: Extending asyncio, Task lifetime support
    _hidden.add(task)
    return task
