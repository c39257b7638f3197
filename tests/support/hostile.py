"""Descriptors that somebody else may send, to hold up whoever closes them."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

LONG = 30
"""Seconds that a close would take in a test that has to fail; none of them takes a tenth of it."""

QUICK = LONG / 3


@contextlib.contextmanager
def slow_to_close() -> Iterator[socket.socket]:
    """Give a socket whose last close waits for its peer, which goes at the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        ours = socket.create_connection(server.getsockname())
        peer, _ = server.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LONG))
    ours.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            ours.send(bytes(65536))
    with peer:
        yield ours
    with contextlib.suppress(OSError):
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ours.close()
