"""Handlers of raw connections: asyncio's streams, sockets in threads, classes of socketserver."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from sockact.system.signals import FOLLOWED
from tests.support.manager import LIMIT, Manager, wait_until
from tests.support.processes import wait_gone, workers
from tests.support.sockets import bound
from tests.support.streams import LineClient, reload, start

ECHO = """
import asyncio, os, socketserver

async def stream(reader, writer):
    while line := await reader.readline():
        writer.write(b"%d %s" % (os.getpid(), line))

def connection(sock):
    with sock.makefile("rwb", buffering=0) as file:
        for line in file:
            file.write(b"%d %s" % (os.getpid(), line))

async def awaited(sock):
    loop = asyncio.get_running_loop()
    while line := await loop.sock_recv(sock, 100):
        await loop.sock_sendall(sock, b"%d %s" % (os.getpid(), line))

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(b"%d %s" % (os.getpid(), line))
"""

COUNT = """
import os, sockact

async def count(reader, writer, *, state=b"0"):
    number = int(state)
    try:
        while line := await reader.readline():
            number += 1
            writer.write(b"%d %d %s" % (number, os.getpid(), line))
    except sockact.Moving:
        return sockact.Handover(b"%d" % number)

async def each(reader, writer, *, state=b"0"):
    if line := await reader.readline():
        state = b"%d" % (int(state) + 1)
        writer.write(b"%s %d %s" % (state, os.getpid(), line))
        return sockact.Handover(state)

async def packed(reader, writer, *, state=b"0"):
    size = int(await reader.readexactly(1))
    await reader.readexactly(size)
    state = b"%d" % (int(state) + 1)
    writer.write(b"%s %d\\n" % (state, os.getpid()))
    return sockact.Handover(state)
