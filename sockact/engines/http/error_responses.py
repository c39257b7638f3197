"""Requests that are answered in the app's place, each as the last one of its connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any


class Refused(Exception):  # noqa: N818 - it is what happens to a request, and no fault of the service
    """Raised where a request is read that is not to be read on; `status` is the answer."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class DiscardingParser:
    """Stands for the parser after a refusal: nothing that comes is read any more."""

    def feed_data(self, data: bytes) -> None:
        """Throw it away."""


DISCARDING_PARSER: Any = DiscardingParser()


def answer(status: int) -> Callable[[Any, Any, Any], Awaitable[None]]:
    """Return an ASGI app that answers with nothing but a status."""
    body = HTTPStatus(status).phrase.encode()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def scope_of(begun: Any, method: bytes, path: bytes) -> Any:
    """Return the scope of a request of which perhaps not even the headers were read.

    Args:
        begun: what is known of it so far, or None.
        method: as it was sent; the answer to HEAD has no body.
        path: the same, for the log of requests.
    """
    known = begun or {"type": "http", "http_version": "1.1", "client": None, "headers": []}
    return {**known, "method": method.decode(), "path": path.decode("latin-1"), "query_string": b""}
