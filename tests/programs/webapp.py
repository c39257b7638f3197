"""The app of the serving tests: what each path does stands in its branch."""

from __future__ import annotations

import asyncio
import json
from typing import Any


async def app(scope: Any, receive: Any, send: Any) -> None:
    match scope["type"]:
        case "lifespan":
            await lifespan(scope, receive, send)
        case "websocket":
            await websocket(receive, send)
        case "http":
            await http(scope, receive, send)


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    scope["state"]["greeting"] = "from the lifespan"
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("the app has shut down", flush=True)
    await send({"type": "lifespan.shutdown.complete"})


async def websocket(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})


async def http(scope: Any, receive: Any, send: Any) -> None:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    match scope["path"]:
        case "/state":
            answer = scope["state"]["greeting"].encode()
        case "/echo":
            answer = body
        case "/scope":
            answer = json.dumps(
                {"method": scope["method"], "query": scope["query_string"].decode()}
            ).encode()
        case "/slow":
            await asyncio.sleep(0.05)
            answer = b"slow"
        case "/large":
            answer = b"x" * 5_000_000
        case "/stream":
            return await stream(send)
        case "/fail":
            raise RuntimeError("this request fails")
        case path:
            answer = path.encode()
    headers = [(b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
    return None


async def stream(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(3):
        await send({"type": "http.response.body", "body": b"%d\n" % number, "more_body": True})
    await send({"type": "http.response.body"})
