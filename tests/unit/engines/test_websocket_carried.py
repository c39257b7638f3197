"""The content of an envelope with a WebSocket: what one process writes, and what the other believes."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockact.engines.http.head import Request
from sockact.engines.http.websocket_carried import MalformedWebSocket, MovedWebSocket, packed, unpacked

SHAKEN = [
    (b"host", b"test"),
    (b"connection", b"keep-alive, Upgrade"),
    (b"upgrade", b"websocket"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
]
LENGTHS = struct.Struct("!BBBIHII")

values = st.binary(max_size=40).map(
    lambda data: bytes(byte for byte in data if byte > 0x20 and byte != 0x7F)
)
fields = st.lists(st.tuples(st.from_regex(rb"x-[a-z0-9-]{1,20}", fullmatch=True), values), max_size=8)
targets = st.from_regex(rb"/[\x21-\x22\x24-\x7e\x80-\xff]{0,60}", fullmatch=True)
windows = st.none() | st.tuples(st.integers(8, 15), st.integers(9, 15))
subprotocols = st.none() | st.from_regex(r"[A-Za-z0-9.-]{1,30}", fullmatch=True)


def moved(**given: object) -> MovedWebSocket:
    request = Request("GET", b"/chat?room=1", "1.1", list(SHAKEN))
    return MovedWebSocket(request, "chat", (12, 12), b"state", b"unread")._replace(**given)


@given(targets, fields, subprotocols, windows, st.binary(max_size=99), st.binary(max_size=99))
def test_what_was_written_is_read(
    target: bytes,
    more: list[tuple[bytes, bytes]],
    subprotocol: str | None,
    window_bits: tuple[int, int] | None,
    state: bytes,
    unread: bytes,
) -> None:
    request = Request("GET", target, "1.1", SHAKEN + more)
    content = packed(MovedWebSocket(request, subprotocol, window_bits, state, unread))

    read = unpacked(content, math.inf)

    assert read[1:] == (subprotocol, window_bits, state, unread)
    assert (read.request.target, read.request.headers) == (target, SHAKEN + more)
    assert (read.request.raw_path, read.request.query) == (request.raw_path, request.query)


def test_an_absolute_target_stays_what_it_was() -> None:
    request = Request("GET", b"http://test/chat?a", "1.1", list(SHAKEN))

    read = unpacked(packed(moved(request=request)), math.inf).request

    assert (read.raw_path, read.query, read.headers) == (b"/chat", b"a", SHAKEN)


def is_refused(content: bytes) -> bool:
    try:
        unpacked(content, 1000)
    except MalformedWebSocket:
        return True
    return False


@given(st.binary(max_size=300))
def test_no_content_raises_anything_else(content: bytes) -> None:
    is_refused(content)
    is_refused(b"\x01" + content)


@given(st.integers(0, len(packed(moved())) - 1), st.integers(0, 255))
def test_no_other_byte_raises_anything_else(place: int, byte: int) -> None:
    content = bytearray(packed(moved()))
    content[place] = byte
    is_refused(bytes(content))


@given(st.integers(0, len(packed(moved())) - 1))
def test_a_part_of_it_is_refused(size: int) -> None:
    assert is_refused(packed(moved())[:size])


HEAD = b"GET / HTTP/1.1\r\nhost:a\r\nconnection:upgrade\r\nupgrade:websocket\r\n\r\n"


def written(
    head: bytes = HEAD, remote: int = 0, local: int = 0, subprotocol: bytes = b"", state: int = 0
) -> bytes:
    lengths = LENGTHS.pack(1, remote, local, len(head), len(subprotocol), state, 0)
    return lengths + head + subprotocol + bytes(state)


def test_the_least_is_believed() -> None:
    assert not is_refused(written())


@pytest.mark.parametrize(
    "content",
    [
        b"\x02" + written()[1:],
        written() + b"x",
        written(b""),
        written(HEAD[:-2]),
        written(HEAD + HEAD),
        written(HEAD.replace(b"GET", b"CONNECT")),
        written(HEAD.replace(b"GET", b"POST")),
        written(HEAD.replace(b"upgrade:websocket", b"upgrade:h2c")),
        written(HEAD.replace(b"connection:upgrade\r\n", b"")),
        written(HEAD.replace(b"host:a", b"host:a\r\ncontent-length:3")),
        written(HEAD.replace(b"host:a", b"host:a\r\ntransfer-encoding:chunked")),
        written(HEAD.replace(b"host:a", b"host:a\r\nx:" + 1000 * b"x")),
        written(remote=16, local=12),
        written(remote=12, local=8),
        written(remote=0, local=12),
        written(subprotocol=b"a\r\nb"),
        written(state=64 * 1024 + 1),
    ],
)
def test_content_that_cannot_be_right_is_refused(content: bytes) -> None:
    assert is_refused(content)
