"""Questions of code in an app, also in a process that sockact does not serve."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import sockact
from sockact import runtime
from sockact.errors import UnavailableError, UsageError
from sockact.lifecycle.tasks import Background
from sockact.runtime import CurrentProcess, Draining, activated_in, role_in
from tests.support.manager import LIMIT


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[CurrentProcess]:
    here = CurrentProcess()
    monkeypatch.setattr(runtime, "_current", here)
    return here


@pytest.mark.parametrize(
    ("environ", "expected"),
    [({}, ""), ({"SOCKACT_SUPERVISED": "1"}, "worker"), ({"SOCKACT_CANARY": "1"}, "alone")],
)
def test_the_role_is_known_before_serve_where_the_environment_tells_it(
    environ: dict[str, str], expected: str
) -> None:
    assert role_in(environ) == expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"LISTEN_PID": "42", "LISTEN_FDS": "1"}, True),
        ({"LISTEN_PID": "42", "LISTEN_FDS": "0"}, False),
        ({"LISTEN_PID": "43", "LISTEN_FDS": "1"}, False),
        ({"LISTEN_PID": "42", "LISTEN_FDS": "1", "SOCKACT_ACTIVATED": "0"}, False),
        ({"SOCKACT_ACTIVATED": "1"}, True),
    ],
)
def test_sockets_were_passed_if_the_environment_says_so(environ: dict[str, str], expected: bool) -> None:
    assert activated_in(environ, 42) is expected


def test_a_process_that_is_not_served_has_nobody_to_ask_for_a_reload() -> None:
    with pytest.raises(UnavailableError, match="sockact does not serve in this process"):
        sockact.request_reload()


def test_the_event_wakes_all_loops_and_threads() -> None:
    draining = Draining()
    seen: list[bool] = []

    async def wait() -> None:
        await draining.wait()
        seen.append(bool(draining))

    async def wait_by_two() -> None:
        async with asyncio.timeout(LIMIT):
            await asyncio.gather(wait(), wait())

    async def one_that_gives_up() -> None:
        async with asyncio.timeout(0):
            await draining.wait()

    threads = [
        threading.Thread(target=lambda: asyncio.run(wait_by_two())),
        threading.Thread(target=lambda: seen.append(draining.wait_blocking(LIMIT))),
    ]
    with pytest.raises(TimeoutError):
        asyncio.run(one_that_gives_up())
    assert not draining.wait_blocking(0)
    assert not draining.is_set()
    for thread in threads:
        thread.start()
    draining.begin()
    for thread in threads:
        thread.join(LIMIT)

    assert seen == [True] * 3
    assert draining.is_set()
    asyncio.run(wait())  # and who asks later does not wait


def test_a_task_in_the_background_is_a_task_in_a_process_that_is_not_served() -> None:
    async def scene() -> int:
        return await sockact.background(asyncio.sleep(0, 7))

    assert asyncio.run(scene()) == 7


def test_work_is_refused_outside_of_the_loop_that_serves(here: CurrentProcess) -> None:
    async def elsewhere() -> None:
        sockact.background(asyncio.sleep(0))

    here.background = Background()
    here.loop = asyncio.new_event_loop()
    here.loop.close()

    for scene in (lambda: sockact.background(asyncio.sleep(0)), lambda: asyncio.run(elsewhere())):
        with pytest.raises(UsageError, match="outside of the event loop that serves"):
            scene()


@pytest.mark.parametrize("work", [5, asyncio.sleep])
def test_work_that_is_no_coroutine_is_refused(work: Any) -> None:
    async def scene() -> None:
        sockact.background(work)

    with pytest.raises(UsageError, match=r"^background\(.*\): expected a coroutine"):
        asyncio.run(scene())
    with pytest.raises(UsageError, match=r"^background\(.*\): expected a coroutine"):
        sockact.background(work)
