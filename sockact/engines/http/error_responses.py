"""Error responses sent in the app's place, each as the last one of its connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any


class Refused(Exception):  # noqa: N818 - a request is refused: no fault of the service
    """Raised while a request is parsed that is refused; `status` is the answer."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class DiscardingParser:
    """Replaces the parser after a refusal, and discards what arrives."""

    def feed_data(self, data: bytes) -> None:
        """Discard the data."""


DISCARDING_PARSER: Any = DiscardingParser()


def answer(status: int) -> Callable[[Any, Any, Any], Awaitable[None]]:
    """Return an ASGI app that answers with a status and its phrase."""
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
    """Return the scope of a request whose headers may not be complete.

    Args:
        begun: the scope so far, or None.
        method: as it was sent; the answer to HEAD has no body.
        path: as it was sent, for the access log.
    """
    known = begun or {"type": "http", "http_version": "1.1", "client": None, "headers": []}
    return {**known, "method": method.decode(), "path": path.decode("latin-1"), "query_string": b""}
