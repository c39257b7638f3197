"""Hundreds of clients that are slow on purpose, of three kinds; one that is not is served meanwhile."""

from __future__ import annotations

import contextlib
import resource
import select
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.manager import LIMIT, open_sockets, resident, wait_until
from tests.support.service import Service

EACH = 500

PER_CLIENT = 128 * 1024
"""Bytes of memory that a client may cost, whatever it does: what is buffered for it is about 64 KiB."""

PATIENT = ("--header-timeout=none", "--body-timeout=none", "--write-timeout=none", "--linger=2s")

TOO_MUCH = 80 * 1024 * 1024
"""Bytes of memory that 50 clients do not cost whose requests wait for each other. Each costs up to 1.2 MB,
for what was read at once, and for the requests in 4 KiB of it."""

NO_FLOW_CONTROL = """
from sockact.engines.http.connection import HttpConnection
HttpConnection.pause_writing = lambda self: None
"""

READS_ON = """
from sockact.engines.http import connection
connection.READ_AHEAD = 2**30
"""


@pytest.fixture(autouse=True)
def _descriptors() -> Iterator[None]:
    """Raise the limit of descriptors for the test and its service, where the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Crowd:
    """Clients that send their requests a byte now and then, and clients that do not read."""

    HEADERS = b"GET / HTTP/1.1\r\nX: "
    BODY = b"POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n"
    ENDLESS = b"GET /endless HTTP/1.1\r\nHost: test\r\n\r\n"

    def __init__(self, service: Service, each: int) -> None:
        assert service.listener.sock is not None
        self._address = service.listener.sock.getsockname()
        self._service = service
        self.headers = [self._connect(self.HEADERS) for _ in range(each)]
        self.bodies = [self._connect(self.BODY) for _ in range(each)]
        self.readers = [self._connect(self.ENDLESS) for _ in range(each)]

    def _connect(self, begin: bytes) -> socket.socket:
        sock = socket.socket()
        # Little, or the kernel takes hundreds of MB for what these do not read.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(LIMIT)
        sock.connect(self._address)
        sock.sendall(begin)
        return sock

    def drip(self) -> None:
        """Send a byte on each connection that still waits for some."""
        for sock in (*self.headers, *self.bodies):
            with contextlib.suppress(OSError):
                sock.send(b"x")

    def wait_stalled(self) -> None:
        """Wait until all endless responses are stalled, which takes a busy machine a while."""
        wait_until(self._all_stalled, limit=5 * LIMIT)

    def _all_stalled(self) -> bool:
        """Ask the app, on a connection as others have it."""
        with self._service.client() as client:
            response = client.get("/stalled")
            assert response.status == 200
            return int(response.body) == len(self.readers)

    def close(self) -> None:
        for sock in (*self.headers, *self.bodies, *self.readers):
            sock.close()


@contextlib.contextmanager
def crowd(service: Service, each: int = EACH) -> Iterator[Crowd]:
    with contextlib.closing(Crowd(service, each)) as clients:
        yield clients


def serves(service: Service, clients: Crowd) -> None:
    """Ask many times on new connections and on an old one, while the slow ones go on."""
    with service.client() as old:
        for number in range(100):
            with service.client() as new:
                assert new.get().body == b"ok"
            assert old.get().body == b"ok"
            if number % 20 == 0:
                clients.drip()


def test_others_are_served_and_the_memory_stays_flat(bounded: Service) -> None:
    pid = bounded.start(*PATIENT)
    assert bounded.client().get().status == 200
    before = resident(pid)
    with crowd(bounded) as clients:
        clients.wait_stalled()
        serves(bounded, clients)
        first = resident(pid)
        for _ in range(3):
            serves(bounded, clients)

        assert first - before < 3 * EACH * PER_CLIENT
        assert resident(pid) - first < EACH * PER_CLIENT / 10


def test_memory_that_is_not_bounded_is_seen(bounded: Service) -> None:
    with (bounded.directory / "app.py").open("a") as app:
        app.write(NO_FLOW_CONTROL)
    pid = bounded.start(*PATIENT)
    assert bounded.client().get().status == 200
    before = resident(pid)
    with crowd(bounded, 20):
        wait_until(lambda: resident(pid) - before > 3 * 20 * PER_CLIENT)
    bounded.manager.signal(signal.SIGKILL)


def growth(service: Service, pid: int, clients: int, patience: float) -> int:
    """Send requests on all clients until that is too much, or nobody has taken more for `patience` seconds.

    Returns:
        By how much the memory has grown.
    """
    requests = 20_000 * b"GET / HTTP/1.1\r\nHost:\r\n\r\n"
    assert service.client().get().status == 200
    before = resident(pid)
    socks = [service.client().sock for _ in range(clients)]
    for sock in socks:
        sock.setblocking(False)
    # What was not sent of a batch comes next: half a request, with another one behind it, would be refused.
    unsent = dict.fromkeys(socks, b"")
    last = time.monotonic()
    while resident(pid) - before <= TOO_MUCH and time.monotonic() < last + patience:
        for sock in select.select([], socks, [], 0.1)[1]:
            last = time.monotonic()
            unsent[sock] = unsent[sock] or requests
            with contextlib.suppress(BlockingIOError):
                unsent[sock] = unsent[sock][sock.send(unsent[sock]) :]
    return resident(pid) - before


def test_requests_that_wait_for_each_other_are_few(bounded: Service) -> None:
    pid = bounded.start(*PATIENT)

    assert growth(bounded, pid, 50, patience=1) < TOO_MUCH
    assert bounded.client().get().status == 200


def test_requests_that_wait_without_bounds_are_seen(bounded: Service) -> None:
    with (bounded.directory / "app.py").open("a") as app:
        app.write(READS_ON)
    pid = bounded.start(*PATIENT)

    assert growth(bounded, pid, 1, patience=LIMIT) > TOO_MUCH


def test_all_of_them_are_cut(bounded: Service) -> None:
    pid = bounded.start("--header-timeout=2s", "--body-timeout=2s", "--write-timeout=2s")
    assert bounded.client().get().status == 200
    before = open_sockets(pid)
    with crowd(bounded) as clients:
        serves(bounded, clients)

        for sock in (*clients.headers, *clients.bodies):
            assert sock.recv(4096).startswith(b"HTTP/1.1 408 ")
        ended = select.poll()
        for sock in clients.readers:
            ended.register(sock, 0)
        wait_until(lambda: len(ended.poll(0)) == EACH)
        wait_until(lambda: open_sockets(pid) <= before)


def test_a_stop_ends_by_the_drain_timeout_at_the_latest(bounded: Service) -> None:
    bounded.start(*PATIENT, "--drain-timeout=3s")
    with crowd(bounded) as clients:
        clients.wait_stalled()

        bounded.manager.signal(signal.SIGTERM)
        bounded.manager.wait_for("STOPPING", "1")
        while bounded.manager.running:
            clients.drip()

    assert bounded.manager.wait_exit() == 0
    assert f"drain timeout after 3 s: aborting {3 * EACH} connections" in bounded.manager.stderr()
