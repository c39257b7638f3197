"""Even load: newcomers and idle connections are spread over the workers, by what these have."""

from __future__ import annotations

import os
import signal
import ssl
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from websockets.sync.client import connect

from sockact.probe.background import BackgroundProbe
from tests.support.certificates import Authority
from tests.support.commands import reload_all
from tests.support.gate import install
from tests.support.http_client import Client
from tests.support.manager import wait_until
from tests.support.processes import held, wait_gone, workers
from tests.support.service import Service
from tests.support.tls import TlsClient, TlsService

FOUR = ("--workers=4", "--probation=0.1s", "--keep-alive=10min")
EVEN = 1.25
"""How many times the mean of all workers the most loaded one may have."""


def counts(service: Service, pid: int) -> list[int]:
    """Return how many connections each worker has."""
    assert service.listener.sock is not None
    return list(held(service.listener.sock.getsockname(), workers(pid)).values())


def is_even(counts: Sequence[int], size: int, total: int) -> bool:
    # A connection that moves is counted twice, or in none of the workers for a moment.
    return len(counts) == size and sum(counts) == total and max(counts) <= EVEN * total / size


def wait_even(service: Service, pid: int, total: int, size: int = 4) -> list[int]:
    """Wait until the connections are spread evenly over so many workers."""
    found: list[int] = []

    def even() -> bool:
        found[:] = counts(service, pid)
        return is_even(found, size, total)

    try:
        wait_until(even)
    except AssertionError:
        raise AssertionError(f"{found}: expected {total} in {size} workers") from None
    return found


def kept(service: Service, count: int) -> list[Client]:
    """Open connections, on each of which one request is answered."""
    clients = [service.client() for _ in range(count)]
    for client in clients:
        client.get()
    return clients


def assert_served(clients: Sequence[Client], pid: int) -> None:
    """See that each connection is as it was: open, and served by a worker."""
    serving = set(workers(pid))
    for client in clients:
        answer = client.get()
        assert not answer.closes
        assert answer.json["pid"] in serving


@pytest.mark.parametrize("size", [64, 400])
def test_newcomers_are_spread(service: Service, size: int) -> None:
    pid = service.start(*FOUR)
    clients = kept(service, size)

    wait_even(service, pid, size)
    assert_served(clients, pid)


def test_a_reload_keeps_them_spread(service: Service) -> None:
    pid = service.start(*FOUR)
    clients = kept(service, 64)

    reload_all(service, pid)

    wait_even(service, pid, 64)
    assert_served(clients, pid)


def test_a_worker_in_place_of_a_killed_one_gets_its_share(service: Service) -> None:
    pid = service.start(*FOUR)
    clients = kept(service, 64)
    wait_even(service, pid, 64)
    killed = workers(pid)[0]
    os.kill(killed, signal.SIGKILL)
    wait_gone(killed)
    left = [client for client in clients if not is_closed(client)]

    wait_even(service, pid, len(left))
    assert_served(left, pid)


def is_closed(client: Client) -> bool:
    """Return whether a connection is lost."""
    try:
        client.get()
    except (OSError, AssertionError):
        return True
    return False


@pytest.mark.parametrize("how", [(), ("--preload",)], ids=["started", "forked"])
def test_one_more_worker_gets_its_share(service: Service, how: Sequence[str]) -> None:
    pid = service.start("--workers=1", "--keep-alive=10min", *how)
    clients = kept(service, 30)
    for size in (2, 3):
        service.manager.signal(signal.SIGTTIN)
        wait_even(service, pid, 30, size)
    assert_served(clients, pid)


def test_connections_on_which_nothing_has_come_yet_move_too(service: Service) -> None:
    pid = service.start("--workers=1", "--keep-alive=10min")
    clients = [service.client() for _ in range(20)]
    wait_until(lambda: counts(service, pid) == [20])
    service.manager.signal(signal.SIGTTIN)

    wait_even(service, pid, 20, 2)
    assert_served(clients, pid)


def test_websockets_streams_and_requests_in_flight_stay_where_they_are(service: Service) -> None:
    pid = service.start("--workers=1", "--keep-alive=10min")
    (first,) = workers(pid)
    assert service.listener.sock is not None
    host, port = service.listener.sock.getsockname()
    held_back, stream = service.client(), service.client()
    held_back.ask("/hold")
    hold = service.gate.wait()
    stream.ask("/stream")
    streaming = service.gate.wait()
    with connect(f"ws://{host}:{port}/ws", open_timeout=None) as websocket:
        clients = kept(service, 12)
        service.manager.signal(signal.SIGTTIN)
        wait_until(lambda: len(workers(pid)) == 2)
        second = next(each for each in workers(pid) if each != first)
        wait_until(lambda: held((host, port), [second])[second] >= 6)

        websocket.send("here")
        assert websocket.recv() == "here"
        hold.release()
        assert held_back.read().json["pid"] == first
        streaming.release()
        assert stream.read().text == "begun;ended"
        assert_served(clients, pid)


