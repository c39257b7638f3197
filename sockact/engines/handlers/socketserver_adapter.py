"""The handler classes of socketserver, without its servers."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any


class Server:
    """What a handler sees as its `server`.

    Args:
        handler: the class, a `socketserver.BaseRequestHandler`; an object of it serves one request while
            it is made.
        sock: where the request came to.
    """

    def __init__(self, handler: Callable[..., Any], sock: socket.socket) -> None:
        self.RequestHandlerClass = handler
        self.socket = sock
        self.server_address = sock.getsockname()

    def serve(self, connection: socket.socket) -> None:
        """Let the handler serve a connection."""
        self._handle(connection, connection.getpeername())

    def answer(self, data: bytes, address: Any) -> None:
        """Let the handler answer a datagram."""
        self._handle((data, self.socket), address)

    def _handle(self, request: Any, address: Any) -> None:
        self.RequestHandlerClass(request, address, self)
