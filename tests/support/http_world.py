"""A model of one client and of the engines that serve it, one after the other: no socket, no clock.

A conversation is made from a seed: the requests, how their bytes are cut, how many turns of the loop pass,
when an engine is paused, begins to drain, or should hand the connection over while it serves on, whether
another one takes it, when the client ends its side or goes. `converse` fails unless the client has seen one
server that loses nothing.

`python -m tests.support.http_world SECONDS` converses for so long.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import socket
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from sockact.config.settings import Settings
from sockact.engines.http.asgi import AsgiCall
from sockact.engines.http.call import READ_AHEAD
from sockact.engines.http.connection import HttpConnection
from sockact.engines.http.engine_state import EngineState, Graces
from sockact.engines.http.shedding import Shedding
from sockact.engines.http.timeouts import Bounds

BOUNDS = Bounds.from_settings(Settings())
FOREVER = 10_000.0
TURNS = 2000
"""Turns of the loop within which everything that can happen has happened."""
READ = 5000
"""Bytes that are read at a time, at most."""
AHEAD = 10
"""Bytes of a body after which no more is read until the app takes them: a bound within reach."""


class BoundedCall(AsgiCall):
    """A call that does not keep much of its body."""

    @property
    def full(self) -> bool:
        """Return whether no more of the body is read until the app has taken some."""
        return len(self._body) > AHEAD


class World:
    """The client's side of a connection, and what lies in the kernel."""

    def __init__(self) -> None:
        self.inbox = bytearray()
        self.received = bytearray()
        self.client_ended = False
        self.server_ended = False
        self.reset = False
        self.engines: list[EngineState] = []
        self.moves = 0
        self.told: set[int] = set()
        self.begun: set[int] = set()
        self.kept = False
        self.short = False
        self.answered_then = 0
        self.paused: dict[int, int] = {}
        self.begin_engine()

    def begin_engine(self) -> EngineState:
        """Start another engine."""
        engine = EngineState(partial(BoundedCall, self._app), FOREVER, Graces(), BOUNDS)
        engine.hangups = Watched()  # type: ignore[assignment]  # stands for one
        self.engines.append(engine)
        return engine

    def connect(self, *, moved: bool) -> None:
        """Give the connection to the newest engine."""
        self.transport = Transport(self)
        self.protocol = HttpConnection(self.engines[-1], moved_here=moved)
        self.transport.protocol = self.protocol
        self.protocol.connection_made(self.transport)
        asyncio.get_running_loop().call_soon(self.transport.begin)

    def deliver(self, size: int) -> None:
        """Let the engine read so many bytes, or the end, if it reads."""
        transport = self.transport
        if transport.lost or self.reset or not transport.begun:
            return
        if transport.paused:
            self._hang_up()
            return
        if self.inbox:
            piece = bytes(self.inbox[:size])
            del self.inbox[:size]
            self.protocol.data_received(piece)
            held = len(self.protocol._reader.rest)
            assert held <= READ_AHEAD + READ, f"{held} bytes are held"
        elif self.client_ended and not transport.ended:
            transport.ended = True
            if not self.protocol.eof_received():
                transport.close()

    def pause(self) -> None:
        """Pause the newest engine, as HttpEngine.hold does; if it is paused, let it go on."""
        place = len(self.engines) - 1
        engine = self.engines[place]
        if place in self.paused:
            self.resume()
        elif engine.draining_since is None:
            self.paused[place] = engine.requests
            engine.held = True
            for connection in list(engine.connections):
                connection.hold()

    def resume(self) -> None:
        """End all pauses; no request may have been read in one."""
        for place, requests in self.paused.items():
            engine = self.engines[place]
            assert engine.requests == requests, "a request was read in a pause"
            engine.held = False
            for connection in list(engine.connections):
                connection.release()
        self.paused.clear()

    def keep(self) -> None:
        """Note that no process takes the connection from now on."""
        if not self.kept:
            self.kept = True
            self.answered_then = len(parse(bytes(self.received))[0])

    def _hang_up(self) -> None:
        """Tell an engine that does not read of the client's end."""
        watched = self.protocol.shared.hangups
        if self.client_ended and self.protocol in watched:
            watched.discard(self.protocol)
            self.protocol.on_hung_up(entirely=False)

    def go(self) -> None:
        """Let the client reset the connection."""
        self.reset = True
        self.transport.lose(ConnectionResetError())

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        number, delay, style = map(int, scope["path"][1:].split("/"))
        assert number not in self.begun, f"request {number} is served twice"
        self.begun.add(number)
        for _ in range(delay):
            await asyncio.sleep(0)
        try:
            if style in (DUPLEX, TOLD):
                await self._answer_while_reading(number, style, receive, send)
            else:
                await self._answer(number, style, receive, send)
        except OSError:
            assert self.reset or self.short

    async def _answer(self, number: int, style: int, receive: Any, send: Any) -> None:
        body, more = b"", style != EARLY
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.told.add(number)
                return
            body += message["body"]
            more = message["more_body"]
        text = b"%d:%s" % (number, body)
        headers = [(b"content-length", b"%d" % len(text))] if style == PARTS else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        size = len(text) if style in (WHOLE, EARLY) else 1
        for place in range(0, len(text), size):
            more = place + size < len(text)
            await send(
                {"type": "http.response.body", "body": text[place : place + size], "more_body": more}
            )
            await asyncio.sleep(0)
        if style == WAITS:
            assert (await receive())["type"] == "http.disconnect"

    async def _answer_while_reading(self, number: int, style: int, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d:" % number, "more_body": True})
        body, more = b"", True
        while more or style == TOLD:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.told.add(number)
                break
            body += message["body"]
            more = message["more_body"]
        await send({"type": "http.response.body", "body": body})


WHOLE, PARTS, CHUNKS, EARLY, WAITS, DUPLEX, TOLD = range(7)
"""The styles of the app: how it answers, and when it reads."""


class Transport:
    """The server's side of the connection."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.protocol: Any = None
        self.paused = False
        self.lost = False
        self.ended = False
        self.moved = False
        self.begun = False
        self._closing = False
        self._loop = asyncio.get_running_loop()

    def begin(self) -> None:
        """Read from now on: what a connection asks for when it is made is done before."""
        self.begun = True

    def get_extra_info(self, name: str) -> Any:
        addresses = {"peername": ("192.0.2.1", 1), "sockname": ("192.0.2.2", 80)}
        return Descriptor() if name == "socket" else addresses.get(name)

    def write(self, data: bytes) -> None:
        assert not self.world.server_ended, "written after the end"
        if not self._closing:
            self.world.received += data

    def write_eof(self) -> None:
        self.world.server_ended = True

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        assert not self._closing
        self.paused = False

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self.world.server_ended = True
            self._loop.call_soon(self.lose, None)

    def abort(self) -> None:
        if not self._closing:
            self._closing = True
            if not self.moved:
                self.world.server_ended = True
            self._loop.call_soon(self.lose, None)

    def lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = self._closing = True
            self.protocol.connection_lost(error)


class Watched(set[HttpConnection]):
    """The connections of an engine that are not read."""

    watch = set.add
    forget = set.discard


class Descriptor:
    """Stands for a socket of which the kernel knows nothing."""

    family = socket.AF_INET

    def fileno(self) -> int:
        return -1

    def setsockopt(self, *_: Any) -> None: ...


class Taker:
    """Another process, to which an engine may give the connection; in a drain, or while it serves on."""

    def __init__(self, world: World, *, takes: bool, drains: bool = True) -> None:
        self._world = world
        self._takes = takes
        self._drains = drains
        self.room = 1.0
        self.offered: list[HttpConnection] = []

    def offer(self, connection: HttpConnection) -> None:
        assert not connection._reader.rest, "read, and moved"
        self.offered.append(connection)

    def decide(self) -> None:
        """Take what was offered, or refuse it."""
        for connection in self.offered:
            world = self._world
            if world.transport.lost:
                continue
            if self._takes:
                world.transport.moved = True
                world.moves += 1
                connection.on_moved()
                world.connect(moved=True)
            else:
                if self._drains or connection.shared.draining_since is not None:
                    self.room = 0
                    world.keep()
                connection.on_refused()
        self.offered.clear()


@dataclass
class Conversation:
    """What a client sends, and what happens meanwhile.

    Attributes:
        requests: the bytes of each.
        steps: what happens, in this order.
        ends: whether the client ends its side after its last request.
        goes: whether it resets the connection at the end of the steps.
        short: bytes at the end of the last request that it does not send.
    """

    requests: list[bytes] = field(default_factory=list)
    steps: list[tuple[str, int]] = field(default_factory=list)
    ends: bool = False
    goes: bool = False
    short: int = 0

    @classmethod
    def of(cls, seed: int) -> Conversation:
        """Make a conversation from a seed."""
        rng = random.Random(seed)
        ends, goes = rng.random() < 0.3, rng.random() < 0.15
        styles = rng.choices((*range(TOLD), EARLY), k=rng.randint(1, 6))
        if (ends or goes) and rng.random() < 0.3:
            styles[-1] = TOLD  # only then its app is told
        requests = [_request(rng, number, style) for number, style in enumerate(styles)]
        if rng.random() < 0.3:
            requests[-1] = _closing(rng, requests[-1])
        short = rng.randint(1, 20) if ends and rng.random() < 0.3 else 0
        steps: list[tuple[str, int]] = [("send", 0)]
        for _ in range(rng.randint(1, 40)):
            kinds = ("send", "deliver", "turn", "drain", "decide", "shed", "pause")
            kind = rng.choices(kinds, (3, 8, 8, 1.2, 3, 0.8, 0.8))[0]
            first = len(requests[0]) - rng.randint(1, 12)
            size = rng.choice((1, 2, 3, rng.randint(1, 60), rng.randint(1, 400), first, READ))
            steps.append((kind, rng.randint(0, 3) if kind in ("drain", "turn", "shed") else size))
        return cls(requests, steps, ends, goes, short)


def _request(rng: random.Random, number: int, style: int) -> bytes:
    path = b"/%d/%d/%d" % (number, rng.choice((0, 0, 1, 4)), style)
    body = bytes(rng.choices(b"ab\r\n0", k=rng.choice((0, 1, 5, 40))))
    head = b"%s HTTP/1.1\r\nHost: test\r\n"
    more = rng.choice((b"", b"", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"))
    kind = rng.choice((4, 5)) if style == EARLY else rng.randrange(6)  # early is before the end of a body
    if kind < 2:
        return head % (b"GET " + path) + more + b"\r\n"
    if kind == 2:
        return b"\r\n" * rng.randrange(2) + head % (b"BREW " + path) + b"\r\n"
    if kind == 3:
        return b"GET " + path + b" HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    if kind == 4:
        expect = rng.choice((b"", b"", b"Expect: 100-continue\r\n"))
        return head % (b"POST " + path) + more + expect + b"Content-Length: %d\r\n\r\n" % len(body) + body
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:3], body[3:]) if part)
    trailer = rng.choice((b"", b"X-End: 1\r\n"))
    return (
        head % (b"PUT " + path)
        + more
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + chunks
        + b"0\r\n"
        + trailer
        + b"\r\n"
    )


def _closing(rng: random.Random, request: bytes) -> bytes:
    """Return a request after which the client wants the connection to be closed."""
    if b"keep-alive" in request:
        return request.replace(b"Connection: keep-alive\r\n", b"")
    line, end, rest = request.partition(b"Host: test\r\n")
    return line + end + b"Connection: close\r\n" + rest


async def converse(conversation: Conversation) -> int:
    """Hold a conversation; fail if the client is wronged.

    Returns:
        How many times the connection has moved.
    """
    world = World()
    world.short = bool(conversation.short)
    world.connect(moved=False)
    takers: list[Taker] = []
    unsent = b"".join(conversation.requests)
    unsent = unsent[: len(unsent) - conversation.short]
    for kind, value in conversation.steps:
        if kind == "send":
            size = value or len(unsent)
            world.inbox += unsent[:size]
            unsent = unsent[size:]
        elif kind == "deliver":
            world.deliver(value)
        elif kind == "turn":
            for _ in range(value):
                await asyncio.sleep(0)
        else:
            _happen(world, takers, kind, value)
    world.resume()
    if conversation.goes:
        world.go()
    else:
        world.inbox += unsent
        world.client_ended = conversation.ends
    await _settle(world, takers)
    _check(world, conversation)
    return world.moves


def _happen(world: World, takers: list[Taker], kind: str, value: int) -> None:
    if kind == "decide":
        for taker in takers:
            taker.decide()
    elif kind == "shed":
        _shed(world, takers, takes=value > 0)
    elif kind == "pause":
        world.pause()
    else:
        _drain(world, takers, takes=value > 1, room=value > 0)


def _drain(world: World, takers: list[Taker], *, takes: bool, room: bool) -> None:
    world.resume()  # a drain ends a pause
    old = world.engines[-1]
    if not room and old.connections:
        world.keep()
    world.begin_engine()
    taker = Taker(world, takes=takes)
    taker.room = float(room)
    takers.append(taker)
    old.sender = taker  # type: ignore[assignment]  # stands for one
    old.draining_since = asyncio.get_running_loop().time()
    for connection in list(old.connections):
        connection.drain()


def _shed(world: World, takers: list[Taker], *, takes: bool) -> None:
    old = world.engines[-1]
    if takes:
        world.begin_engine()
    taker = Taker(world, takes=takes, drains=False)
    takers.append(taker)
    old.sender = taker  # type: ignore[assignment]  # stands for one
    Shedding(old).begin(1)


async def _settle(world: World, takers: list[Taker]) -> None:
    """Let everything happen that can."""
    quiet = 0
    for turn in range(TURNS):
        before = len(world.inbox), len(world.received), world.moves, world.transport.lost
        for taker in takers:
            taker.decide()
        world.deliver(READ if turn % 2 else 7)
        await asyncio.sleep(0)
        quiet = (
            quiet + 1
            if before == (len(world.inbox), len(world.received), world.moves, world.transport.lost)
            else 0
        )
        if quiet > 40:
            break
    if world.server_ended and not world.transport.lost:  # the client closes, too
        world.transport.lose(None)
        for _ in range(20):
            await asyncio.sleep(0)


def _check(world: World, conversation: Conversation) -> None:
    responses, rest = parse(bytes(world.received))
    numbers = [each.number for each in responses]
    assert numbers == list(range(len(numbers))), f"answered: {numbers}"
    for each, request in zip(responses, conversation.requests, strict=False):
        assert each.body == _body_of(request), f"request {each.number} was read as {each.body!r}"
        assert not (each.chunked and b" HTTP/1.0\r\n" in request), "chunks for HTTP/1.0"
    if world.reset:
        _check_gone(world)
        return
    assert rest == b"" or (conversation.short and world.server_ended), f"after {numbers}: {rest!r}"
    closed = bool(responses) and responses[-1].closes
    assert not any(each.closes for each in responses[:-1]), "a response after the last one"
    sent = len(conversation.requests) - bool(conversation.short)
    if len(responses) < sent:
        assert closed, f"{len(responses)} of {sent} requests are answered"
        last = conversation.requests[len(responses) - 1]
        reason = b" HTTP/1.0\r\n" in last or b"Expect: " in last  # its body may come, or not
        assert world.kept or reason, "the last response, without a reason"
    if world.kept and len(responses) > world.answered_then + 1 and not conversation.short:
        assert closed, "a response in a drain, and its client is not told"
    if closed or conversation.ends:
        assert world.server_ended, "the connection stays open"
        _check_gone(world)
    else:
        assert not world.server_ended, "closed without a word"


def _check_gone(world: World) -> None:
    for engine in world.engines:
        assert not engine.running, "an app is not told that its client has gone"
        assert not engine.connections, "a connection is still counted"


def _body_of(request: bytes) -> bytes:
    head, _, body = request.lstrip(b"\r\n").partition(b"\r\n\r\n")
    if int(head.split(b" ")[1].split(b"/")[3]) == EARLY:
        return b""
    if b"chunked" not in head:
        return body
    found = b""
    while not body.startswith(b"0"):
        size, _, body = body.partition(b"\r\n")
        found += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return found


class Answer(NamedTuple):
    """A complete response: to which request, with which body, whether it is the last one, and chunked."""

    number: int
    body: bytes
    closes: bool
    chunked: bool


def parse(data: bytes) -> tuple[list[Answer], bytes]:
    """Return the complete responses, and the rest."""
    found = []
    while True:
        head, end, rest = data.partition(b"\r\n\r\n")
        if head == b"HTTP/1.1 100 Continue" and end:
            data = rest
            continue
        if not end:
            return found, data
        assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
        closes = b"\r\nconnection: close" in head
        length = re.search(rb"\r\ncontent-length: (\d+)", head)
        if length:
            size = int(length[1])
            body, after, complete = rest[:size], rest[size:], len(rest) >= size
        elif b"\r\ntransfer-encoding: chunked" in head:
            body, after, complete = _chunked(rest)
        else:
            assert closes, head
            body, after, complete = rest, b"", True
        if not complete:
            return found, data
        number, _, text = body.partition(b":")
        found.append(Answer(int(number), text, closes, b"\r\ntransfer-encoding: chunked" in head))
        data = after


def _chunked(data: bytes) -> tuple[bytes, bytes, bool]:
    body = b""
    while True:
        size, end, rest = data.partition(b"\r\n")
        if not end or len(rest) < int(size, 16) + 2:
            return body, data, False
        if size == b"0":
            return body, rest[2:], True
        body += rest[: int(size, 16)]
        data = rest[int(size, 16) + 2 :]


def hold(seeds: range) -> int:
    """Hold the conversations of these seeds; return how many times a connection has moved."""
    moves = 0
    with asyncio.Runner() as runner:
        for seed in seeds:
            try:
                moves += runner.run(converse(Conversation.of(seed)))
            except Exception as error:
                raise AssertionError(f"conversation {seed}: {error}") from error
    return moves


def main(seconds: float) -> None:
    """Converse for so long, from a seed that is the time."""
    logging.disable()  # of clients that go, and of apps that are told
    first = seed = int(time.time()) * 1_000_000
    end = time.monotonic() + seconds
    moves = 0
    while time.monotonic() < end:
        moves += hold(range(seed, seed + 1000))
        seed += 1000
    print(f"{seed - first} conversations from seed {first}, {moves} moves, no finding")


if __name__ == "__main__":
    main(float(sys.argv[1]))
