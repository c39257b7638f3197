"""Headers of the PROXY protocol."""

from __future__ import annotations

import socket
import struct

import pytest

from sockact.engines.http.proxy_protocol import SIGNATURE, ProxyProtocolError, Source, parse

V4 = socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 4711, 443)
V6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + struct.pack("!HH", 4711, 443)
)
TLS = b"\x20\0\5\x01\0\0\0\0"


def binary(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


KNOWN = {
    b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n": Source(("192.0.2.7", 4711), ("192.0.2.1", 443)),
    b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n": Source(("2001:db8::7", 4711), ("::1", 443)),
    b"PROXY UNKNOWN\r\n": Source(),
    b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n": Source(),
    binary(0x21, 0x11, V4): Source(("192.0.2.7", 4711), ("192.0.2.1", 443)),
    binary(0x21, 0x11, V4 + b"\x04\0\1x" + TLS): Source(("192.0.2.7", 4711), ("192.0.2.1", 443), True),
    binary(0x21, 0x21, V6): Source(("2001:db8::7", 4711), ("2001:db8::1", 443)),
    binary(0x20, 0x11, V4): Source(),  # of the proxy itself, as for its health checks
    binary(0x21, 0x31, bytes(216)): Source(),  # of a Unix socket
    binary(0x21, 0x00, b""): Source(),
}


@pytest.mark.parametrize("header", KNOWN)
def test_a_header_is_read_and_a_part_of_one_is_waited_for(header: bytes) -> None:
    assert parse(header) == KNOWN[header]
    assert [parse(header[:size]) for size in range(len(header))] == [None] * len(header)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01",
        b"PROXY TCP4 192.0.2.7 ::1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1 99999\r\n",
        b"PROXY TCP5 192.0.2.7 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7\r\n",
        b"PROXY TCP6 fe80::7%eth0 ::1 1 2\r\n",
        b"PROXY TCP6 ::1 fe80::7%\x1b[31m\nforged 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 01 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 0000000001 2\r\n",
        b"PROXY \r\n",
        b"PROXY " + 102 * b"x",
        binary(0x11, 0x11, V4),
        binary(0x22, 0x11, V4),
        binary(0x21, 0x11, V4[:-1]),
        binary(0x21, 0x11, V4 + b"\x20\0\1"),
        binary(0x21, 0x11, V4 + TLS[:-1]),
        binary(0x21, 0x21, V6 + b"\x04\xff\xffx"),
    ],
)
def test_any_other_beginning_is_refused(data: bytes) -> None:
    with pytest.raises(ProxyProtocolError):
        parse(data)