def test_connections_over_tls_stay_where_they_are(service: Service, tmp_path: Any) -> None:
    tls = TlsService(service, Authority(tmp_path), tmp_path / "tls.crt", tmp_path / "tls.key")
    tls.install("first")
    trusting = tls.authority.client()
    pid = service.start("--workers=1", "--keep-alive=10min", *tls.options())
    (first,) = workers(pid)
    assert service.listener.sock is not None
    address = service.listener.sock.getsockname()
    clients = [TlsClient(address, trusting) for _ in range(6)]
    try:
        service.manager.signal(signal.SIGTTIN)
        wait_until(lambda: any(each.get().json["pid"] != first for each in fresh(address, trusting)))
        assert [each.get().json["pid"] for each in clients] == [first] * 6
    finally:
        for client in clients:
            client.close()


def fresh(address: Any, trusting: ssl.SSLContext) -> Iterator[TlsClient]:
    """Give a new connection, which ends with its use."""
    with TlsClient(address, trusting) as client:
        yield client


def test_a_hung_worker_gets_nothing_and_keeps_nobody_waiting(service: Service) -> None:
    pid = service.start("--workers=2", "--keep-alive=10min")
    hung, running = workers(pid)
    os.kill(hung, signal.SIGSTOP)
    try:
        clients = kept(service, 20)
        assert {client.get().json["pid"] for client in clients} == {running}
        with BackgroundProbe(f"http://{service.listener.address}", ["persistent:4@50"]) as probe:
            wait_until(lambda: sum(counts(service, pid)) == 24)
            report = probe.report()
        assert report["lost"] == 0, report["failures"]
        assert {client.get().json["pid"] for client in clients} == {running}
    finally:
        os.kill(hung, signal.SIGCONT)
    clients[0].get()

    wait_even(service, pid, 20, 2)
    assert_served(clients, pid)


SLOW = """
import asyncio, fcntl
first = open("slow", "w")
try:
    fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
    delay = 0.2
except OSError:
    delay = 0.02
served = app
async def app(scope, receive, send):
    if scope["type"] == "http":
        await asyncio.sleep(delay)
    await served(scope, receive, send)
"""


def test_a_slow_worker_gets_fewer(service: Service) -> None:
    install(service.directory)
    with (service.directory / "app.py").open("a") as app:
        app.write(SLOW)
    pid = service.start(*FOUR, f"--chdir={service.directory}")
    url = f"http://{service.listener.address}"
    with BackgroundProbe(url, ["persistent:32@max"]) as clients:
        wait_until(lambda: sum(counts(service, pid)) == 32 and min(counts(service, pid)) <= 2)
        report = clients.report()

    assert report["lost"] == 0, report["failures"]
    assert report["total"]["connections"] == 32


KINDS = ("persistent:8@max", "persistent:24@4")


def under_changes(service: Service, pid: int) -> dict[str, Any]:
    """Change the number of workers to and fro under load; return the report of the clients."""
    with BackgroundProbe(f"http://{service.listener.address}", KINDS) as clients:
        for number, size in ((signal.SIGTTIN, 3), (signal.SIGTTOU, 2)) * 3:
            service.manager.signal(number)
            wait_even(service, pid, 32, size)
        return clients.report()


def test_nothing_is_lost_while_connections_move(service: Service) -> None:
    pid = service.start("--workers=2", "--keep-alive=10min")
    report = under_changes(service, pid)

    assert report["lost"] == 0, report["failures"]
    assert report["total"]["connections"] == 32


BREAK = """
from sockact.engines.http.connection import HttpConnection
def shed(self):
    self.transport.abort()
HttpConnection.shed = shed
"""


def test_the_clients_of_the_test_above_see_it_when_a_connection_is_lost(service: Service) -> None:
    install(service.directory)
    with (service.directory / "app.py").open("a") as app:
        app.write(BREAK)
    pid = service.start("--workers=2", "--keep-alive=10min", f"--chdir={service.directory}")
    report = under_changes(service, pid)

    assert report["lost"] > 0 or report["total"]["connections"] > 32
