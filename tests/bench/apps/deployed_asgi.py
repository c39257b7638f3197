"""An ASGI app that says which release of it answers, and which process."""

import json
import os

VERSION = "1"


async def app(scope, receive, send):
    """Answer with the release and the PID."""
    if scope["type"] != "http":
        return
    body = json.dumps({"version": VERSION, "pid": os.getpid()}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
