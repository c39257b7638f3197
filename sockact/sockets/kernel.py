"""Asks the kernel about a connection where asyncio's transport has no answer, and hangs up below it."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios

from sockact.system.hangup import hang_up


def unread(transport: asyncio.Transport) -> int:
    """Return the number of bytes that have arrived and that the loop has not read yet."""
    return _asked(transport, termios.FIONREAD)


def unacknowledged(transport: asyncio.Transport) -> int:
    """Return the number of bytes that were written and that the peer has not acknowledged.

    Source: tcp(7) and unix(7), SIOCOUTQ.
    """
    return _asked(transport, termios.TIOCOUTQ)


def hang_up_below(transport: asyncio.BaseTransport) -> None:
    """Hang up on a client; called when its connection is lost, before the transport closes it.

    Over TLS it is too late by then, and this does nothing; see `sockact.engines.http.tls_transport`.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None:
        hang_up(sock)


def _asked(transport: asyncio.Transport, request: int) -> int:
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return 0
    count: int = struct.unpack("i", fcntl.ioctl(sock.fileno(), request, b"\0" * 4))[0]
    return count
