"""An ASGI app that redirects every request to https, for plain listeners."""

from __future__ import annotations

import re
from typing import Any

from sockact.engines.http.lifespan import App

HTTPS = 443


def to_https(port: int) -> App:
    """Return an app that redirects every request to the same URL on https.

    308 keeps method and body (RFC 9110, section 15.4.9). A WebSocket is refused: its clients follow no
    redirect.
    """
    suffix = b"" if port == HTTPS else b":%d" % port

    async def redirect(scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        host = re.sub(rb":\d*$", b"", dict(scope["headers"]).get(b"host", b""))
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        location = b"https://" + host + suffix + scope["raw_path"] + query
        headers = [(b"content-length", b"0"), *([(b"location", location)] if host else [])]
        # Without Host, which HTTP/1.0 allows, the URL is unknown.
        await send({"type": "http.response.start", "status": 308 if host else 400, "headers": headers})
        await send({"type": "http.response.body"})

    return redirect
