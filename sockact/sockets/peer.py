"""The other end of a connection: its address, or on a Unix socket its process, by the kernel."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

_UCRED = struct.Struct("iII")

_NO_USER = 0xFFFFFFFF


class Peer(NamedTuple):
    """The process that opened a connection, and its user then. Source: SO_PEERCRED in unix(7).

    `pid` is 0 for a process outside our PID namespace, such as a proxy outside our container.
    """

    pid: int
    uid: int
    gid: int


def unmapped(host: str) -> str:
    """Return an address of IPv4 as one, also where IPv6 carries it: ::ffff:192.0.2.1 is 192.0.2.1."""
    return host.removeprefix("::ffff:") if "." in host else host


def peer_of(connection: socket.socket) -> Peer | None:
    """Return the process that opened a connection; None if it is unknown or no Unix connection."""
    if connection.family != socket.AF_UNIX:
        return None
    peer = Peer(*_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))
    return None if peer.uid == _NO_USER else peer
