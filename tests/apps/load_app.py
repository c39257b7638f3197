"""The service which the probe asks: a plain ASGI app, which says in each response who it is.

    GET  /                                {"version", "pid"}
    GET  /slow?seconds=2                  the same, so many seconds later
    POST /upload                          {"version", "pid", "length", "sha256"} of the body
    GET  /stream?chunks=20&interval=0.1   the lines 0 ... 19, one each interval, without a Content-Length
    WS   /ws                              each text message as {"echo", "version", "pid"}

Every HTTP response and websocket handshake has the header fields `x-version` and `x-pid`. A test which
deploys a new version changes `VERSION`.
"""

import asyncio
import hashlib
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

VERSION = "1"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Serve one connection scope."""
    match scope["type"], scope.get("path"):
        case "lifespan", _:
            await _lifespan(receive, send)
        case "http", "/":
            await _answer(send)
        case "http", "/slow":
            await asyncio.sleep(_number(scope, "seconds", 2))
            await _answer(send)
        case "http", "/upload":
            await _upload(receive, send)
        case "http", "/stream":
            await _stream(scope, send)
        case "http", _:
            await _answer(send, status=404)
        case "websocket", "/ws":
            await _echo(receive, send)
        case _:
            await send({"type": "websocket.close", "code": 1000})


async def _lifespan(receive: Receive, send: Send) -> None:
    for phase in ("startup", "shutdown"):
        message = await receive()
        assert message["type"] == f"lifespan.{phase}", message
        await send({"type": f"lifespan.{phase}.complete"})


async def _upload(receive: Receive, send: Send) -> None:
    digest, length = hashlib.sha256(), 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        digest.update(message.get("body", b""))
        length += len(message.get("body", b""))
        if not message.get("more_body", False):
            break
    await _answer(send, length=length, sha256=digest.hexdigest())


async def _stream(scope: Message, send: Send) -> None:
    await _start(send, 200, (b"content-type", b"text/plain"))
    for number in range(int(_number(scope, "chunks", 20))):
        await send({"type": "http.response.body", "body": b"%d\n" % number, "more_body": True})
        await asyncio.sleep(_number(scope, "interval", 0.1))
    await send({"type": "http.response.body"})


async def _echo(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept", "headers": _who()})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": _document(echo=message.get("text"))})


async def _answer(send: Send, status: int = 200, **more: object) -> None:
    body = _document(**more).encode()
    length = (b"content-length", str(len(body)).encode())
    await _start(send, status, (b"content-type", b"application/json"), length)
    await send({"type": "http.response.body", "body": body})


async def _start(send: Send, status: int, *fields: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*_who(), *fields]})


def _who() -> list[tuple[bytes, bytes]]:
    return [(b"x-version", VERSION.encode()), (b"x-pid", str(os.getpid()).encode())]


def _document(**more: object) -> str:
    return json.dumps({"version": VERSION, "pid": os.getpid(), **more})


def _number(scope: Message, name: str, default: float) -> float:
    values = parse_qs(scope["query_string"].decode()).get(name)
    return float(values[0]) if values else default
