"""WebSockets: frames of a client, and the content of an envelope, served by an engine to the end.

An input that begins with `M` is what another process has written of a WebSocket that moves; otherwise it is
what a client sends behind its handshake.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from sockact.engines.http.websocket_carried import MalformedWebSocket, packed, unpacked
from sockact.handover.envelope import CarriedWebSocket
from tests.fuzz import loops
from tests.fuzz.oracle import Broken
from tests.fuzz.pieces import cut
from tests.support.moving import BINARY, CLOSE, PING, TEXT, UPGRADE, Echo, Journey, deflated, frame

DICTIONARY = (
    *(
        frame(TEXT, b"a"),
        frame(TEXT, b"a", more=True),
        frame(0, b"b"),
        frame(BINARY, b"\0"),
        frame(PING, b"!"),
    ),
    *(
        frame(CLOSE, b"\x03\xe8"),
        frame(CLOSE, b"\0"),
        frame(CLOSE, b""),
        frame(11, b""),
        frame(TEXT, b"\xff"),
    ),
    *(
        frame(TEXT, deflated(b"four four"), compressed=True),
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x81\x05a",
    ),
    *(
        b"M",
        b"\1\0\0",
        b"\1\x0c\x0c",
        b"Sec-WebSocket-Extensions:permessage-deflate\r\n",
        b"host:a\r\n",
        b"\r\n",
        b"\0",
    ),
)

FIELDS = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"

LIMIT = 30


class Gentle(Echo):
    """An app that ends well if its client sends bytes that are no text."""

    async def __call__(self, scope: object, receive: object, send: object) -> None:
        """Echo."""
        with contextlib.suppress(UnicodeDecodeError, OSError):
            await super().__call__(scope, receive, send)


def target(data: bytes) -> None:
    """Serve a WebSocket."""
    if data.startswith(b"M"):
        _check_content(data[1:])
    received = loops.run(_served(data))
    _check_frames(received if data.startswith(b"M") else received.partition(b"\r\n\r\n")[2])


def _check_content(content: bytes) -> None:
    """Fail unless what is read can be written, and read as the same again."""
    try:
        moved = unpacked(content, 4096)
    except MalformedWebSocket as error:
        str(error)
        return
    again = unpacked(packed(moved), 65536)
    if again[1:] != moved[1:] or again.request.headers != moved.request.headers:
        raise Broken(f"{moved} is written as {again}")


async def _served(data: bytes) -> bytes:
    journey = Journey(Gentle(), linger=0.01, websocket_max_message=100_000)
    await journey.start()
    server = journey._server
    server.setblocking(False)
    client = journey.client
    try:
        if data.startswith(b"M"):
            journey.engine.receive(server, CarriedWebSocket(data[1:]))
        else:
            journey.engine.receive(server)
            client.send(f"{UPGRADE}{FIELDS}".encode())
            for piece in cut(data):
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    client.send(piece)
                await asyncio.sleep(0)
        client.shutdown(socket.SHUT_WR)
        received = await _read(client)
        await journey.wait_drained()
    finally:
        await journey.engine.abort()
        journey.close()
    return received


async def _read(client: socket.socket) -> bytes:
    received, loop = b"", asyncio.get_running_loop()
    async with asyncio.timeout(LIMIT):
        with contextlib.suppress(ConnectionResetError):
            while part := await loop.sock_recv(client, 65536):
                received += part
    return received


def _check_frames(data: bytes) -> None:
    """Fail unless these are frames of a server: not masked, not cut, and no data behind a close."""
    closed = False
    while data:
        first, size, place = data[0], data[1] if len(data) > 1 else 0x80, 2
        if size in (126, 127):
            place = 4 if size == 126 else 10
            size = int.from_bytes(data[2:place], "big")
        if (size & 0x80 and place == 2) or first & 0x30 or len(data) < place + size:
            raise Broken(f"the server sends {data[:40]!r}")
        data = data[place + size :]
        closed = closed or first & 15 == CLOSE
        if closed and data and data[0] & 15 < CLOSE:
            raise Broken(f"behind its close frame the server sends {data[:40]!r}")
