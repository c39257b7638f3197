"""Runs a target in an event loop, in which no error goes by unseen."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from sockact.system import loop_tasks

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; raise also what a callback or a task beside it has raised.

    Not by asyncio.Runner, which makes the text of each task (by signal.signal), and so fills caches.
    """
    faults: list[dict[str, Any]] = []
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: faults.append(context))
    try:
        result = loop.run_until_complete(main)
    finally:
        _end(loop)
    for fault in faults:
        raise fault.get("exception") or RuntimeError(fault["message"])
    return result


def _end(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left, and close the loop."""
    if left := {*asyncio.all_tasks(loop), *loop_tasks.hidden(loop)}:
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
