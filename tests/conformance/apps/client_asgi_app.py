"""What curl and others ask for, by ASGI; `client_wsgi_app` answers the same."""

from __future__ import annotations

import json
from typing import Any

from tests.conformance.apps.common import LONG, PARTS

PLAIN = [(b"content-type", b"text/plain")]


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await echo(receive, send)
        return
    if scope["type"] != "http":
        raise RuntimeError("only HTTP and WebSockets are served")
    if scope["path"] == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": PLAIN})
        for part in PARTS:
            await send({"type": "http.response.body", "body": part.encode(), "more_body": True})
        await send({"type": "http.response.body"})
        return
    body = b"hello\n"
    if scope["path"] == "/length":
        body = b"%d\n" % await length(receive)
    elif scope["path"] == "/long":
        body = LONG
    elif scope["path"] == "/client":
        body = json.dumps([scope["client"], scope["scheme"]]).encode()
    length_of = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [*PLAIN, length_of]})
    await send({"type": "http.response.body", "body": body})


async def length(receive: Any) -> int:
    size = 0
    while (message := await receive())["type"] == "http.request":
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    return size


async def echo(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
