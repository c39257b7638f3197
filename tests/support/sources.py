"""Sources of small apps."""

from __future__ import annotations

HELLO = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
"""

TELLS_PEER = """
import json

async def app(scope, receive, send):
    if scope["type"] == "http":
        peer = scope["state"].get("sockact.peer")
        body = json.dumps([scope["client"], scope["scheme"], peer and peer.uid]).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
"""
