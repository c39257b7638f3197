"""Many connections on which nothing happens."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator
from typing import Any, Self

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
BODY = b"hello"

SPARE = 1_000
"""Descriptors that a process needs beside its connections."""


class Crowd:
    """Connections on which nothing happens after one request each.

    Args:
        address: of the server.
        count: how many.
        fresh: leave out the request.
    """

    def __init__(self, address: Any, count: int, *, fresh: bool = False) -> None:
        self._socks: list[socket.socket] = []
        for _ in range(count):
            self._socks.append(socket.create_connection(address))
            assert fresh or _served(self._socks[-1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self._socks:
            sock.close()

    def served(self) -> int:
        """Send a request on each, and return how many were answered."""
        return sum(map(_served, self._socks))

    def open(self) -> int:
        """Return how many the server has not closed."""
        return sum(map(_open, self._socks))


def _served(sock: socket.socket) -> bool:
    """Send a request; return False if the server has closed the connection."""
    try:
        sock.sendall(REQUEST)
        received = b""
        while not received.endswith(BODY):
            if not (data := sock.recv(1024)):
                return False
            received += data
    except OSError:
        return False
    return True


def _open(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return True
    except OSError:
        return False


@contextlib.contextmanager
def descriptors() -> Iterator[int]:
    """Raise the limit of descriptors for this process and its children as far as allowed; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
