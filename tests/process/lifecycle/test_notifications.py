"""Notifications to the service manager, and their order."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sockact.protocols.notify import Notifier, NotifySocket
from sockact.sockets.fds import Listener
from tests.support.http_client import Client, connect, get
from tests.support.in_process import close
from tests.support.manager import LIMIT, Manager, wait_until

WEBAPP = Path(__file__).parents[2] / "programs" / "webapp.py"

HELLO = """
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})
"""


def app(*, startup: str = "", request: str = "") -> None:
    """Write an app that does this on its startup and that for a request; `gate` is a FIFO to wait at."""
    if not Path("gate").exists():
        os.mkfifo("gate")
    Path("app.py").write_text(f"""
import asyncio, json, os, subprocess, time

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        {startup or "pass"}
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        await send({{"type": "lifespan.shutdown.complete"}})
    else:
        {request or "pass"}
{HELLO}
""")


WAIT = "await asyncio.to_thread(open, 'gate')"


@contextlib.contextmanager
def gate_open() -> Iterator[None]:
    """Release all that wait at the gate; opened for both ways, a FIFO does not wait for a reader."""
    gate = os.open("gate", os.O_RDWR)
    try:
        yield
    finally:
        os.close(gate)


def test_ready_is_said_when_the_startup_is_done_and_requests_are_answered(
    manager: Manager, listener: Listener
) -> None:
    app(startup=WAIT)
    pid = manager.sockact("app:app", listeners=[listener])
    manager.wait_for("STATUS", "gen 1: activating, starting the app")
    assert manager.said("READY") == []
    with gate_open():
        assert manager.wait_ready().pid == pid

    assert get(listener).text == "hello"
    assert {message.pid for message in manager.heard} == {pid}


def test_a_start_under_way_asks_for_more_time(manager: Manager, listener: Listener) -> None:
    app(startup=WAIT)
    manager.sockact("app:app", "--start-timeout=20", listeners=[listener])

    assert manager.wait_for("EXTEND_TIMEOUT_USEC").assignments["EXTEND_TIMEOUT_USEC"] == "25000000"
    assert manager.wait_for("EXTEND_TIMEOUT_USEC").assignments["EXTEND_TIMEOUT_USEC"] == "10000000"
    assert manager.wait_for("EXTEND_TIMEOUT_USEC").assignments["EXTEND_TIMEOUT_USEC"] == "10000000"
    with gate_open():
        manager.wait_ready()


def test_without_a_manager_nothing_breaks(manager: Manager, listener: Listener) -> None:
    app()
    manager.sockact("app:app", "--control=none", listeners=[listener], NOTIFY_SOCKET="")

    assert get(listener).text == "hello"
    manager.signal(signal.SIGTERM)
    assert manager.wait_exit() == 0
    assert [message for message in manager.heard if message.pid == manager.pid] == []
    assert "WARNING" not in manager.stderr()


@pytest.mark.parametrize("where", ["/nowhere/at/all", "@sockact-nobody-is-here", "nonsense"])
def test_a_manager_that_cannot_be_reached_does_no_harm(
    manager: Manager, listener: Listener, where: str
) -> None:
    app()
    manager.sockact("app:app", listeners=[listener], NOTIFY_SOCKET=where)

    assert get(listener).text == "hello"
    manager.signal(signal.SIGTERM)
    assert manager.wait_exit() == 0
    assert where in manager.stderr()


def test_a_status_that_is_not_ascii_arrives_intact(manager: Manager, listener: Listener) -> None:
    app(startup="raise RuntimeError('Ünïcödé … ✓\\nMAINPID=1')")
    manager.sockact("app:app", listeners=[listener])

    assert manager.wait_exit() == 1
    expected = "the app's startup failed: RuntimeError: Ünïcödé … ✓ MAINPID=1"
    assert manager.said("STATUS")[-1] == expected
    assert manager.said("MAINPID") == []


def test_the_watchdog_is_pinged_again_and_again(manager: Manager, listener: Listener) -> None:
    app()
    manager.sockact("app:app", listeners=[listener], WATCHDOG_USEC="40000")

    manager.wait_ready()
    for _ in range(3):
        manager.wait_for("WATCHDOG", "1")


def test_the_watchdog_of_another_process_is_not_pinged(manager: Manager, listener: Listener) -> None:
    app()
    manager.sockact("app:app", listeners=[listener], WATCHDOG_USEC="40000", WATCHDOG_PID="1")
    manager.wait_ready()
    manager.signal(signal.SIGTERM)

    assert manager.wait_exit() == 0
    assert manager.said("WATCHDOG") == []


def test_the_watchdog_of_this_process_is_pinged(manager: Manager, listener: Listener) -> None:
    app()
    program = 'export WATCHDOG_USEC=40000 WATCHDOG_PID=$$; exec "$@"'
    run = [sys.executable, "-m", "sockact", "run", "app:app"]
    manager.start(["/bin/sh", "-c", program, "sh", *run], [listener])

    manager.wait_for("WATCHDOG", "1")


def test_a_loop_that_hangs_stops_pinging(manager: Manager, listener: Listener) -> None:
    app(request="import socket; s = socket.socket(socket.AF_UNIX); s.connect('hang'); s.recv(1); s.close()")
    manager.sockact("app:app", listeners=[listener], WATCHDOG_USEC="40000")
    manager.wait_ready()
    with socket.socket(socket.AF_UNIX) as hang, connect(listener) as client:
        hang.bind("hang")
        hang.listen()
        hang.settimeout(LIMIT)
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with hang.accept()[0]:
            manager.catch_up()
            while pinged(manager, within=0):
                pass  # sent before the loop hung
            assert not pinged(manager, within=0.2)
        manager.wait_for("WATCHDOG", "1")


def pinged(manager: Manager, within: float) -> bool:
    try:
        manager.wait_for("WATCHDOG", "1", timeout=within)
    except AssertionError:
        return False
    return True


def test_a_child_of_the_app_inherits_nothing_from_the_manager(manager: Manager, listener: Listener) -> None:
    app(request="")
    Path("app.py").write_text("""
