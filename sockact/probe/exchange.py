"""HTTP/1.1 from the side of a client which believes nothing: requests as bytes, responses read strictly.

A response is complete when its own framing says so: Content-Length, the last chunk, or (only where neither
is given) the end of the stream. Anything shorter or malformed is `wrong`, and nothing at all is `empty`.
Rejected: http.client, which closes and reopens on its own; h11, which the engine under test uses too.

Source: RFC 9112.
"""

import json
from dataclasses import dataclass
from typing import Any

from .account import Identity
from .outcome import Outcome, UnservedError
from .wire import Address, Connection


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response; field names in lower case, `persistent`: the connection can be used again."""

    status: int
    fields: dict[str, str]
    body: bytes
    persistent: bool


def request(method: str, address: Address, path: str, *fields: str) -> bytes:
    """Return the head of a request with these further header fields, each `Name: value`."""
    lines = (f"{method} {path} HTTP/1.1", f"Host: {address.host}", *fields, "", "")
    return "\r\n".join(lines).encode("latin-1")


class Reader:
    """The responses on one connection, one after another."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._buffer = bytearray()
        self._heard = 0

    @property
    def surplus(self) -> bool:
        """Whether bytes have come which belong to no response."""
        return bool(self._buffer)

    async def response(self) -> Response:
        """Read the response to the one request which is in flight.

        Raises:
            UnservedError: `empty`, `wrong` or `reset`; the connection is of no further use.
        """
        self._heard = 0
        while True:
            version, status = _status(await self._line())
            fields = dict(map(_field, await self._block()))
            if status >= 200:
                break
        body, delimited = await self._body(status, fields)
        options = fields.get("connection", "").lower()
        lasting = "keep-alive" in options if version == "HTTP/1.0" else "close" not in options
        return Response(status, fields, body, lasting and delimited)

    async def _body(self, status: int, fields: dict[str, str]) -> tuple[bytes, bool]:
        """Return the body, and whether it has an end of its own."""
        if status in (204, 304):
            return b"", True
        if fields.get("transfer-encoding", "").lower() == "chunked":
            return await self._chunks(), True
        if (length := fields.get("content-length")) is not None:
            return await self._exactly(_number(length, 10)), True
        while await self._fill():
            pass
        return self._take(len(self._buffer)), False

    async def _chunks(self) -> bytes:
        body = bytearray()
        while size := _number((await self._line()).partition(b";")[0].decode("latin-1"), 16):
            body += await self._exactly(size)
            if await self._line():
                raise UnservedError(Outcome.WRONG, "a chunk is longer than its size")
        await self._block()
        return bytes(body)

    async def _block(self) -> list[bytes]:
        lines = []
        while line := await self._line():
            lines.append(line)
        return lines

    async def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            await self._more()
        return self._take(end + 2)[:-2]

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        return self._take(size)

    async def _more(self) -> None:
        if await self._fill():
            return
        if not self._heard:
            raise UnservedError(Outcome.EMPTY, "end of stream before the first byte of the response")
        raise UnservedError(Outcome.WRONG, f"end of stream after {self._heard} bytes of a response")

    async def _fill(self) -> bool:
        data = await self._connection.receive()
        self._buffer += data
        self._heard += len(data)
        return bool(data)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


def check(response: Response) -> Identity:
    """Hold a response against what any correct one fulfils, and return who gave it.

    Raises:
        UnservedError: `wrong`: the status is not 2xx, or body and header fields name different processes.
    """
    if not 200 <= response.status < 300:
        raise UnservedError(Outcome.WRONG, f"status {response.status}")
    told = identity(response.fields.get("x-version"), response.fields.get("x-pid"))
    if not response.fields.get("content-type", "").startswith("application/json"):
        return told
    body = document(response.body)
    named = identity(body.get("version"), body.get("pid"))
    if told.pid is not None and named.pid is not None and told != named:
        raise UnservedError(Outcome.WRONG, f"header fields of {told}, body of {named}")
    return named if told.pid is None else told


def document(body: bytes | str) -> dict[str, Any]:
    """Read a JSON body; one which is no object counts as empty.

    Raises:
        UnservedError: `wrong`: it is not JSON.
    """
    try:
        content = json.loads(body)
    except ValueError as error:
        raise UnservedError(Outcome.WRONG, f"body {body[:40]!r} is not JSON") from error
    return content if isinstance(content, dict) else {}


def identity(version: object, pid: object) -> Identity:
    """Return who answers, as far as `version` and `pid` say so."""
    known = pid if isinstance(pid, int) else int(pid) if isinstance(pid, str) and pid.isdigit() else None
    return Identity(None if version is None else str(version), known)


def _status(line: bytes) -> tuple[str, int]:
    version, _, rest = line.decode("latin-1").partition(" ")
    if version not in ("HTTP/1.0", "HTTP/1.1") or not rest[:3].isdigit():
        raise UnservedError(Outcome.WRONG, f"status line {line[:40]!r}")
    return version, int(rest[:3])


def _field(line: bytes) -> tuple[str, str]:
    name, colon, value = line.decode("latin-1").partition(":")
    if not colon or not name:
        raise UnservedError(Outcome.WRONG, f"header field {line[:40]!r}")
    return name.lower(), value.strip()


def _number(digits: str, base: int) -> int:
    try:
        size = int(digits, base)
    except ValueError:
        size = -1
    if size < 0:
        raise UnservedError(Outcome.WRONG, f"{digits[:20]!r} is not a length")
    return size
