"""The example service: says which version it is, and which process answered."""

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

VERSION = "1"


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer each request with the version and the process: an ASGI application."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    body = json.dumps({"version": VERSION, "pid": os.getpid()}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
