"""Tasks of ours beside those of an app, in a loop of the test."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sockact.system import loop_tasks
from tests.support.manager import LIMIT


async def for_ever() -> None:
    await asyncio.Event().wait()


def test_an_app_sees_its_own_tasks_and_none_of_ours() -> None:
    async def serve() -> set[asyncio.Task[Any]]:
        loop_tasks.begin(for_ever())
        loop_tasks.begin_app(for_ever(), asyncio.get_running_loop()).set_name("the app's")
        return asyncio.all_tasks()

    with asyncio.Runner() as runner:
        seen = runner.run(loop_tasks.main(serve()))

    assert [task.get_name() for task in seen] == ["the app's"]


def test_the_end_of_the_loop_cancels_what_is_left_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    left = []

    async def serve() -> None:
        left.append(loop_tasks.begin(for_ever()))

    with asyncio.Runner() as runner:
        runner.run(loop_tasks.main(serve()))

    assert left[0].cancelled()
    assert not caplog.records


def test_an_error_in_one_of_several_ends_the_others() -> None:
    ended = []

    async def wait() -> None:
        try:
            await for_ever()
        finally:
            ended.append(True)

    async def fail() -> None:
        raise ValueError("it fails")

    with pytest.raises(ValueError, match="it fails"):
        asyncio.run(loop_tasks.run_all([wait(), fail()]))

    assert ended == [True]


def test_the_tasks_of_an_app_are_made_by_its_factory_and_ours_are_not() -> None:
    made = []

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(work.__name__)
        return asyncio.Task(work, loop=loop, **options)

    async def ours() -> None: ...

    async def the_apps() -> None: ...

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(factory)
        await loop_tasks.begin(ours())
        await loop_tasks.begin_app(the_apps(), loop)

    with asyncio.Runner() as runner:
        runner.run(loop_tasks.main(serve()))

    assert made == ["the_apps"]


def test_a_call_in_a_thread_does_not_wait_for_those_of_an_app() -> None:
    let_go = threading.Event()

    async def serve() -> int:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        held = loop.run_in_executor(None, let_go.wait)
        try:
            async with asyncio.timeout(LIMIT):
                return await loop_tasks.in_thread(int, "7")
        finally:
            let_go.set()
            await held

    assert asyncio.run(serve()) == 7


def test_the_error_of_a_call_in_a_thread_is_raised_to_who_waits_for_it() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(loop_tasks.in_thread(int, "seven"))