"""


@pytest.fixture
def connect(listener: Listener) -> Iterator[Callable[..., LineClient]]:
    """Give the function that opens a connection, by default to the listener."""
    clients: list[LineClient] = []

    def connect(address: object = None) -> LineClient:
        assert listener.sock
        clients.append(LineClient(address or listener.sock.getsockname()))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


HANDLERS = ("stream", "connection", "awaited", "Handler")


@pytest.mark.parametrize("app", HANDLERS)
def test_every_kind_of_handler_serves(
    manager: Manager, listener: Listener, connect: Callable[..., LineClient], app: str
) -> None:
    pid = start(manager, listener, ECHO, app)
    clients = [connect() for _ in range(3)]

    assert [client.ask(f"hello {index}") for index, client in enumerate(clients)] == [
        f"{pid} hello {index}" for index in range(3)
    ]
    for client in clients:
        client.close()
    manager.signal(signal.SIGTERM)
    assert manager.wait_exit() == 0


def test_a_handler_serves_a_unix_socket_which_stays(
    manager: Manager, connect: Callable[..., LineClient]
) -> None:
    unix = bound(socket.AF_UNIX, socket.SOCK_STREAM, "app.sock", listen=True)
    pid = start(manager, unix, ECHO, "stream")

    assert connect("app.sock").ask("hello") == f"{pid} hello"

    manager.signal(signal.SIGTERM)
    assert manager.wait_exit() == 0
    assert Path("app.sock").is_socket()
    unix.close()


def test_a_handler_of_sockets_serves_sequential_packets(manager: Manager) -> None:
    packets = bound(socket.AF_UNIX, socket.SOCK_SEQPACKET, "app.sock", listen=True)
    start(manager, packets, "def app(sock):\n    sock.send(sock.recv(100).upper())\n", "app")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(LIMIT)
        client.connect("app.sock")
        client.send(b"hello")

        assert client.recv(100) == b"HELLO"
        assert client.recv(100) == b""
    packets.close()


def test_foreign_clients_are_served(manager: Manager, listener: Listener) -> None:
    pid = start(manager, listener, ECHO, "stream")

    host, port = listener.address.split(":")
    said = subprocess.run(
        ["nc", "-N", host, port],
        input="one\ntwo\n",
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )

    assert said.stdout == f"{pid} one\n{pid} two\n"


@pytest.mark.parametrize("app", ["stream", "connection", "Handler"])
def test_in_a_drain_an_idle_conversation_ends(
    manager: Manager, listener: Listener, connect: Callable[..., LineClient], app: str
) -> None:
    start(manager, listener, ECHO, app, "--linger=0.2s", "--drain-timeout=none")
    client = connect()
    client.ask("hello")

    manager.signal(signal.SIGTERM)

    assert client.read() == ""
    assert manager.wait_exit() == 0


def test_in_a_drain_a_conversation_at_work_goes_on(
    manager: Manager, listener: Listener, connect: Callable[..., LineClient]
) -> None:
    start(manager, listener, ECHO, "stream", "--linger=2s")
    client = connect()
    client.ask("hello")
    manager.signal(signal.SIGTERM)
    manager.wait_for("STOPPING", "1")

    assert all(client.ask(f"more {number}").endswith(f"more {number}") for number in range(10))
    assert client.read() == ""
    assert manager.wait_exit() == 0


@pytest.mark.parametrize(
    "handler",
    [
        "async def app(reader, writer):\n    writer.write(b'on\\n')\n    await asyncio.Event().wait()\n",
        "def app(sock):\n    sock.send(b'on\\n')\n    threading.Event().wait()\n",
        "async def app(sock):\n    sock.send(b'on\\n')\n    await asyncio.Event().wait()\n",
    ],
)
def test_the_drain_timeout_ends_a_handler_that_does_not(
    manager: Manager, listener: Listener, connect: Callable[..., LineClient], handler: str
) -> None:
    source = "import asyncio, threading\n" + handler
    start(manager, listener, source, "app", "--linger=0.1s", "--drain-timeout=0.5s")
    assert connect().read() == "on"

    manager.signal(signal.SIGTERM)

    assert manager.wait_exit() == 0
    assert "aborted: a connection with 127.0.0.1" in manager.stderr()


def test_a_handler_that_fails_ends_its_connection_only(
    manager: Manager, listener: Listener, connect: Callable[..., LineClient]
) -> None:
    source = (
        "async def app(reader, writer):\n    writer.write(b'%d\\n' % (1 // int(await reader.readline())))\n"
    )
    start(manager, listener, source, "app")

    assert connect().ask("0") == ""
    assert connect().ask("1") == "1"
    assert "ZeroDivisionError" in manager.stderr()


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("app", ["count", "each"])
def test_a_connection_takes_its_state_to_the_next_process(
    manager: Manager, listener: Listener, connect: Callable[..., LineClient], size: int, app: str
) -> None:
    options = (f"--workers={size}", "--probation=0.1s", "--linger=0.1s")
    pid = start(manager, listener, COUNT, app, *options)
    client = connect()
    client.ask("a")
    for number in (2, 3, 4):
        old = workers(pid)
        reload(manager)
        for worker in old:
            wait_gone(worker)
        assert client.ask("b") == f"{number} {(workers(pid) or [pid])[0]} b"


def test_what_has_come_of_a_message_moves_too(
    manager: Manager, listener: Listener, connect: Callable[..., LineClient]
) -> None:
    pid = start(manager, listener, COUNT, "count", "--workers=1", "--probation=0.1s", "--linger=0.1s")
    client = connect()
    client.ask("a")
    client.send("half")
    old = workers(pid)
    reload(manager)
    wait_gone(old[0])

    client.send(" and half\n")

    assert client.read() == f"2 {workers(pid)[0]} half and half"


def test_half_a_message_is_finished_where_it_began(
    manager: Manager, listener: Listener, connect: Callable[..., LineClient]
) -> None:
    pid = start(manager, listener, COUNT, "packed", "--workers=1", "--probation=0.1s", "--linger=20s")
    client, idle = connect(), connect()
    client.send("5ab")
    idle.send("1x")
    assert idle.read().startswith("1 ")  # what was sent before has been read
    (old,) = workers(pid)
    reload(manager)

    client.send("cde")

    assert client.read() == f"1 {old}"
    wait_gone(old)
    client.send("1x")
    assert client.read() == f"2 {workers(pid)[0]}"


def test_a_message_that_does_not_go_on_ends_the_conversation(
    manager: Manager, listener: Listener, connect: Callable[..., LineClient]
) -> None:
    start(manager, listener, COUNT, "packed", "--linger=0.1s")
    client, idle = connect(), connect()
    client.send("5ab")
    idle.send("1x")
    assert idle.read().startswith("1 ")  # what was sent before has been read

    reload(manager)

    assert client.read() == ""
    idle.send("1x")
    assert idle.read().startswith("2 ")


def test_a_connection_with_its_state_survives_a_restart(
    manager: Manager, listener: Listener, connect: Callable[..., LineClient]
) -> None:
    Path("app.py").write_text(COUNT)
    client = connect()
    for number in (1, 2, 3):
        manager.sockact("app:count", "--linger=0.1s", listeners=[listener], FDSTORE="100")
        manager.wait_ready()
        assert client.ask("a").split()[0] == str(number)
        manager.signal(FOLLOWED)
        manager.signal(signal.SIGTERM)
        assert manager.wait_exit() == 0
        assert len(manager.stored) == 1


def test_a_conversation_that_waits_for_a_restart_goes_on_here_when_that_is_called_off(
    manager: Manager, listener: Listener, connect: Callable[..., LineClient]
) -> None:
    Path("app.py").write_text(COUNT)
    manager.sockact("app:packed", "--linger=3s", listeners=[listener], FDSTORE="100", PATH="")
    manager.wait_ready()
    pid = manager.pid
    client, other = connect(), connect()
    client.send("1x")
    other.send("5ab")  # for the rest of which the drain waits
    assert client.read() == f"1 {pid}"
    manager.signal(FOLLOWED)
    manager.signal(signal.SIGTERM)
    wait_until(lambda: manager.stored)

    manager.signal(FOLLOWED)

    client.send("1x")
    assert client.read() == f"2 {pid}"
    assert manager.wait_exit() == 0


def test_it_is_closed_where_nobody_takes_it(
    manager: Manager, listener: Listener, connect: Callable[..., LineClient]
) -> None:
    start(manager, listener, COUNT, "count", "--linger=0.1s", "--no-handover")
    client = connect()
    client.ask("a")

    reload(manager)

    assert client.read() == ""
    assert connect().ask("a").startswith("1 ")


@pytest.mark.parametrize("app", ["stream", "connection"])
def test_a_conversation_that_the_new_handler_cannot_go_on_with_is_closed(
    manager: Manager, listener: Listener, connect: Callable[..., LineClient], app: str
) -> None:
    start(manager, listener, COUNT, "count", "--linger=0.1s")
    client = connect()
    client.ask("a")
    client.send("half of a message")
    Path("app.py").write_text(f"{ECHO}\ncount = {app}\n")

    reload(manager)

    assert client.read() == ""
    assert "state for another handler: closed" in manager.stderr()
    assert connect().ask("a").endswith(" a")


def test_a_client_that_leaves_ends_the_conversation(
    manager: Manager, listener: Listener, connect: Callable[..., LineClient]
) -> None:
    start(manager, listener, COUNT, "count", "--drain-timeout=none", "--linger=20s")
    client = connect()
    client.ask("a")
    client.close()

    manager.signal(signal.SIGTERM)

    assert manager.wait_exit() == 0


def test_without_a_successor_a_conversation_goes_on_until_nothing_comes(
    manager: Manager, listener: Listener, connect: Callable[..., LineClient]
) -> None:
    start(manager, listener, COUNT, "each", "--linger=3s")
    client, idle, fresh = connect(), connect(), connect()
    assert [each.ask("a").split()[0] for each in (idle, client)] == ["1", "1"]
    manager.signal(signal.SIGTERM)
    manager.wait_for("STOPPING", "1")

    assert [client.ask("b").split()[0] for _ in range(3)] == ["2", "3", "4"]
    assert fresh.ask("a").startswith("1 ")
    assert [each.read() for each in (client, idle, fresh)] == [""] * 3
    assert manager.wait_exit() == 0


@pytest.mark.parametrize("app", ["count", "each"])
def test_more_connections_move_than_there_are_descriptors_for_at_once(
    manager: Manager, listener: Listener, connect: Callable[..., LineClient], app: str
) -> None:
    manager.most = 64
    pid = start(manager, listener, COUNT, app, "--workers=1", "--probation=0.1s", "--linger=5s")
    clients = [connect() for _ in range(30)]
    for client in clients:
        client.ask("a")
    (old,) = workers(pid)
    reload(manager)
    wait_gone(old)

    assert {client.ask("b").split()[0] for client in clients} == {"2"}
    assert "a handler failed" not in manager.stderr()
