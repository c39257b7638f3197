"""The end of a connection for good, for all that hold it.

close(2) ends a connection only when nobody else holds it, and a process that the app has forked may: its
client would wait, for an end or for an answer, as long as that process lives. shutdown(2) ends it in any
case. For the same reason it is not for a connection that moves to another process, nor for a listener.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Protocol


class Open(Protocol):
    """Something with a descriptor."""

    def fileno(self) -> int:
        """Return it; below 0 once it is closed."""


def hang_up(connection: Open) -> None:
    """Let the client see the end, after all that was sent; what it sends from now on is refused."""
    fd = connection.fileno()
    if fd < 0:
        return
    # What uvloop shows of a transport has no shutdown(), which asks for no family.
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)
    try:
        with contextlib.suppress(OSError):  # the client was faster
            sock.shutdown(socket.SHUT_RDWR)
    finally:
        sock.detach()


def disconnect(connection: Open) -> None:
    """Reset a TCP connection, whoever else holds it; what is not sent yet is dropped.

    Rejected: TCP_USER_TIMEOUT of a millisecond. Where it is over before the close, nobody is told.
    Source: connect(2), AF_UNSPEC.
    """
    import ctypes  # for the few whose clients do not read

    nobody = bytes(16)  # a struct sockaddr whose family is AF_UNSPEC
    ctypes.CDLL(None).connect(connection.fileno(), nobody, len(nobody))
