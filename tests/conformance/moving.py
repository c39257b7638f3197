"""Echoes WebSockets that move all the time: `python -m tests.conformance.moving`, a socket by LISTEN_FDS.

Each connection has an engine of its own. After the handshake, after each of the first messages and some
of the later ones, and in the middle of what comes, that engine drains, and another one takes the
connection, as in a reload. So there is a reload inside each case of Autobahn.
/moves tells how many there were.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from typing import Any

import uvloop

import sockact
from sockact.config.settings import Settings
from sockact.engines.http.engine import HttpEngine
from sockact.handover.envelope import is_sealed, unseal
from sockact.handover.transfer import HandoverSender

HANDOVER = "sockact.handover"
SETTINGS = Settings(lifespan="off", websocket_ping_interval=None, websocket_max_message=64 << 20)
PAUSE = 0.01
"""Seconds after which a connection moves also without a message; then after twice as many, until one comes:
all of a long one is read again each time."""

EACH, SOME = 5, 100
"""So many messages are each followed by a move, and then each of so many."""


class Road:
    """The engines of one connection, one after the other.

    Attributes:
        opened: the number of WebSockets so far.
        moved: how many of them have moved.
        moves: how often, in all.
    """

    opened = moved = moves = 0

    def __init__(self, connection: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._messages = self._moves = 0
        self._pause = PAUSE
        self._arrived: list[socket.socket] = []
        self._task = self._loop.create_task(self._go(connection))

    async def _go(self, connection: socket.socket) -> None:
        carried = None
        while True:
            engine = HttpEngine(self._app, "asgi", [], SETTINGS)
            await engine.start()
            self._sender = HandoverSender(self._store, confirms=True)
            engine.give_to(self._sender)
            engine.receive(connection, carried)
            due = self._loop.call_later(self._pause, engine.stop_accepting)
            self._pause *= 2
            self._engine = engine
            await self._left(engine)
            due.cancel()
            if not self._arrived:
                return
            connection, carried = self._arrived.pop(), None
            if is_sealed(connection):  # else it has moved before its handshake
                connection, carried = unseal(connection)
                self._moves += 1
                Road.moves += 1
                Road.moved += self._moves == 1
            connection.setblocking(False)

    async def _left(self, engine: HttpEngine) -> None:
        """Wait until an engine has neither a connection nor a call."""
        while engine.connections or engine.in_flight:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)

    def _store(self, descriptors: Sequence[int]) -> bool:
        self._arrived += [socket.socket(fileno=os.dup(fd)) for fd in descriptors]
        self._loop.call_soon(self._sender.taken, len(descriptors))
        return True

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            told = Road.opened, Road.moved, Road.moves
            close = [(b"connection", b"close")]  # it would move, too
            await send({"type": "http.response.start", "status": 200, "headers": close})
            await send({"type": "http.response.body", "body": b"%d %d %d" % told})
            return
        await receive()
        await send({"type": "websocket.accept", HANDOVER: True})
        if "state" not in scope["extensions"][HANDOVER]:
            Road.opened += 1
            self._engine.stop_accepting()
        while (event := await receive())["type"] == "websocket.receive":
            await send({**event, "type": "websocket.send"})
            self._messages += 1
            self._pause = PAUSE
            due = self._messages <= EACH or not self._messages % SOME
            if due and self._engine._shared.draining_since is None:
                self._engine.stop_accepting()
        if event["type"] == HANDOVER:
            await send({"type": HANDOVER, "state": b""})


async def main() -> None:
    (listener,) = sockact.adopt()
    assert listener.sock is not None
    listener.sock.setblocking(False)
    sockact.Notifier().ready("echoes")
    roads = []
    while True:
        connection, _ = await asyncio.get_running_loop().sock_accept(listener.sock)
        roads.append(Road(connection))


if __name__ == "__main__":
    uvloop.run(main())
