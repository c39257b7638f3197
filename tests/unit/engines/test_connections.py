"""Connections of one engine in a drain: which of them move, seen from where nothing else runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Sequence
from typing import Any

import pytest
import uvloop

from sockact.config.settings import Settings
from sockact.engines.http.engine import HttpEngine
from sockact.handover.transfer import HandoverSender
from tests.support.manager import listening

LIMIT = 20.0
"""Seconds that a test waits before it gives up."""

REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Store:
    """A manager that takes each connection which it is given."""

    def __init__(self) -> None:
        self.stored: list[socket.socket] = []
        self.sender = HandoverSender(self.take, confirms=True)

    def take(self, descriptors: Sequence[int]) -> bool:
        self.stored += [socket.socket(fileno=os.dup(fd)) for fd in descriptors]
        asyncio.get_running_loop().call_soon(self.sender.taken, len(descriptors))
        return True


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await receive()
    else:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


async def drained(data: bytes, *, turns: int) -> tuple[bytes, list[bytes]]:
    """Send `data` on a connection that an engine accepts `turns` of the loop before its drain.

    Returns:
        What the client has received, and what could still be read of each connection that has moved.
    """
    store = Store()
    engine = HttpEngine(app, "asgi3", [], Settings(linger=0.1, lifespan="off"))
    await engine.start()
    engine.give_to(store.sender)
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(data)
        theirs.setblocking(False)
        engine.receive(theirs)
        for _ in range(turns):
            await asyncio.sleep(0)
        engine.stop_accepting()
        async with asyncio.timeout(LIMIT):
            await engine.wait_drained()
        unread = []
        for connection in store.stored:
            connection.setblocking(False)
            with connection:
                try:
                    unread.append(connection.recv(4096))
                except BlockingIOError:
                    unread.append(b"")
        return ours.recv(4096), unread


@pytest.mark.parametrize("data", [REQUEST, UPGRADE], ids=["request", "upgrade"])
@pytest.mark.parametrize("turns", range(6))
def test_what_was_read_is_answered_and_what_moves_is_unread(data: bytes, turns: int) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        received, unread = runner.run(drained(data, turns=turns))

    answered = received.startswith((b"HTTP/1.1 204", b"HTTP/1.1 101"))
    assert unread == ([b""] if answered and data == REQUEST else [] if answered else [data])


async def answered_early() -> tuple[bytes, bool]:
    """Answer a request before its body has come; in the drain, let the rest come with another request.

    Returns:
        The response to that one, and whether the connection has moved after it.
    """

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(5 * (scope["method"] == "GET")):
            await asyncio.sleep(0)
        await app(scope, receive, send)

    store = Store()
    engine = HttpEngine(slow, "asgi3", [], Settings(linger=LIMIT, lifespan="off"))
    await engine.start()
    engine.give_to(store.sender)
    loop = asyncio.get_running_loop()
    with connected(engine) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nhe")
        await loop.sock_recv(client, 4096)
        engine.stop_accepting()
        client.send(b"re" + REQUEST)
        async with asyncio.timeout(LIMIT):
            await engine.wait_drained()
        for connection in store.stored:
            connection.close()
        return client.recv(4096), bool(store.stored)


def test_a_request_that_comes_with_the_end_of_one_that_was_answered_is_answered() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        received, moved = runner.run(answered_early())

    assert received.startswith(b"HTTP/1.1 204")
    assert moved


async def order_of_moving(asking: Sequence[int]) -> list[int]:
    """Send requests on so many connections in this order; return the order in which they move."""
    store = Store()
    engine = HttpEngine(app, "asgi3", [], Settings(linger=0.1, lifespan="off"))
    await engine.start()
    engine.give_to(store.sender)
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(connected(engine)) for _ in asking]
        for number in asking:
            before = loop.time()
            while loop.time() == before:  # noqa: ASYNC110 - uvloop's clock has whole milliseconds
                await asyncio.sleep(0)
            await loop.sock_sendall(clients[number], REQUEST)
            await loop.sock_recv(clients[number], 4096)
        engine.stop_accepting()
        async with asyncio.timeout(LIMIT):
            await engine.wait_drained()
        for number, client in enumerate(clients):
            client.send(bytes([number]))
        return [opened.enter_context(connection).recv(1)[0] for connection in store.stored]


def connected(engine: HttpEngine) -> socket.socket:
    """Return the client's end of a new connection."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    engine.receive(theirs)
    return ours


def test_those_in_use_move_first() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(order_of_moving((2, 0, 3, 1))) == [1, 3, 0, 2]


