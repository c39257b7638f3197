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
