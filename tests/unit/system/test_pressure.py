"""A watch on pressure: the files that it may be, and what an event loop hears of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from sockact.process.pressure import PressureReader
from sockact.system.pressure import PressureWatch
from tests.support.manager import wait_until

REQUEST = b"some 200000 2000000\0"
LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])


def environ(path: object, request: bytes = REQUEST) -> dict[str, str]:
    return {
        "MEMORY_PRESSURE_WATCH": str(path),
        "MEMORY_PRESSURE_WRITE": base64.b64encode(request).decode(),
    }


def opened(path: object) -> PressureWatch:
    watch = PressureWatch.opened(environ(path))
    assert watch is not None
    return watch


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "pressure"
    os.mkfifo(path)
    return path


class Heard:
    """Counts the events that get through, and waits for them."""

    def __init__(self) -> None:
        self.count = 0
        self._event = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._event.set()

    async def wait(self) -> None:
        async with asyncio.timeout(30):
            await self._event.wait()
        self._event.clear()


def run(loop: Callable[[], Any], main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main)


@pytest.mark.parametrize(
    "said",
    [
        {},
        environ("/dev/null"),
        environ("/nowhere"),
        environ("/proc/self/status"),
        {**environ("/proc/pressure/memory"), "MEMORY_PRESSURE_WRITE": "?"},
    ],
    ids=["not asked for", "switched off", "missing", "not writable", "no base64"],
)
def test_where_there_is_nothing_to_watch_nothing_is(said: dict[str, str]) -> None:
    assert PressureWatch.opened(said) is None


def test_a_file_is_given_the_request(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()

    # epoll(7) watches the kernel's files, but not those on a disk.
    assert PressureWatch.opened(environ(path)) is None
    assert path.read_bytes() == REQUEST


@LOOPS
def test_an_event_in_a_fifo_is_heard_of_each_time(fifo: Path, loop: Callable[[], Any]) -> None:
    async def main() -> None:
        heard = Heard()
        reader = PressureReader(opened(fifo), heard, pause=0.01)
        for number in range(3):
            with fifo.open("wb", buffering=0) as writer:  # and closed again, which is no event
                writer.write(b"!" * (number + 1))
            await heard.wait()
        reader.close()
        assert heard.count == 3

    run(loop, main())


@LOOPS
def test_a_flood_of_events_counts_once_until_the_pause_is_over(fifo: Path, loop: Callable[[], Any]) -> None:
    async def main() -> None:
        heard = Heard()
        reader = PressureReader(opened(fifo), heard, pause=3600)
        writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        for _ in range(1000):
            with contextlib.suppress(BlockingIOError):
                os.write(writer, b"!" * 4096)
            await asyncio.sleep(0)
        await heard.wait()
        reader.close()
        os.close(writer)
        assert heard.count == 1

    run(loop, main())


@LOOPS
def test_a_socket_is_given_the_request_and_its_end_is_the_end(
    tmp_path: Path, loop: Callable[[], Any]
) -> None:
    path = tmp_path / "socket"

    async def main() -> None:
        with socket.create_server(str(path), family=socket.AF_UNIX) as server:
            heard = Heard()
            watch = opened(path)
            PressureReader(watch, heard, pause=0.01)
            peer, _ = server.accept()
        assert peer.recv(100) == REQUEST
        peer.send(b"!")
        await heard.wait()
        peer.close()
        async with asyncio.timeout(30):
            await asyncio.to_thread(wait_until, lambda: watch.closed)
        assert heard.count == 1

    run(loop, main())


@LOOPS
def test_the_kernel_takes_the_request_and_several_may_watch(loop: Callable[[], Any]) -> None:
    """Its events need pressure: tests/machine/supervisor/test_memory_pressure.py."""
    path = Path("/proc/pressure/memory")
    if not os.access(path, os.W_OK):
        pytest.skip("this kernel or user cannot watch /proc/pressure/memory")

    async def main() -> None:
        heard = Heard()
        readers = [PressureReader(opened(path), heard) for _ in range(2)]
        await asyncio.sleep(0)
        for reader in readers:
            reader.close()

    run(loop, main())
