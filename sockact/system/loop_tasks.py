"""Tasks of an event loop: ours, which an app does not see, and those that run an app.

An app that cancels all tasks at its shutdown, or after an error, means its own: asyncio.all_tasks() of it.
With the tasks of its server it would end the drain, the watchdog's pings, or all that this process does.

An app may also set a task factory, even one that fails: that of an eager start does with uvloop 0.23 and
Python 3.13. And its calls may hold all threads of the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

logger = logging.getLogger(__package__)

_hidden: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
_told: set[type] = set()


async def main(work: Coroutine[Any, Any, T]) -> T:
    """Do the main work of a loop, hidden too.

    At its end all are shown, for the end of a loop cancels what it sees; and the tasks of that end are not
    made by the app's factory.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    hide(task)
    try:
        return await work
    finally:
        loop.set_task_factory(None)
        for each in hidden(loop):
            asyncio._register_task(each)  # noqa: SLF001 - as in `hide`


def begin(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Begin a task of ours."""
    return hide(asyncio.Task(work, loop=asyncio.get_running_loop()))


async def run_all(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run tasks of ours side by side, up to the end of all; an error in one ends the others."""
    tasks = [begin(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise


class Raised(NamedTuple):
    """The result of a thread that has raised an error: no future takes a StopIteration."""

    error: BaseException


def threaded(function: Callable[[], T], name: str) -> asyncio.Future[T | Raised]:
    """Call what blocks in a daemon thread of its own, for the end of which nobody waits.

    Raises:
        RuntimeError: no thread can be started.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T | Raised] = loop.create_future()

    def settle(result: T | Raised) -> None:
        if not outcome.done():  # else nobody waits any more
            outcome.set_result(result)

    def work() -> None:
        result: T | Raised
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - the thread's last frame: it has nobody to raise to
            result = Raised(error)
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=work, name=name, daemon=True).start()
    return outcome


async def in_thread(function: Callable[..., T], *arguments: object) -> T:
    """Return the result of what blocks: an app's calls may hold all threads of the loop's executor.

    Raises:
        RuntimeError: no thread can be started.
    """
    result = await threaded(partial(function, *arguments), "sockact")
    if isinstance(result, Raised):
        raise result.error
    return result


def begin_app(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> asyncio.Task[T]:
    """Begin a task that runs an app: as the app's factory makes it, unless that fails."""
    try:
        return loop.create_task(work)
    except Exception as error:  # noqa: BLE001 - whatever an app's factory does
        _complain_once(error)
        return asyncio.Task(work, loop=loop)


def _complain_once(error: Exception) -> None:
    if type(error) not in _told:
        _told.add(type(error))
        text = "the app's task factory fails, and is not used for requests: %s: %s"
        logger.error(text, type(error).__name__, error)


def hide(task: asyncio.Task[T]) -> asyncio.Task[T]:
    """Hide a task from asyncio.all_tasks(), and return it."""
    asyncio._unregister_task(task)  # noqa: SLF001 - documented: Extending asyncio, Task lifetime support
    _hidden.add(task)
    return task


def hidden(loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[Any]]:
    """Return the tasks of a loop that are hidden, and have not ended."""
    return [task for task in _hidden if task.get_loop() is loop and not task.done()]
