"""An app whose requests end when the test says so: each asks at the gate, a Unix socket at $GATE.

/            answers at once
/hold        asks at the gate, then answers
/stream      begins its response, asks at the gate, then ends it
/upload      answers with the length of the body
/ws          WebSocket: echoes; `hold` asks at the gate before it is echoed
"""

import asyncio
import json
import os

VERSION = "1"


async def gate(text: str) -> None:
    """Tell the test where the request is, and wait until it lets it go on."""
    reader, writer = await asyncio.open_unix_connection(os.environ["GATE"])
    writer.write(text.encode() + b"\n")
    try:
        await reader.read(1)
    finally:
        writer.close()


async def app(scope, receive, send):
    await {"lifespan": lifespan, "http": http, "websocket": websocket}[scope["type"]](scope, receive, send)


async def lifespan(scope, receive, send):
    await receive()
    if os.environ.get("GATE_STARTUP"):
        await gate("startup")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    if os.environ.get("GATE_SHUTDOWN"):
        await gate("shutdown")
    await send({"type": "lifespan.shutdown.complete"})


async def http(scope, receive, send):
    path = scope["path"]
    length = 0
    while True:
        message = await receive()
        length += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    facts = {name: scope[name] for name in ("client", "server", "scheme")}
    facts |= {"version": VERSION, "pid": os.getpid(), "path": path, "length": length}
    body = json.dumps(facts).encode()
    start = {"type": "http.response.start", "status": 200}
    if path == "/stream":
        await send(start)
        await send({"type": "http.response.body", "body": b"begun;", "more_body": True})
        await gate(path)
        await send({"type": "http.response.body", "body": b"ended", "more_body": False})
        return
    if path == "/hold":
        await gate(path)
    await send({**start, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


async def websocket(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        if message["text"] == "hold":
            await gate("/ws")
        await send({"type": "websocket.send", "text": message["text"]})
