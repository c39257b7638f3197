"""Requests for an upgrade that is declined, to HTTP/2 for example; they are answered in HTTP/1.1.

For the parser a request that asks for any upgrade ends with its headers, and another protocol follows.
Common clients like Java's and `curl --http2` ask for HTTP/2 in their first request, and still send its body
and more requests in HTTP/1.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import httptools

_CALLBACKS = ("message_begin", "url", "header", "headers_complete", "body", "message_complete")


def framing_of(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return the header that gives the length of a request's body; empty if there is no body."""
    for name, value in headers:
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0")):
            return name + b": " + value
    return b""


def parser_of_body(protocol: Any, method: bytes, framing: bytes) -> httptools.HttpRequestParser:
    """Return a parser that begins with the body of a request.

    Args:
        protocol: its callbacks are called for the body and all that follows.
        method: the request's method.
        framing: as `framing_of` returns it.
    """
    at_body = False

    def passed_on(name: str) -> Callable[..., None]:
        callback = getattr(protocol, f"on_{name}")

        def pass_on(*found: bytes) -> None:
            if at_body:
                callback(*found)

        return pass_on

    callbacks = {f"on_{name}": passed_on(name) for name in _CALLBACKS}
    parser = httptools.HttpRequestParser(SimpleNamespace(**callbacks))
    parser.feed_data(method + b" / HTTP/1.1\r\n" + framing + b"\r\n\r\n")
    at_body = True
    return parser
