"""The header of the PROXY protocol: the same however it comes, and nothing behind it is read."""

from __future__ import annotations

import asyncio
import re
import socket
from ipaddress import ip_address

from sockact.engines.http import proxy_protocol
from sockact.engines.http.proxy_protocol import Address, ProxyProtocolError, Source
from tests.fuzz import loops
from tests.fuzz.oracle import Broken

DICTIONARY = (
    *(
        b"PROXY ",
        b"TCP4 ",
        b"TCP6 ",
        b"UNKNOWN",
        b"\r\n",
        b"192.0.2.1 ",
        b"2001:db8::1 ",
        b"::ffff:1.2.3.4",
        b"%1",
    ),
    *(
        b"80 ",
        b"65535",
        b"65536",
        b"\r\n\r\n\0\r\nQUIT\n",
        b"\x21\x11\0\x0c",
        b"\x21\x21\0\x24",
        b"\x20\0\0\0",
    ),
    *(
        b"\x21\x31\0\xd8",
        b"\x21\x12\0\x0c",
        b"\x20\0\4\x01",
        b"\x02\0\1a",
        b"\0\0",
        b"\xff\xff",
        b" ",
        b"\0",
    ),
)

LONGEST = 800
"""Bytes of which each beginning is read as a header."""

V1 = re.compile(
    rb"PROXY (?:UNKNOWN(?: .*)?|TCP([46]) ([^ \r]+) ([^ \r]+) (\d{1,5}) (\d{1,5}))\r\n", re.DOTALL
)
"""A line of version 1: section 2.1 of the protocol's specification."""


def target(data: bytes) -> None:
    """Read a header from all beginnings of an input, and from a socket."""
    found, size = _first(data)
    _check(found, data[: size or 0])
    rest = loops.run(_from_socket(data, found, size))
    if size is not None and rest != data[size:]:
        raise Broken(f"a header of {size} bytes, and {len(data) - len(rest)} were read")


def _first(data: bytes) -> tuple[Source | None, int | None]:
    """Return the header, and its size; the size is None if there is none, and never will be."""
    for size in range(min(len(data), LONGEST) + 1):
        try:
            found = proxy_protocol.parse(data[:size])
        except ProxyProtocolError:
            _same(data, size, None)
            return None, None
        if found is not None:
            _same(data, size, found)
            return found, size
    return None, None


def _same(data: bytes, size: int, found: Source | None) -> None:
    """Fail unless what follows changes nothing."""
    for more in (size + 1, len(data)):
        try:
            again = proxy_protocol.parse(data[:more])
        except ProxyProtocolError:
            again = None
        if again != found:
            raise Broken(f"{found} in {size} bytes, {again} in {more}")


def _check(found: Source | None, header: bytes) -> None:
    if found is None:
        return
    for address in (found.client, found.server):
        if address is not None:
            _check_address(address)
    if header.startswith(b"P"):
        match = V1.fullmatch(header)
        if match is None or (match[1] is not None) != (found.client is not None):
            raise Broken(f"{header!r} is read as {found}")


def _check_address(address: Address) -> None:
    host, port = address
    if "%" in host or not host.isprintable() or not 0 <= port <= 65535:
        raise Broken(f"{address} is no address of TCP")
    ip_address(host)


async def _from_socket(data: bytes, found: Source | None, size: int | None) -> bytes:
    """Read the header from a connection; return what is left in it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        ours.setblocking(False)
        try:
            read = await proxy_protocol.read(ours, 30)
        except ProxyProtocolError:
            read = None
        await asyncio.sleep(0)
        if len(data) <= LONGEST and read != found:
            raise Broken(f"{found} in {size} bytes, from a socket {read}")
        return ours.recv(len(data) + 1)
