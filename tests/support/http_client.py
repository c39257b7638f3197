"""The HTTP client of the tests: one request, one answer, and raw bytes where they matter."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from sockact.sockets.fds import Listener
from tests.support.manager import LIMIT

Where = Listener | str | tuple[str, int]
"""A listener, a Unix path, `@abstract`, or a host and port."""


@dataclass(slots=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def closes(self) -> bool:
        """True if the server announces that it closes the connection after this response."""
        return self.headers.get("connection") == "close"


def connect(where: Where, source: str = "") -> socket.socket:
    """Open a connection; over TCP from this address, if there is one."""
    address: Any = where
    if isinstance(where, Listener):
        assert where.sock is not None
        address = where.sock.getsockname()
    if isinstance(address, tuple):
        return socket.create_connection(address[:2], LIMIT, source_address=(source, 0) if source else None)
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


class Client:
    """One connection, on which nothing is retried and nothing is hidden."""

    def __init__(self, where: Where, source: str = "") -> None:
        self.sock = connect(where, source)
        self._file = self.sock.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, data: str | bytes) -> None:
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def ask(self, path: str = "/") -> None:
        """Send a request."""
        self.send(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")

    def ask_last(self) -> None:
        """Send a request after which the connection is to be closed."""
        self.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")

    def request(
        self, method: str, path: str, body: bytes | Iterable[bytes] | None, headers: Mapping[str, str]
    ) -> None:
        """Send any request; a body in pieces is sent in chunks."""
        fields = {"Host": "test", **headers}
        if isinstance(body, bytes):
            fields["Content-Length"] = str(len(body))
        elif body is not None:
            fields["Transfer-Encoding"] = "chunked"
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if isinstance(body, bytes):
            self.send(body)
        elif body is not None:
            for piece in (*body, b""):
                self.send(b"%x\r\n%b\r\n" % (len(piece), piece))

    def get(self, path: str = "/") -> Answer:
        """Send a request, and read its response."""
        self.ask(path)
        return self.read()

    def read(self, *, head_only: bool = False) -> Answer:
        """Read one response, whole; `head_only` is that to a HEAD."""
        response = self.read_head()
        length = response.headers.get("content-length")
        if head_only or response.status < 200 or response.status in (204, 304):
            return response
        if response.headers.get("transfer-encoding") == "chunked":
            response.body = b"".join(iter(self.read_chunk, b""))
        elif length is not None:
            response.body = self._file.read(int(length))
            if len(response.body) < int(length):
                raise ConnectionError("the connection was closed within a body")
        else:
            response.body = self._file.read()
        return response

    def read_head(self) -> Answer:
        """Read a response up to its body."""
        status_line = self.read_line().decode()
        if not status_line:
            raise ConnectionError("the connection was closed without a response")
        return Answer(int(status_line.split()[1]), self.read_headers(), b"")

    def read_headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        while line := self.read_line().decode("latin-1").rstrip("\r\n"):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return headers

    def read_chunk(self) -> bytes:
        size = int(self.read_line(), 16)
        data = self._file.read(size)
        assert self.read_line() == b"\r\n"
        return data

    def read_line(self) -> bytes:
        """Read a line with its end; what there is of it, if the connection ends."""
        return self._file.readline()

    def read_bytes(self, count: int) -> bytes:
        """Read what comes after a response."""
        return self._file.read(count)

    def at_eof(self) -> bool:
        """Wait for the end of the connection; a reset raises."""
        return self._file.read(1) == b""

    def close(self) -> None:
        self._file.close()
        self.sock.close()


def get(
    where: Where,
    path: str = "/",
    *,
    method: str = "GET",
    body: bytes | Iterable[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request on a connection of its own, and return the answer."""
    with Client(where) as client:
        client.request(method, path, body, headers or {})
        return client.read(head_only=method == "HEAD")


def exchange(where: Where, data: bytes) -> bytes:
    """Send bytes, and return all that comes until the end."""
    with connect(where) as sock:
        sock.sendall(data)
        return b"".join(iter(lambda: sock.recv(65536), b""))
