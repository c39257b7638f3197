"""A plain HTTP client for tests: one request, one answer, and raw bytes where they matter."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sockact.sockets.fds import Listener

LIMIT = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def connect(where: Listener | str | tuple[str, int]) -> socket.socket:
    """Open a connection to a listener, a Unix path, `@abstract`, or a host and port."""
    address = where
    if isinstance(where, Listener):
        assert where.sock is not None
        address = where.sock.getsockname()
    if isinstance(address, tuple):
        return socket.create_connection(address[:2], timeout=LIMIT)
    if isinstance(address, str) and address.startswith("@"):
        address = "\0" + address[1:]
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(LIMIT)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


@contextlib.contextmanager
def connection(where: Listener | str | tuple[str, int]) -> Iterator[http.client.HTTPConnection]:
    """Give an HTTP connection for several requests."""
    http_connection = http.client.HTTPConnection("test", timeout=LIMIT)
    http_connection.sock = connect(where)
    try:
        yield http_connection
    finally:
        http_connection.close()


def get(
    where: Listener | str | tuple[str, int],
    path: str = "/",
    *,
    method: str = "GET",
    body: bytes | Iterable[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request on a connection of its own, and return the answer."""
    with connection(where) as http_connection:
        http_connection.request(method, path, body, dict(headers or {}))
        return answer(http_connection)


def answer(http_connection: http.client.HTTPConnection) -> Answer:
    """Read the response to the request that was sent last."""
    response = http_connection.getresponse()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


def exchange(where: Listener | str | tuple[str, int], data: bytes) -> bytes:
    """Send bytes, and return all that comes until the end."""
    with connect(where) as sock:
        sock.sendall(data)
        return b"".join(iter(lambda: sock.recv(65536), b""))
