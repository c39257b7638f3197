"""Ends a connection for every process that holds it.

close(2) ends a connection only when no other process holds it. A process that the app has forked may: the
client would wait for an answer or the end as long as that process lives. shutdown(2) ends the connection in
any case. So it must not be used for a connection that moves to another process, nor for a listener.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Protocol


class Open(Protocol):
    """An object with a descriptor."""

    def fileno(self) -> int:
        """Return the descriptor; negative once it is closed."""


def hang_up(connection: Open) -> None:
    """Shut a connection down: the client gets the data sent so far and the end; its data is refused."""
    fd = connection.fileno()
    if fd < 0:
        return
    # uvloop's socket of a transport has no shutdown(); that of any family works on the descriptor.
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)
    try:
        with contextlib.suppress(OSError):  # the client has closed already
            sock.shutdown(socket.SHUT_RDWR)
    finally:
        sock.detach()


def disconnect(connection: Open) -> None:
    """Reset a TCP connection, also for other processes that hold it; unsent data is dropped.

    Rejected: TCP_USER_TIMEOUT of a millisecond. If it expires before the close, the client gets no reset.
    Source: connect(2), AF_UNSPEC.
    """
    import ctypes  # needed for few connections: those whose clients do not read

    unspecified = bytes(16)  # a struct sockaddr whose family is AF_UNSPEC
    ctypes.CDLL(None).connect(connection.fileno(), unspecified, len(unspecified))
