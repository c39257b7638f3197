"""The threads of WSGI apps: as many as are needed, and never one too few."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable

import pytest

from sockact.engines.http.threads import NAME, Threads

LIMIT = 20.0
MOST = 4
MARK: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="none")


async def done(threads: Threads, works: list[Callable[[], object]]) -> list[object]:
    """Run all works at once, and return what they have returned, in their order."""
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in works]

    def run(future: asyncio.Future[object], work: Callable[[], object]) -> None:
        loop.call_soon_threadsafe(future.set_result, work())

    for future, work in zip(futures, works, strict=True):
        threads.run(lambda future=future, work=work: run(future, work))  # type: ignore[misc]  # bound now
    async with asyncio.timeout(LIMIT):
        return await asyncio.gather(*futures)


def names(count: int, threads: Threads) -> set[object]:
    return set(
        asyncio.run(done(threads or Threads(MOST), [lambda: threading.current_thread().name] * count))
    )


def test_all_work_is_done_whatever_its_number() -> None:
    async def many() -> int:
        threads = Threads(MOST)
        return sum([len(await done(threads, [lambda: None] * count)) for count in (1, 2, 3, 50, 500)])

    assert asyncio.run(many()) == 556


def test_work_that_waits_for_other_work_gets_all_threads_and_no_more() -> None:
    together = threading.Barrier(MOST)
    busy: set[str] = set()

    def wait() -> None:
        busy.add(threading.current_thread().name)
        together.wait(LIMIT)

    asyncio.run(done(Threads(MOST), [wait] * (3 * MOST)))

    assert busy == {f"{NAME}-{number}" for number in range(MOST)}


def test_one_thread_is_never_two() -> None:
    assert names(100, Threads(1)) == {f"{NAME}-0"}


def test_each_work_has_a_context_of_its_own() -> None:
    def mark() -> str:
        before = MARK.get()
        MARK.set("set")
        return before

    assert asyncio.run(done(Threads(1), [mark] * 3)) == ["none"] * 3


def test_the_first_thread_that_is_not_to_be_had_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        threads = Threads(MOST)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _refuse)
            with pytest.raises(RuntimeError):
                threads.run(lambda: None)
        assert await done(threads, [lambda: 1]) == [1]

    asyncio.run(run())


def _refuse(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
