"""Pressure on memory: workers return what is free, and the largest is replaced if the pressure goes on.

The service watches a FIFO here, and the file of the kernel in tests/machine/supervisor.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from tests.support.gate import install
from tests.support.http_client import get
from tests.support.manager import resident, wait_until
from tests.support.processes import serving, workers
from tests.support.service import Service, stop

QUICK = ("--workers=2", "--probation=0.1s")
LITTER = """
import gc
gc.set_threshold(0)  # nothing is collected unless somebody asks for it
class Litter:
    def __init__(self):
        self.itself = self
        self.many = [bytearray(1000) for _ in range(100_000)]
served, last, hoard = app, [], []
async def app(scope, receive, send):
    if scope.get("path") == "/litter":
        Litter()
        last.append(bytearray(1000))  # behind them, so that free(3) returns nothing to the kernel
    if scope.get("path") == "/hoard":
        hoard.append(b"x" * 100 * 1024**2)
    await served({**scope, "path": "/"} if "path" in scope else scope, receive, send)
"""
MIB = 1024**2


class Pressed:
    """A service that watches a FIFO."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.fifo = service.directory / "pressure"
        os.mkfifo(self.fifo)

    def start(self, *options: str, **environ: str) -> int:
        install(self.service.directory)
        with (self.service.directory / "app.py").open("a") as app:
            app.write(LITTER)
        return self.service.start(*options, **{"MEMORY_PRESSURE_WATCH": str(self.fifo), **environ})

    def press(self) -> None:
        """Send an event, if somebody watches."""
        with contextlib.suppress(OSError):
            writer = os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK)
            os.write(writer, b"!")
            os.close(writer)

    def litter(self) -> None:
        assert get(self.service.listener, "/litter").status == 200


@pytest.fixture
def pressed(service: Service) -> Pressed:
    return Pressed(service)


@pytest.mark.parametrize("mode", [("--workers=0",), ("--workers=1",)], ids=["alone", "supervised"])
def test_what_is_free_is_returned(pressed: Pressed, mode: tuple[str, ...]) -> None:
    worker = serving(pressed.start(*mode))
    before = resident(worker)
    pressed.litter()
    assert resident(worker) - before > 90 * MIB

    pressed.press()

    wait_until(lambda: resident(worker) - before < 30 * MIB)
    stop(pressed.service)


def test_pressure_that_goes_on_replaces_the_largest_worker_and_nobody_notices(pressed: Pressed) -> None:
    pid = pressed.start(*QUICK)
    before = set(workers(pid))
    with pressed.service.client() as client:
        client.ask("/hoard")
        assert client.read().status == 200
        largest = max(before, key=resident)

        def replaced() -> bool:
            pressed.press()
            assert client.get().status == 200
            return largest not in workers(pid)

        wait_until(replaced, limit=120)
        assert client.get().status == 200

    assert len(before & set(workers(pid))) == 1
    assert "is recycled: pressure on memory, 1" in pressed.service.manager.stderr()
    stop(pressed.service)


def test_where_systemd_has_switched_it_off_nothing_is_watched(pressed: Pressed) -> None:
    worker = serving(pressed.start("--workers=1", MEMORY_PRESSURE_WATCH="/dev/null"))
    pressed.litter()
    size = resident(worker)

    pressed.press()
    pressed.litter()

    assert resident(worker) > size
    stop(pressed.service)


def test_the_app_may_watch_too(pressed: Pressed) -> None:
    """Both variables are in the environment of a worker."""
    request = "c29tZSAyMDAwMDAgMjAwMDAwMAA="
    worker = serving(pressed.start("--workers=1", MEMORY_PRESSURE_WRITE=request))
    environ = Path(f"/proc/{worker}/environ").read_text().split("\0")

    assert f"MEMORY_PRESSURE_WATCH={pressed.fifo}" in environ
    assert f"MEMORY_PRESSURE_WRITE={request}" in environ
    stop(pressed.service)
