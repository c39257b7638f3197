"""An HTTP engine whose app answers each request when it has read it: the requests that it has found."""

from __future__ import annotations

import asyncio
from typing import Any

from sockact.config.settings import Settings
from sockact.engines.http.asgi import AsgiCall
from sockact.engines.http.connection import HttpConnection
from sockact.engines.http.engine_state import EngineState, Graces
from sockact.engines.http.head import Request
from sockact.engines.http.timeouts import Bounds
from tests.fuzz.differences import MOST_BYTES
from tests.fuzz.h11_reading import CLOSED, OPEN, REFUSED, Reading, Seen
from tests.fuzz.oracle import Broken
from tests.support.http_world import FOREVER, READ, TURNS, Watched, World

LIMITS = Bounds.from_settings(Settings(max_header_bytes=MOST_BYTES, max_body_bytes=MOST_BYTES))

QUIET = 5
"""Turns of the loop after which nothing happens any more."""


class Asked(World):
    """A connection to an engine whose app answers each request when it has read it."""

    def __init__(self) -> None:
        self.requests: list[Seen] = []
        self.answered: list[Seen] = []
        super().__init__()

    def begin_engine(self) -> EngineState:
        """Start the engine."""
        engine = EngineState(self._call, FOREVER, Graces(), LIMITS)
        engine.hangups = Watched()  # type: ignore[assignment]  # stands for one
        self.engines.append(engine)
        return engine

    @property
    def state(self) -> tuple[int, int, int, bool]:
        """All that changes as long as something happens."""
        return len(self.inbox), len(self.received), len(self.requests), self.transport.lost

    def _call(self, connection: HttpConnection, request: Request) -> AsgiCall:
        seen = Seen(request.method.encode(), request.target, request.version.encode(), [])
        self.requests.append(seen)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            seen.headers = [_in_words(*field) for field in scope["headers"]]
            _compare_scope(scope, request)
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                seen.body += message["body"]
                more = message["more_body"]
            seen.complete = True
            headers = [(b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            self.answered.append(seen)

        return AsgiCall(app, connection, request)


def _in_words(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Return a field as h11 has it: the name of a coding in lower case."""
    return name, value.lower() if name == b"transfer-encoding" else value


def _compare_scope(scope: Any, request: Request) -> None:
    if (scope["method"], scope["http_version"]) != (request.method, request.version):
        raise Broken(f"the app is told of {scope['method']} {scope['http_version']}")
    if any(byte in value for _, value in scope["headers"] for byte in (b"\0", b"\r", b"\n")):
        raise Broken(f"a line end in a field: {scope['headers']}")


async def serve(pieces: list[bytes]) -> tuple[Reading, bytes]:
    """Return what an engine reads of a connection, and what it answers."""
    world = Asked()
    world.connect(moved=False)
    await _settle(world, pieces)
    end = REFUSED if world.protocol._reader.refused else CLOSED if world.server_ended else OPEN
    world.go()
    for _ in range(QUIET):
        await asyncio.sleep(0)
    engine = world.engines[-1]
    if engine.running or engine.connections:
        raise Broken("an app is not told that its client has gone")
    return Reading(world.requests, end, b""), bytes(world.received)


async def _settle(world: Asked, pieces: list[bytes]) -> None:
    """Send the pieces, one in each turn, until nothing happens any more."""
    quiet = 0
    for _ in range(TURNS):
        before = world.state, len(pieces)
        if pieces:
            world.inbox += pieces.pop(0)
        world.deliver(READ)
        await asyncio.sleep(0)
        quiet = quiet + 1 if before == (world.state, len(pieces)) else 0
        if quiet > QUIET:
            return
    raise Broken("the connection does not come to rest")
