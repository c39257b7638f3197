"""The process at the other end of a Unix socket, as the kernel tells."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

_UCRED = struct.Struct("iII")

_NO_USER = 0xFFFFFFFF


class Peer(NamedTuple):
    """The process at the other end, and its user and group at that time. Source: SO_PEERCRED in unix(7).

    That is the process which called connect(2); seen from there, the one which called listen(2). `pid` is 0
    for a process that this one's PID namespace does not know, such as a proxy outside our container.
    """

    pid: int
    uid: int
    gid: int


def peer_of(connection: socket.socket) -> Peer | None:
    """Return the peer of a connection; None if it is no Unix connection, or the kernel does not know."""
    if connection.family != socket.AF_UNIX:
        return None
    peer = Peer(*_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))
    return None if peer.uid == _NO_USER else peer
