"""A WebSocket that moves from engine to engine in one process: what its client and its apps are told."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import zlib
from collections.abc import Sequence
from typing import Any

from sockact.config.settings import Settings
from sockact.engines.http.engine import HttpEngine
from sockact.handover.envelope import unseal
from sockact.handover.transfer import HandoverSender
from tests.support.manager import LIMIT

HANDOVER = "sockact.handover"

CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

UPGRADE = (
    "GET /chat?room=1 HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


MASK = b"\x0f\xf0\x55\xaa"


def frame(
    opcode: int, data: bytes, *, more: bool = False, compressed: bool = False, mask: bytes = MASK
) -> bytes:
    """Return a frame of a client."""
    first = opcode | (0 if more else 0x80) | (0x40 if compressed else 0)
    size = len(data)
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data)) if any(mask) else data
    return head + mask + masked


def text(data: str) -> bytes:
    return frame(TEXT, data.encode())


def deflated(data: bytes) -> bytes:
    """Return a message as permessage-deflate has it, without those before it."""
    encoder = zlib.compressobj(wbits=-12)
    return (encoder.compress(data) + encoder.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflated(data: bytes) -> bytes:
    return zlib.decompressobj(wbits=-12).decompress(data + b"\0\0\xff\xff")


class Echo:
    """An app that echoes with a number before each message; its state is the number.

    Attributes:
        told: all events that calls have received.
        scopes: of the calls.
    """

    def __init__(self, accept: dict[str, Any] | None = None) -> None:
        self.accept = {"type": "websocket.accept", HANDOVER: True, **(accept or {})}
        self.told: list[dict[str, Any]] = []
        self.scopes: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        self.told.append(await receive())
        await send(self.accept)
        number = int(scope["extensions"].get(HANDOVER, {}).get("state", b"0"))
        while True:
            self.told.append(event := await receive())
            if event["type"] == "websocket.receive":
                number += 1
                await send({"type": "websocket.send", "text": f"{number} {content(event)}"})
            elif event["type"] == HANDOVER:
                await send({"type": HANDOVER, "state": b"%d" % number})
                return
            else:
                return

    @property
    def ends(self) -> list[int]:
        """Return the codes with which calls have ended."""
        return [event["code"] for event in self.told if event["type"] == "websocket.disconnect"]


def content(event: dict[str, Any]) -> str:
    return event["text"] if event.get("text") is not None else event["bytes"].decode()


class Manager:
    """A manager that takes connections and keeps them, until it takes none."""

    def __init__(self, *, takes: bool = True) -> None:
        self.takes = takes
        self.stored: list[socket.socket] = []
        self.arrived = asyncio.Event()
        self.sender = HandoverSender(self._store, confirms=True)

    def _store(self, descriptors: Sequence[int]) -> bool:
        taken = len(descriptors) if self.takes else 0
        self.stored += [socket.socket(fileno=os.dup(fd)) for fd in descriptors[:taken]]
        self.arrived.set()
        asyncio.get_running_loop().call_soon(self.sender.taken, taken)
        return True


class Journey:
    """A client's connection, and the engines that have it, one after the other.

    Args:
        app: of the engines, until another one is given to `move`.
        settings: how they serve.
    """

    def __init__(self, app: Any, **settings: Any) -> None:
        self.app = app
        self.settings = {"lifespan": "off", "linger": 0.2, "websocket_ping_interval": None, **settings}
        self.client, self._server = socket.socketpair()
        self.client.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self.engine: HttpEngine
        self.manager: Manager
        self.received = bytearray()

    async def begin(self, *fields: str, data: bytes = b"") -> str:
        """Open the WebSocket; return the head of the response."""
        await self.start()
        self._server.setblocking(False)
        self.engine.receive(self._server)
        head = "".join(f"{field}\r\n" for field in fields)
        self.client.send(f"{UPGRADE}{head}\r\n".encode() + data)
        return (await self.read_until(b"\r\n\r\n")).decode()

    async def start(self, app: Any = None, kind: str = "asgi", *, takes: bool = True, **more: Any) -> None:
        """Start another engine; the connection is where it was."""
        self.app = app or self.app
        self.engine = HttpEngine(self.app, kind, [], Settings(**{**self.settings, **more}))
        await self.engine.start()
        self.manager = Manager(takes=takes)
        self.engine.give_to(self.manager.sender)

    async def drained(self) -> None:
        """Drain the engine that has the connection."""
        self.engine.stop_accepting()
        await self.wait_drained()

    async def wait_drained(self) -> None:
        """Wait until the engine has neither a connection nor a call."""
        async with asyncio.timeout(LIMIT):
            while self.engine.connections or self.engine.in_flight:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.001)

    async def move(self, app: Any = None, kind: str = "asgi", **more: Any) -> None:
        """Drain the engine, and give what has moved to another one."""
        await self.drained()
        await self.arrive(app, kind, **more)

    async def arrive(self, app: Any = None, kind: str = "asgi", **more: Any) -> None:
        """Give what has moved to another engine."""
        stored = self.manager.stored
        await self.start(app, kind, **more)
        for envelope in stored:
            connection, carried = unseal(envelope)
            connection.setblocking(False)
            self.engine.receive(connection, carried)

    def send(self, data: bytes) -> None:
        assert self.client.send(data) == len(data)

    async def read_until(self, end: bytes) -> bytes:
        """Read up to these bytes."""
        while (found := self.received.find(end)) < 0:
            await self._read()
        return self._taken(found + len(end))

    async def read(self) -> tuple[int, bytes]:
        """Read a frame of the server's; return its opcode, and its data."""
        await self._have(2)
        size, begin = self.received[1], 2
        if size == 126:
            await self._have(begin := 4)
            (size,) = struct.unpack_from("!H", self.received, 2)
        elif size == 127:
            await self._have(begin := 10)
            (size,) = struct.unpack_from("!Q", self.received, 2)
        await self._have(begin + size)
        first = self._taken(begin)[0]
        data = self._taken(size)
        return first & 15, inflated(data) if first & 0x40 else data

    async def said(self) -> str:
        """Read a text message."""
        opcode, data = await self.read()
        assert opcode == TEXT, (opcode, data)
        return data.decode()

    async def close_code(self) -> int:
        """Read a close frame."""
        opcode, data = await self.read()
        assert opcode == CLOSE, (opcode, data)
        return int.from_bytes(data[:2])

    async def at_eof(self) -> bool:
        """Wait for the end, or more."""
        async with asyncio.timeout(LIMIT):
            return not await self._loop.sock_recv(self.client, 65536)

    async def _have(self, size: int) -> None:
        while len(self.received) < size:
            await self._read()

    async def _read(self) -> None:
        async with asyncio.timeout(LIMIT):
            data = await self._loop.sock_recv(self.client, 65536)
        assert data, f"the end, after {bytes(self.received)!r}"
        self.received += data

    def _taken(self, size: int) -> bytes:
        data = bytes(self.received[:size])
        del self.received[:size]
        return data

    def close(self) -> None:
        self.client.close()
        for envelope in self.manager.stored:
            envelope.close()
