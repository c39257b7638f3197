"""Runs the handler classes of socketserver without its servers."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any


class Server:
    """Stands for the `server` of a socketserver handler.

    Args:
        handler: a subclass of `socketserver.BaseRequestHandler`; its constructor serves one request.
        sock: the socket on which the request arrived.
    """

    def __init__(self, handler: Callable[..., Any], sock: socket.socket) -> None:
        self.RequestHandlerClass = handler
        self.socket = sock
        self.server_address = sock.getsockname()

    def serve(self, connection: socket.socket) -> None:
        """Serve a connection by the handler."""
        self._handle(connection, connection.getpeername())

    def answer(self, data: bytes, address: Any) -> None:
        """Answer a datagram by the handler."""
        self._handle((data, self.socket), address)

    def _handle(self, request: Any, address: Any) -> None:
        self.RequestHandlerClass(request, address, self)
