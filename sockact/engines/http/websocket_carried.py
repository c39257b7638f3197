"""The content of an envelope with a WebSocket: all that the next process needs to go on with it.

    version, window bits of the client's compression and of ours (0 without), four lengths
    head          the handshake, as a client would send it
    subprotocol   that the app has accepted; empty for none
    state         that the app has given
    unread        frames that the app has not received, and the beginning of the next one

The writer may be another worker, of other code, or in the hands of an attacker: everything is checked, the
head by the same code as that of any client.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from sockact.engines.http.connection import is_websocket
from sockact.engines.http.head import REQUEST_ID, Request
from sockact.engines.http.reader import RequestReader
from sockact.handover.envelope import STATE_LIMIT

_VERSION = 1
_LENGTHS = struct.Struct("!BBBIHII")

_ID_FIELD = b"sockact-request-id"
"""A field of the head that carries the request's id; the app does not see it, and no client can set it."""

_REMOTE_BITS = range(8, 16)
_LOCAL_BITS = range(9, 16)
"""Window bits of compression that zlib can make. Source: RFC 7692, section 7.1.2; zlib cannot make 8."""


class MovedWebSocket(NamedTuple):
    """A WebSocket that moves.

    Attributes:
        request: the head of its handshake.
        subprotocol: the one that the app has accepted.
        window_bits: of the client's compression and of ours; None without compression.
        state: given by the app.
        unread: bytes that have come for the next process.
    """

    request: Request
    subprotocol: str | None
    window_bits: tuple[int, int] | None
    state: bytes
    unread: bytes


class MalformedWebSocket(Exception):  # noqa: N818 - the text says what it is
    """Raised for content that no worker of ours, or one of another version, has written."""


def packed(moved: MovedWebSocket) -> bytes:
    """Return the content of an envelope."""
    remote, local = moved.window_bits or (0, 0)
    parts = (_head(moved.request), (moved.subprotocol or "").encode("latin-1"), moved.state, moved.unread)
    return _LENGTHS.pack(_VERSION, remote, local, *map(len, parts)) + b"".join(parts)


def unpacked(content: bytes, max_header_bytes: float) -> MovedWebSocket:
    """Return the WebSocket in an envelope; raises MalformedWebSocket.

    Args:
        content: of the envelope.
        max_header_bytes: of the handshake; infinity for no limit.
    """
    if content[:1] != bytes([_VERSION]):
        raise MalformedWebSocket(f"its content is of version {content[:1].hex()}: expected {_VERSION:02x}")
    if len(content) < _LENGTHS.size:
        raise MalformedWebSocket(f"its content has {len(content)} bytes: expected {_LENGTHS.size} or more")
    _, remote, local, *lengths = _LENGTHS.unpack_from(content)
    if _LENGTHS.size + sum(lengths) != len(content):
        raise MalformedWebSocket(f"its content has {len(content)} bytes, and tells of {sum(lengths)}")
    head, subprotocol, state, unread = _split(content, lengths)
    if len(state) > STATE_LIMIT:
        raise MalformedWebSocket(f"a state of {len(state)} bytes: expected at most {STATE_LIMIT}")
    return MovedWebSocket(
        _request(head, max_header_bytes), _text(subprotocol), _window_bits(remote, local), state, unread
    )


def _head(request: Request) -> bytes:
    known = [field for field in request.headers if field[0] != _ID_FIELD]
    if request.id:
        known.append((_ID_FIELD, request.id.encode()))
    fields = b"".join(b"%b:%b\r\n" % field for field in known)
    return b"%b %b HTTP/%b\r\n%b\r\n" % (
        request.method.encode("ascii"),
        request.target,
        request.version.encode("ascii"),
        fields,
    )


def _split(content: bytes, lengths: list[int]) -> list[bytes]:
    parts = []
    begin = _LENGTHS.size
    for length in lengths:
        parts.append(content[begin : begin + length])
        begin += length
    return parts


def _request(head: bytes, max_header_bytes: float) -> Request:
    sink = _Sink()
    reader = RequestReader(sink, max_header_bytes, 0)
    if head:
        reader.receive(head)
    request = sink.request
    if request is None or reader.rest or request.length != 0 or not is_websocket(request):
        raise MalformedWebSocket("its handshake is none")
    for field in [each for each in request.headers if each[0] == _ID_FIELD]:
        request.headers.remove(field)
        request.id = field[1].decode() if REQUEST_ID.fullmatch(field[1]) else ""
    return request


def _text(subprotocol: bytes) -> str | None:
    text = subprotocol.decode("latin-1")
    if not text.isprintable():
        raise MalformedWebSocket("its subprotocol is none")
    return text or None


def _window_bits(remote: int, local: int) -> tuple[int, int] | None:
    if not remote and not local:
        return None
    if remote not in _REMOTE_BITS or local not in _LOCAL_BITS:
        raise MalformedWebSocket(f"its compression has windows of {remote} and {local} bits")
    return remote, local


class _Sink:
    """Takes one request; see `reader.Sink`."""

    request: Request | None = None

    def on_part(self) -> None:
        """Ignore it."""

    def on_request(self, request: Request) -> None:
        """Keep it."""
        self.request = request

    def on_body(self, part: bytes) -> None:
        """Ignore it."""

    def on_body_end(self) -> None:
        """Ignore it."""

    def on_bad(self, status: int, request: Request | None) -> None:
        """Ignore it: there is no request."""
