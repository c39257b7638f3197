"""The test's side of `tests/apps/gate_app.py`, and a client that sees every byte."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.manager import LIMIT

APP = Path(__file__).parents[1] / "apps" / "gate_app.py"


class Gate:
    """Where requests of the app wait until the test lets them go on."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "gate.sock")
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.bind(self.path)
        self._sock.listen()
        self._sock.settimeout(LIMIT)
        self._held: list[Held] = []

    def wait(self) -> Held:
        """Wait until a request asks at the gate."""
        connection, _ = self._sock.accept()
        connection.settimeout(LIMIT)
        self._held.append(Held(connection))
        return self._held[-1]

    def close(self) -> None:
        for held in self._held:
            held.close()
        self._sock.close()


class Held:
    """A request that waits."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        with connection.makefile() as file:
            self.where = file.readline().strip()

    def release(self) -> None:
        """Let it go on."""
        self._connection.sendall(b"!")
        self._connection.close()

    def close(self) -> None:
        self._connection.close()


class Client:
    """One connection, on which nothing is retried and nothing is hidden."""

    def __init__(self, address: Any) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(LIMIT)
        self.sock.connect(address)
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

    def get(self, path: str = "/") -> Response:
        """Send a request, and read its response."""
        self.ask(path)
        return self.read()

    def read(self) -> Response:
        """Read one response, whole."""
        response = self.read_head()
        if response.headers.get("transfer-encoding") == "chunked":
            response.body = b"".join(iter(self.read_chunk, b""))
        else:
            response.body = self._file.read(int(response.headers.get("content-length", 0)))
        return response

    def read_head(self) -> Response:
        """Read a response up to its body."""
        status_line = self._file.readline().decode()
        assert status_line, "the connection was closed without a response"
        return Response(int(status_line.split()[1]), self.read_headers(), b"")

    def read_headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        while line := self._file.readline().decode().rstrip("\r\n"):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return headers

    def read_chunk(self) -> bytes:
        size = int(self._file.readline(), 16)
        data = self._file.read(size)
        assert self._file.readline() == b"\r\n"
        return data

    def read_bytes(self, count: int) -> bytes:
        """Read what comes after a response."""
        return self._file.read(count)

    def at_eof(self) -> bool:
        """Wait for the end of the connection; a reset raises."""
        return self._file.read(1) == b""

    def close(self) -> None:
        self._file.close()
        self.sock.close()


class Response:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def closes(self) -> bool:
        """Whether the server announces that it closes the connection after this response."""
        return self.headers.get("connection") == "close"


def install(directory: Path, version: str = "1") -> None:
    """Put the app into `directory` as app.py, in a version of its own."""
    new = directory / "app.py.new"
    shutil.copy(APP, new)
    new.write_text(new.read_text().replace('VERSION = "1"', f'VERSION = "{version}"'))
    new.rename(directory / "app.py")
