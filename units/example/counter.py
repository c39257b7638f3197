"""An example of WebSockets that outlive their process: each message is answered with its number.

Served by `sockact run counter:app`, with Starlette; docs/websockets.md has the same for FastAPI.
"""

import os

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

import sockact


async def count(websocket: WebSocket) -> None:
    """Number the messages; in a drain, hand the number over to the next process."""
    number = int(sockact.movable(websocket.scope) or b"0")
    await websocket.accept()
    try:
        async for text in websocket.iter_text():
            number += 1
            await websocket.send_text(f"{number} {text}, by process {os.getpid()}")
    except sockact.Moving:
        await sockact.hand_over(websocket.scope, b"%d" % number)


app = sockact.MovableWebSockets(Starlette(routes=[WebSocketRoute("/", count)]))
