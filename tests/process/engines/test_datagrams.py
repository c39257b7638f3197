"""Handlers of datagrams: none is read by a process that is about to go, none is lost."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from tests.support.manager import LIMIT, PAUSE, Manager, wait_until
from tests.support.sockets import bound
from tests.support.streams import reload, start

ECHO = """
import asyncio, os, socketserver

async def echo(data, address, reply):
    reply(b"%d %s" % (os.getpid(), data))

async def slow(data, address, reply):
    await asyncio.sleep(0.01)  # so that there is always something at work
    reply(b"%d %s" % (os.getpid(), data))

async def stuck(data, address, reply):
    reply(b"stuck")
    await asyncio.Event().wait()

class Handler(socketserver.DatagramRequestHandler):
    def handle(self):
        self.wfile.write(b"%d %s" % (os.getpid(), self.rfile.read()))
"""

WRONG = """
async def app(data, address, reply):
    reply("text" if data == b"wrong" else data)
"""

# As short as a resolver may be: it knows one address, whatever it is asked for.
RESOLVER = r"""
async def app(data, address, reply):
    end = data.index(b"\0", 12) + 5
    answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x01"
    reply(data[:2] + b"\x85\x80\x00\x01\x00\x01\x00\x00\x00\x00" + data[12:end] + answer)
"""


@pytest.fixture
def port() -> Iterator[Listener]:
    """Give a datagram socket, as a socket unit's."""
    port = bound(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
    yield port
    port.close()


def ask(port: Listener, data: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(LIMIT)
        assert port.sock
        client.sendto(data.encode(), port.sock.getsockname())
        return client.recv(1000).decode()


@pytest.mark.parametrize("app", ["echo", "Handler"])
def test_every_kind_of_handler_replies(manager: Manager, port: Listener, app: str) -> None:
    pid = start(manager, port, ECHO, app)

    assert [ask(port, f"hello {index}") for index in range(3)] == [f"{pid} hello {i}" for i in range(3)]

    manager.signal(signal.SIGTERM)
    assert manager.wait_exit() == 0


def test_a_reply_that_is_no_data_is_in_nobodys_way(manager: Manager, port: Listener) -> None:
    start(manager, port, WRONG, "app")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        assert port.sock
        client.sendto(b"wrong", port.sock.getsockname())
        wait_until(lambda: "a handler failed: TypeError" in manager.stderr())

    assert ask(port, "right") == "right"


def test_a_sender_without_a_name_is_in_nobodys_way(manager: Manager) -> None:
    port = bound(socket.AF_UNIX, socket.SOCK_DGRAM, "app.sock")
    pid = start(manager, port, ECHO, "echo")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client,
    ):
        nameless.sendto(b"nobody hears the reply", "app.sock")
        client.bind("client.sock")
        client.settimeout(LIMIT)
        client.sendto(b"hello", "app.sock")

        assert client.recv(1000) == b"%d hello" % pid
    assert "a handler failed" not in manager.stderr()
    port.close()


def test_a_unix_datagram_socket_is_served(manager: Manager) -> None:
    port = bound(socket.AF_UNIX, socket.SOCK_DGRAM, "app.sock")
    pid = start(manager, port, ECHO, "echo")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.settimeout(LIMIT)
        client.bind("client.sock")
        client.sendto(b"hello", "app.sock")

        assert client.recv(100) == f"{pid} hello".encode()
    port.close()


def test_dig_finds_an_address(manager: Manager, port: Listener) -> None:
    start(manager, port, RESOLVER, "app")
    assert port.sock
    where = ["@127.0.0.1", "-p", str(port.sock.getsockname()[1]), "+noedns", "+short"]

    said = subprocess.run(
        ["dig", *where, "sockact.example"], capture_output=True, text=True, timeout=LIMIT, check=True
    )

    assert said.stdout == "10.0.0.1\n"


def test_a_command_line_is_enough(manager: Manager) -> None:
    Path("app.py").write_text(ECHO)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        where = f"udp:127.0.0.1:{free.getsockname()[1]}"
    pid = manager.sockact("app:echo", f"--listen={where}")
    manager.wait_ready()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(LIMIT)
        client.sendto(b"hello", ("127.0.0.1", int(where.rpartition(":")[2])))

        assert client.recv(100) == f"{pid} hello".encode()


def test_the_drain_timeout_ends_a_handler_that_does_not(manager: Manager, port: Listener) -> None:
    start(manager, port, ECHO, "stuck", "--drain-timeout=0.2s", "--linger=0.1s")
    assert ask(port, "hello") == "stuck"

    manager.signal(signal.SIGTERM)

    assert manager.wait_exit() == 0
    assert "aborted: 1 datagrams in flight" in manager.stderr()


class Sender:
    """Sends numbers, one after the other, and collects the answers; no number is sent twice."""

    WINDOW = 32

    def __init__(self, port: Listener, patience: float = LIMIT) -> None:
        assert port.sock
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.connect(port.sock.getsockname())
        self._sock.settimeout(0.05)
        self._patience = patience
        self._room = threading.Semaphore(self.WINDOW)
        self._ending = threading.Event()
        self._received = threading.Event()
        self.sent = 0
        self.answered: dict[int, int] = {}
        self._threads = [threading.Thread(target=self._send), threading.Thread(target=self._receive)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        while not self._ending.is_set():
            if self._room.acquire(timeout=0.05):
                self._sock.send(b"%d" % self.sent)
                self.sent += 1

    def _receive(self) -> None:
        while not self._received.is_set():
            with contextlib.suppress(TimeoutError):
                pid, number = self._sock.recv(100).split()
                self.answered[int(number)] = int(pid)
                self._room.release()

    def end(self) -> None:
        """Send no more, and wait until all is answered, or for as long as the patience lasts."""
        self._ending.set()
        self._threads[0].join()
        deadline = time.monotonic() + self._patience
        while len(self.answered) < self.sent and time.monotonic() < deadline:
            time.sleep(PAUSE)
        self._received.set()
        self._threads[1].join()
        self._sock.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_no_datagram_is_lost_in_reloads(manager: Manager, port: Listener, workers: int) -> None:
    start(manager, port, ECHO, "slow", f"--workers={workers}", "--probation=0.1s")
    sender = Sender(port)
    for _ in range(5):
        reload(manager)
    sender.end()

    assert sender.sent > 100
    assert sorted(sender.answered) == list(range(sender.sent))


def test_a_loss_is_seen(manager: Manager, port: Listener) -> None:
    source = "import os\nasync def app(data, address, reply):\n"
    start(manager, port, source + "    if data != b'7': reply(b'%d %s' % (os.getpid(), data))\n", "app")
    sender = Sender(port, patience=0.5)
    while sender.sent < 100:
        ask(port, "x")
    sender.end()

    assert set(range(sender.sent)) - set(sender.answered) == {7}
