"""An app for clients that keep to no bounds.

/            answers at once
/upload      answers with the length of the body
/begun       begins its response, then reads the body
/early       answers with 8 MB, and does not read the body
/late        reads the body when the test lets it: it asks at the gate, a Unix socket at $GATE
/endless     answers as long as the client reads; /stalled says how many of these do not
/seen        answers how many requests it has seen whose client had gone
/ws          WebSocket: sends as long as the client reads
"""

import asyncio
import os

EARLY = 8 * 1024 * 1024
CHUNK = b"x" * 16384
PAUSE = 0.01

gone = []
stalled = []


async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await websocket(receive, send)
    elif scope["type"] == "http":
        await APPS[scope["path"]](receive, send)


async def answer(send, body):
    await send({"type": "http.response.start", "status": 200, "headers": length_of(len(body))})
    await send({"type": "http.response.body", "body": body})


def length_of(size):
    return [(b"content-length", str(size).encode())]


async def length(receive):
    """Return the length of the body, or None if the client has gone before its end."""
    total = 0
    while (message := await receive())["type"] == "http.request":
        total += len(message["body"])
        if not message["more_body"]:
            return total
    gone.append(total)
    return None


async def plain(_receive, send):
    await answer(send, b"ok")


async def upload(receive, send):
    await answer(send, str(await length(receive)).encode())


async def begun(receive, send):
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"begun;", "more_body": True})
    body = str(await length(receive)).encode()
    await send({"type": "http.response.body", "body": body})


async def early(_receive, send):
    await answer(send, b"e" * EARLY)


async def late(receive, send):
    reader, writer = await asyncio.open_unix_connection(os.environ["GATE"])
    writer.write(b"/late\n")
    await reader.read(1)
    writer.close()
    await upload(receive, send)


async def endless(_receive, send):
    await send({"type": "http.response.start", "status": 200})
    while True:
        stalled.append(True)
        await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
        stalled.pop()
        await asyncio.sleep(PAUSE)


async def seen(_receive, send):
    await answer(send, str(len(gone)).encode())


async def how_many_stalled(_receive, send):
    await answer(send, str(len(stalled)).encode())


async def websocket(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        await send({"type": "websocket.send", "bytes": CHUNK})


APPS = {
    "/": plain,
    "/upload": upload,
    "/begun": begun,
    "/early": early,
    "/late": late,
    "/endless": endless,
    "/seen": seen,
    "/stalled": how_many_stalled,
}
