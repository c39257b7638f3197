"""What curl and others ask for, by WSGI; `client_asgi_app` answers the same."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tests.conformance.apps.common import LONG, PARTS


def app(environ: Any, start_response: Any) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    body = b"hello\n"
    if path == "/length":
        size = 0
        while part := environ["wsgi.input"].read(65536):
            size += len(part)
        body = b"%d\n" % size
    elif path == "/long":
        body = LONG
    elif path == "/client":
        client = environ["REMOTE_ADDR"], int(environ.get("REMOTE_PORT", "0"))
        body = json.dumps([client, environ["wsgi.url_scheme"]]).encode()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (part.encode() for part in PARTS) if path == "/stream" else [body]
