"""A client that is held to the bounds of the app for clients without bounds."""

from __future__ import annotations

import select
import socket

from tests.support.http_client import Client
from tests.support.manager import LIMIT

BRIEF = "250ms"
"""A bound that the test waits for."""

UPLOAD = "POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n"


def wait_reset(client: Client) -> None:
    """Wait, without reading, until the connection was reset."""
    lost = select.poll()
    lost.register(client.sock, 0)
    assert lost.poll(1000 * LIMIT), "the connection is still open"
    assert client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
