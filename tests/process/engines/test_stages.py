"""Streams and WebSockets in a drain: told at its beginning, ended after their grace, each at its time."""

from __future__ import annotations

import contextlib
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from sockact.sockets.fds import Listener
from tests.support.http_client import Client, get
from tests.support.manager import LIMIT, Manager, wait_until

APP = """
import asyncio, sockact

async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": scope["path"] != "/now"})
        if scope["path"] == "/now":
            return
        if scope["path"] == "/told":
            await sockact.draining.wait()
            await send({"type": "http.response.body", "body": b"drained"})
            return
        await receive()
        while (event := await receive())["type"] != "http.disconnect":
            pass
        open("disconnected", "a").write("x")
"""


@pytest.fixture
def where(listener: Listener) -> tuple[str, int]:
    assert listener.sock
    host, port = listener.sock.getsockname()
    return host, port


@pytest.fixture
def open_socket(where: tuple[str, int]) -> Iterator[Callable[[], ClientConnection]]:
    """Give the function that opens a WebSocket."""
    with contextlib.ExitStack() as opened:
        yield lambda: opened.enter_context(connect(f"ws://{where[0]}:{where[1]}/"))


def start(manager: Manager, listener: Listener, *options: str) -> None:
    Path("app.py").write_text(APP)
    manager.sockact("app:app", *options, listeners=[listener])
    manager.wait_ready()


def stop(manager: Manager) -> None:
    manager.signal(signal.SIGTERM)
    manager.wait_for("STOPPING", "1")


def closed_with(socket: ClientConnection) -> int | None:
    """Wait until the server closes a WebSocket, and return the code."""
    with pytest.raises(ConnectionClosed) as end:
        socket.recv(LIMIT)
    return end.value.rcvd.code if end.value.rcvd else None


def test_a_websocket_goes_on_for_its_grace(
    manager: Manager, listener: Listener, open_socket: Callable[[], ClientConnection]
) -> None:
    start(manager, listener, "--websocket-grace=3s")
    socket = open_socket()
    stop(manager)

    for number in range(10):
        socket.send(str(number))
        assert socket.recv(LIMIT) == str(number)
    assert closed_with(socket) == 1012
    assert manager.wait_exit() == 0


def test_without_a_grace_it_is_closed_as_the_drain_begins(
    manager: Manager, listener: Listener, open_socket: Callable[[], ClientConnection]
) -> None:
    start(manager, listener, "--drain-timeout=none")
    sockets = [open_socket() for _ in range(5)]
    stop(manager)

    assert [closed_with(each) for each in sockets] == [1012] * 5
    assert manager.wait_exit() == 0


def test_the_ends_of_websockets_can_be_spread(
    manager: Manager, listener: Listener, open_socket: Callable[[], ClientConnection]
) -> None:
    start(manager, listener, "--drain-jitter=2s", "--drain-timeout=none")
    sockets = [open_socket() for _ in range(20)]
    stop(manager)

    # The first has ended, and others still answer.
    wait_until(lambda: not all(answers(each) for each in sockets))
    assert any(answers(each) for each in sockets)
    assert manager.wait_exit() == 0


def test_the_ends_of_streams_can_be_spread(
    manager: Manager, listener: Listener, where: tuple[str, int]
) -> None:
    start(
        manager, listener, "--stream-grace=0s", "--drain-jitter=2s", "--linger=20s", "--drain-timeout=none"
    )
    with contextlib.ExitStack() as opened:
        other, *clients = [opened.enter_context(Client(where)) for _ in range(21)]
        assert other.get("/now").status == 200
        for client in clients:
            client.ask("/")
            client.read_head()
            assert client.read_chunk() == b"begun"
        streams = [client.sock for client in clients]
        stop(manager)

        select.select(streams, [], [], LIMIT)
        assert other.get("/now").closes  # whatever ends with the first has ended before this

        assert 0 < len(select.select(streams, [], [], 0)[0]) < 20
        assert manager.wait_exit() == 0
        assert all(client.at_eof() for client in clients)


def answers(socket: ClientConnection) -> bool:
    try:
        socket.send("still there?")
        return socket.recv(LIMIT) == "still there?"
    except ConnectionClosed:
        return False


def test_a_stream_ends_after_its_grace_and_its_app_is_told(
    manager: Manager, listener: Listener, where: tuple[str, int]
) -> None:
    start(manager, listener, "--stream-grace=0.2s", "--drain-timeout=none")
    with Client(where) as client:
        client.ask("/")
        client.read_head()
        assert client.read_chunk() == b"begun"
        stop(manager)

        assert client.at_eof()
    assert manager.wait_exit() == 0
    assert Path("disconnected").read_text() == "x"


def test_a_stream_that_listens_to_the_event_ends_by_itself(
    manager: Manager, listener: Listener, where: tuple[str, int]
) -> None:
    start(manager, listener, "--drain-timeout=none")
    with Client(where) as client:
        client.ask("/told")
        client.read_head()
        assert client.read_chunk() == b"begun"
        stop(manager)

        assert client.read_chunk() == b"drained"
        assert client.read_chunk() == b""
    assert manager.wait_exit() == 0
    assert not Path("disconnected").exists()


ENDLESS = """
import time

def app(environ, start_response):
    start_response("200 OK", [])
    return endless() if environ["PATH_INFO"] == "/endless" else [b"hello"]

def endless():
    try:
        while True:
            yield b"more"
            time.sleep(0.01)
    finally:
        open("closed", "a").write("x")
"""


def test_a_stream_of_a_wsgi_app_ends_when_its_client_has_gone(
    manager: Manager, listener: Listener, where: tuple[str, int]
) -> None:
    """Else it would keep its thread, here the only one, for ever."""
    Path("app.py").write_text(ENDLESS)
    manager.sockact("app:app", "--threads=1", listeners=[listener])
    manager.wait_ready()
    with Client(where) as client:
        client.ask("/endless")
        client.read_head()
        assert client.read_chunk() == b"more"

    assert get(listener).text == "hello"
    assert Path("closed").read_text() == "x"


def test_a_stream_of_a_wsgi_app_ends_after_its_grace(
    manager: Manager, listener: Listener, where: tuple[str, int]
) -> None:
    Path("app.py").write_text(ENDLESS)
    manager.sockact("app:app", "--stream-grace=0.2s", "--drain-timeout=none", listeners=[listener])
    manager.wait_ready()
    with Client(where) as client:
        client.ask("/endless")
        client.read_head()
        stop(manager)

        assert manager.wait_exit() == 0
    assert Path("closed").read_text() == "x"