import json, subprocess

async def app(scope, receive, send):
    env = subprocess.run(["env"], capture_output=True, text=True).stdout
    ls = ["ls", "-l", "/proc/self/fd"]
    fds = subprocess.run(ls, capture_output=True, text=True, close_fds=False).stdout
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps([env, fds]).encode()})
""")
    manager.sockact("app:app", listeners=[listener], WATCHDOG_USEC="60000000")
    manager.wait_ready()
    environ, fds = json.loads(get(listener).body)

    names = {line.partition("=")[0] for line in environ.splitlines()} - {"SOCKACT_WORKERS"}  # a setting
    assert not [name for name in names if name.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_", "SOCKACT_"))]
    assert "socket:" not in fds


def test_the_status_tells_the_requests_in_flight(manager: Manager, listener: Listener) -> None:
    app(request=WAIT)
    manager.sockact("app:app", listeners=[listener])
    assert manager.wait_ready().assignments["STATUS"] == "gen 1: ready, 0 requests in flight"
    with Client(listener) as one, Client(listener) as two:
        one.ask()
        two.ask()

        manager.wait_for("STATUS", "gen 1: ready, 2 requests in flight")
        open_gate_for(one, two)
        manager.wait_for("STATUS", "gen 1: ready, 0 requests in flight")


def open_gate_for(*connections: Client) -> None:
    """Release the requests, and read their answers."""
    with gate_open():
        for connection in connections:
            assert connection.read().text == "hello"


def test_the_status_is_said_at_most_once_a_second(manager: Manager, listener: Listener) -> None:
    shutil.copy(WEBAPP, "app.py")
    manager.sockact("app:app", listeners=[listener])
    manager.wait_ready()
    with Client(listener) as connection:
        for _ in range(200):
            connection.ask()
            connection.read()
    manager.signal(signal.SIGTERM)
    manager.wait_for("STOPPING", "1")

    assert len(manager.said("STATUS")) <= 5


def test_stopping_is_said_before_the_drain_ends(manager: Manager, listener: Listener) -> None:
    app(request=WAIT)
    manager.sockact("app:app", listeners=[listener])
    manager.wait_ready()
    with Client(listener) as connection:
        connection.ask()
        manager.wait_for("STATUS", "gen 1: ready, 1 request in flight")
        manager.signal(signal.SIGTERM)

        assert manager.wait_for("STOPPING", "1").assignments["STATUS"].startswith("gen 1: deactivating, ")
        manager.wait_for("STATUS", "gen 1: deactivating, draining, 1 request in flight, 1 connection")
        open_gate_for(connection)
    assert manager.wait_exit() == 0
    assert manager.said("READY") == ["1"]
    assert manager.said("STOPPING") == ["1"]


def test_a_drain_under_way_asks_for_more_time_up_to_its_timeout(
    manager: Manager, listener: Listener
) -> None:
    app(request=WAIT)
    manager.sockact("app:app", "--drain-timeout=2", "--shutdown-timeout=0.2", listeners=[listener])
    manager.wait_ready()
    with Client(listener) as connection:
        connection.ask()
        manager.wait_for("STATUS", "gen 1: ready, 1 request in flight")
        manager.signal(signal.SIGTERM)
        manager.wait_for("STOPPING", "1")

        asked = int(manager.wait_for("EXTEND_TIMEOUT_USEC").assignments["EXTEND_TIMEOUT_USEC"])
        open_gate_for(connection)
    # The shutdown, the hooks before and after it, the process's end, and what a worker might leave behind.
    assert 2_000_000 < asked <= 7_800_000


def test_a_barrier_waits_until_the_manager_has_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with NotifySocket() as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
        notifier = Notifier()
        passed = threading.Event()
        asking = threading.Thread(target=lambda: passed.set() if notifier.barrier(LIMIT) else None)
        notifier.ready("x")
        asking.start()

        assert not passed.is_set()
        wait_until(lambda: (message := manager.receive()) and "BARRIER" in message.assignments)
        assert passed.wait(LIMIT)
        asking.join()
        close(notifier)