async def crowded() -> tuple[bool, list[int]]:
    """Move two connections to an engine that takes one, and open a new one.

    Returns:
        Whether the newcomer was answered while one or both were there, and how many connections there were.
    """
    loop = asyncio.get_running_loop()
    listener = listening()
    assert listener.sock is not None
    engine = HttpEngine(app, "asgi", [listener], Settings(max_connections=1, lifespan="off"))
    await engine.start()
    engine.accept()
    counts = []
    with contextlib.ExitStack() as opened:
        opened.callback(listener.close)
        moved = [opened.enter_context(connected(engine)) for _ in range(2)]
        newcomer = opened.enter_context(socket.create_connection(listener.sock.getsockname()))
        newcomer.setblocking(False)
        await loop.sock_sendall(newcomer, REQUEST)
        early = False
        for client in moved:
            await loop.sock_sendall(client, REQUEST)
            assert (await loop.sock_recv(client, 4096)).startswith(b"HTTP/1.1 204")
        for client in moved:
            for _ in range(20):
                await asyncio.sleep(0)
            counts.append(engine.connections)
            with contextlib.suppress(BlockingIOError):
                early = bool(newcomer.recv(4096)) or early
            client.close()
        async with asyncio.timeout(LIMIT):
            assert (await loop.sock_recv(newcomer, 4096)).startswith(b"HTTP/1.1 204")
        counts.append(engine.connections)
        engine.stop_accepting()
        await engine.abort()
    return early, counts


def test_what_moves_here_is_counted_and_never_refused() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(crowded()) == (False, [2, 1, 1])


async def exchanged(*pieces: bytes, served: Any = app, **settings: Any) -> bytes:
    """Return what an engine sends for what comes in `pieces`, up to the end."""
    engine = HttpEngine(served, "asgi3", [], Settings(lifespan="off", **settings))
    await engine.start()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    engine.receive(theirs)
    reader, writer = await asyncio.open_connection(sock=ours)
    for data in pieces:
        writer.write(data)
        for _ in range(3 * (len(pieces) > 1)):  # turns of the loop, in which it is read
            await asyncio.sleep(0)
    try:
        async with asyncio.timeout(LIMIT):
            return await reader.read()
    finally:
        writer.close()


def test_a_websocket_does_not_overtake_the_response_before_it() -> None:
    async def closes(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(5 * (scope["type"] == "http")):
            await asyncio.sleep(0)
        await app(scope, receive, send) if scope["type"] == "http" else await send(
            {"type": "websocket.close"}
        )

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        first, _, second = runner.run(exchanged(REQUEST + UPGRADE, served=closes)).partition(b"\r\n\r\n")

    assert first.startswith(b"HTTP/1.1 204 ")
    assert second.startswith(b"HTTP/1.1 403 ")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    body = b"%s %s %s" % (scope["method"].encode(), scope["raw_path"], body)
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


H2C = b"Host: test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: test\r\n\r\n"
LAST = b"POST /last HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 3\r\n\r\nend"


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"GET /1 HTTP/1.1\r\n" + H2C + b"\r\n", b"GET /1 "),
        (b"POST /1 HTTP/1.1\r\n" + H2C + b"Content-Length: 0\r\n\r\n", b"POST /1 "),
        (b"POST /1 HTTP/1.1\r\n" + H2C + b"Content-Length: 4\r\n\r\nbody", b"POST /1 body"),
        (
            b"PUT /1 HTTP/1.1\r\n" + H2C + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
            b"PUT /1 body",
        ),
    ],
)
def test_a_request_for_http_2_is_answered_as_any_other(request_: bytes, answer: bytes, size: int) -> None:
    data = request_ + NEXT + request_ + LAST
    pieces = [data[start : start + size] for start in range(0, len(data), size)]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        received = runner.run(exchanged(*pieces, served=echo))

    bodies = [part.partition(b"\r\n\r\n")[2] for part in received.split(b"HTTP/1.1 200 OK")[1:]]
    assert bodies == [answer, b"GET /next ", answer, b"POST /last end"]


def test_a_body_that_is_too_long_is_refused_with_a_request_for_http_2_too() -> None:
    head = b"POST / HTTP/1.1\r\n" + H2C
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n9\r\nlong body\r\n0\r\n\r\n"
    for data in (head + b"Content-Length: 9\r\n\r\nlong body", chunked):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            received = runner.run(exchanged(data, served=echo, max_body_bytes=8))
        assert received.startswith(b"HTTP/1.1 413 ")
