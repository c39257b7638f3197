"""Who is at the other end of a Unix connection, as the kernel says."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

_UCRED = struct.Struct("3i")


class Peer(NamedTuple):
    """The process that has opened the connection, and whose it was then. Source: SO_PEERCRED in unix(7)."""

    pid: int
    uid: int
    gid: int


def peer_of(connection: socket.socket) -> Peer | None:
    """Return who has opened a connection; None if it is no Unix connection, or nobody knows."""
    if connection.family != socket.AF_UNIX:
        return None
    peer = Peer(*_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))
    return peer if peer.pid else None
