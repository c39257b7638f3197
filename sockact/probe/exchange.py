"""HTTP/1.1 for a strict client: writes requests as bytes, and parses responses strictly.

A response is complete when its own framing says so: Content-Length, the last chunk, or (only if neither is
given) the end of the stream. A shorter or malformed one is `wrong`, and no byte at all is `empty`. A server
may send anything, without end: the amount that is kept is bounded, and the client has its limit.
Rejected: http.client, which closes and reopens on its own; h11, which the engine under test uses too.

Source: RFC 9112.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from .outcome import Outcome, UnservedError, shown
from .record import Identity
from .wire import Address, Connection

MAX_LINE_BYTES = 65536
"""Most bytes of a line: a header field or the size of a chunk."""

MAX_HEAD_BYTES = 262144
"""Most bytes of the header fields of a response, and of its trailers."""

MAX_INTERIM = 100
"""Most 1xx responses before the final one."""

KEPT_BODY_BYTES = 1 << 20
"""Bytes of a body that are kept for checks; the bytes beyond are discarded."""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response; field names in lower case, `persistent`: the connection can be used again.

    `body` is its beginning, where it is large; `cut` tells whether there was more.
    """

    status: int
    fields: dict[str, str]
    body: bytes
    persistent: bool
    cut: bool = False


class Body:
    """A body that arrives in parts, of which the first are kept."""

    def __init__(self) -> None:
        self.kept = bytearray()
        self.cut = False

    def add(self, data: bytes) -> None:
        """Add the next part."""
        room = KEPT_BODY_BYTES - len(self.kept)
        self.kept += data[:room]
        self.cut = self.cut or len(data) > room


def request(method: str, address: Address, path: str, *fields: str) -> bytes:
    """Return the head of a request with these further header fields, each `Name: value`."""
    lines = (f"{method} {path} HTTP/1.1", f"Host: {address.host}", *fields, "", "")
    return "\r\n".join(lines).encode("latin-1")


class ResponseReader:
    """Reads the responses on one connection, one after another."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._buffer = bytearray()
        self._heard = 0

    @property
    def surplus(self) -> bool:
        """Return whether bytes have arrived that belong to no response."""
        return bool(self._buffer)

    async def response(self) -> Response:
        """Read the response to the request in flight.

        Raises:
            UnservedError: `empty`, `wrong` or `reset`; the connection cannot be used any more.
        """
        self._heard = 0
        for _ in range(MAX_INTERIM):
            version, status = _status(await self._line())
            fields = _fields(await self._block())
            if status >= 200 or status == 101:
                break
        else:
            raise UnservedError(Outcome.WRONG, f"{MAX_INTERIM} interim responses, and no final one")
        body = Body()
        delimited = await self._body(status, fields, body)
        options = fields.get("connection", "").lower()
        lasting = "keep-alive" in options if version == "HTTP/1.0" else "close" not in options
        return Response(status, fields, bytes(body.kept), lasting and delimited, body.cut)

    async def _body(self, status: int, fields: dict[str, str], body: Body) -> bool:
        """Read the body, and return whether it ends before the connection does."""
        if status in (101, 204, 304):
            return status != 101
        coding, length = fields.get("transfer-encoding"), fields.get("content-length")
        if coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise UnservedError(Outcome.WRONG, f"framed by {coding!r} and a length of {length!r}")
            await self._chunks(body)
            return True
        if length is not None:
            await self._exactly(_number(length, 10), body)
            return True
        while self._buffer or await self._fill():
            body.add(self._take(len(self._buffer)))
        return False

    async def _chunks(self, body: Body) -> None:
        while size := _number((await self._line()).partition(b";")[0].decode("latin-1").strip(), 16):
            await self._exactly(size, body)
            if await self._line():
                raise UnservedError(Outcome.WRONG, "a chunk is longer than its size")
        await self._block()

    async def _block(self) -> list[bytes]:
        lines, size = [], 0
        while line := await self._line():
            lines.append(line)
            size += len(line) + 2
            if size > MAX_HEAD_BYTES:
                raise UnservedError(Outcome.WRONG, f"header fields of more than {MAX_HEAD_BYTES} bytes")
        return lines

    async def _line(self) -> bytes:
        searched = 0
        while (end := self._buffer.find(b"\r\n", searched)) < 0:
            searched = max(len(self._buffer) - 1, 0)
            if searched > MAX_LINE_BYTES:
                raise UnservedError(Outcome.WRONG, f"a line of more than {MAX_LINE_BYTES} bytes")
            await self._more()
        return self._take(end + 2)[:-2]

    async def _exactly(self, size: int, body: Body) -> None:
        while size:
            if not self._buffer:
                await self._more()
            part = self._take(min(size, len(self._buffer)))
            body.add(part)
            size -= len(part)

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
    """Check what every correct response fulfils, and return its identity.

    Raises:
        UnservedError: `wrong`: the status is not 2xx, or body and header fields name different processes.
    """
    if not 200 <= response.status < 300:
        raise UnservedError(Outcome.WRONG, f"status {response.status}")
    told = identity(response.fields.get("x-version"), response.fields.get("x-pid"))
    of_json = response.fields.get("content-type", "").startswith("application/json")
    if not of_json or response.cut:  # a large document is one of the app's own
        return told
    body = content(response)
    named = identity(body.get("version"), body.get("pid"))
    if told.pid is not None and named.pid is not None and told != named:
        raise UnservedError(Outcome.WRONG, f"header fields of {told}, body of {named}")
    return named if told.pid is None else told


def content(response: Response) -> dict[str, Any]:
    """Read the JSON body of a response, as `document`."""
    if response.cut:
        raise UnservedError(Outcome.WRONG, f"a JSON body of more than {KEPT_BODY_BYTES} bytes")
    return document(response.body)


def document(body: bytes | str) -> dict[str, Any]:
    """Read a JSON body; one that is no object counts as empty.

    Raises:
        UnservedError: `wrong`: the body is not JSON.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnservedError(Outcome.WRONG, f"body {body[:40]!r} is not JSON") from error
    return found if isinstance(found, dict) else {}


def identity(version: object, pid: object) -> Identity:
    """Return the identity of these values, of which either may be missing or malformed."""
    named = None if version is None or isinstance(version, dict | list) else shown(str(version))
    digits = str(pid) if isinstance(pid, int | str) and not isinstance(pid, bool) else ""
    return Identity(named, int(digits) if re.fullmatch("[0-9]{1,10}", digits) else None)


def _status(line: bytes) -> tuple[str, int]:
    found = re.fullmatch(rb"(HTTP/1\.[01]) ([1-9][0-9]{2})(?: .*)?", line, re.DOTALL)
    if found is None:
        raise UnservedError(Outcome.WRONG, f"status line {line[:40]!r}")
    return found[1].decode(), int(found[2])


def _fields(lines: list[bytes]) -> dict[str, str]:
    """Return header fields by name; several lines of one are a list (RFC 9110, section 5.3)."""
    fields: dict[str, str] = {}
    for line in lines:
        name, value = _field(line)
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def _field(line: bytes) -> tuple[str, str]:
    name, colon, value = line.decode("latin-1").partition(":")
    if not colon or not name:
        raise UnservedError(Outcome.WRONG, f"header field {line[:40]!r}")
    return name.lower(), value.strip()


def _number(digits: str, base: int) -> int:
    if not re.fullmatch("[0-9]{1,18}" if base == 10 else "[0-9A-Fa-f]{1,15}", digits):
        raise UnservedError(Outcome.WRONG, f"{digits[:20]!r} is not a length")
    return int(digits, base)
