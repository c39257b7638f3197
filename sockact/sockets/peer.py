"""Who is at the other end of a Unix connection, as the kernel says."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

_UCRED = struct.Struct("iII")

_NO_USER = 0xFFFFFFFF


class Peer(NamedTuple):
    """The process that has opened the connection, and whose it was then. Source: SO_PEERCRED in unix(7).

    `pid` is 0 of a process that this one's PID namespace does not know: a proxy outside our container.
    """

    pid: int
    uid: int
    gid: int


def peer_of(connection: socket.socket) -> Peer | None:
    """Return who has opened a connection; None if it is no Unix connection, or nobody knows."""
    if connection.family != socket.AF_UNIX:
        return None
    peer = Peer(*_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))
    return None if peer.uid == _NO_USER else peer
