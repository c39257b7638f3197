"""The PROXY protocol, versions 1 and 2: a connection begins with the address of the proxy's client.

Source: https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt
"""

from __future__ import annotations

import asyncio
import socket
import struct
from ipaddress import ip_address
from typing import NamedTuple

from sockact.untrusted import ancillary
from sockact.untrusted.number import decimal

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""The beginning of version 2."""

MIN_LINE = len(b"PROXY UNKNOWN\r\n")
MAX_LINE = 107
"""Least and most bytes of the line of version 1."""

_HEAD = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21
_FAMILIES = {0x11: ("!4s4sHH", socket.AF_INET), 0x21: ("!16s16sHH", socket.AF_INET6)}
_TLS = 0x20
"""The type of the field about TLS, and of its flag that the client has come by TLS: PP2_TYPE_SSL."""
_BY_TLS = 0x01

Address = tuple[str, int]


class ProxyProtocolError(ValueError):
    """The first bytes of a connection are no header of the PROXY protocol."""


class Source(NamedTuple):
    """The source of a connection, as a proxy tells it.

    Attributes:
        client: the client's address; None if the connection is the proxy's own, or not of TCP.
        server: the address that the client has connected to; None as above.
        encrypted: whether the client has come by TLS.
    """

    client: Address | None = None
    server: Address | None = None
    encrypted: bool = False


def parse(data: bytes) -> Source | None:
    """Return what a header says; None if more bytes are needed.

    Raises:
        ProxyProtocolError: no header can come of these bytes.
    """
    if data.startswith(b"PROXY ") or b"PROXY ".startswith(data):
        return _parse_line(data)
    if data.startswith(SIGNATURE) or SIGNATURE.startswith(data):
        return _parse_binary(data)
    raise ProxyProtocolError(f"found {data[:16]!r}, expected PROXY or the signature of version 2")


def _parse_line(data: bytes) -> Source | None:
    line, end, _ = data[:MAX_LINE].partition(b"\r\n")
    if not end:
        if len(data) >= MAX_LINE:
            raise ProxyProtocolError(f"a line of more than {MAX_LINE} bytes")
        return None
    try:
        words = line.decode("ascii").split(" ")
        if words[1] == "UNKNOWN":
            return Source()
        _, family, client, server, from_port, to_port = words
        version = {"TCP4": 4, "TCP6": 6}[family]
        if {ip_address(client).version, ip_address(server).version} != {version} or "%" in client + server:
            raise ValueError  # or an address with a scope, which may be any text
        return Source((client, _port(from_port)), (server, _port(to_port)))
    except (ValueError, KeyError, IndexError):
        raise ProxyProtocolError(f"found the line {line!r}") from None


def _port(text: str) -> int:
    port = decimal(text, digits=5)
    if port is None or port > 65535 or text != str(port):
        raise ValueError(text)
    return port


def _parse_binary(data: bytes) -> Source | None:
    if len(data) < _HEAD.size:
        return None
    _, command, family, length = _HEAD.unpack_from(data)
    size = _HEAD.size + length
    if command not in (_LOCAL, _PROXY):
        raise ProxyProtocolError(f"found version and command {command:#x}, expected 0x20 or 0x21")
    if len(data) < size:
        return None
    if command == _LOCAL or family not in _FAMILIES:
        return Source()
    layout, kind = _FAMILIES[family]
    body = data[_HEAD.size : size]
    addresses = struct.calcsize(layout)
    if length < addresses:
        raise ProxyProtocolError(f"found {length} bytes of addresses, expected {addresses}")
    client, server, from_port, to_port = struct.unpack_from(layout, body)
    return Source(
        (socket.inet_ntop(kind, client), from_port),
        (socket.inet_ntop(kind, server), to_port),
        _is_encrypted(body[addresses:]),
    )


def _is_encrypted(fields: bytes) -> bool:
    while len(fields) >= 3:
        kind, length = struct.unpack_from("!BH", fields)
        if len(fields) < 3 + length:
            raise ProxyProtocolError(f"found {len(fields) - 3} bytes of a field, expected {length}")
        if kind == _TLS and length:
            return bool(fields[3] & _BY_TLS)
        fields = fields[3 + length :]
    return False


async def read(connection: socket.socket, limit: float | None) -> Source:
    """Read the header from a non-blocking connection, and nothing that follows it.

    Args:
        connection: of a proxy.
        limit: seconds that it may take; None for no limit.

    Raises:
        ProxyProtocolError: there is none.
        TimeoutError: it has not come in time.
        OSError: the connection is lost.
    """
    data = b""
    async with asyncio.timeout(limit):
        while (found := parse(data)) is None:
            part = await ancillary.read_later(connection, _wanted(data))
            if not part:
                raise ProxyProtocolError("the connection ends before the header")
            data += part
    return found


def _wanted(data: bytes) -> int:
    """Return how many more bytes belong to the header in any case."""
    if len(data) < MIN_LINE:
        return MIN_LINE - len(data)
    if data.startswith(b"PROXY "):
        return 1  # its end is not known
    if len(data) < _HEAD.size:
        return _HEAD.size - len(data)
    return _HEAD.size + int(_HEAD.unpack_from(data)[3]) - len(data)
