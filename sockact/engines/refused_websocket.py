"""A WebSocket that has moved to a process which cannot go on with it: closed with 1012, in good order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket

from sockact.system.hangup import hang_up
from sockact.untrusted import ancillary

CLOSE_FRAME = b"\x88\x02\x03\xf4"
"""A close frame with 1012, "Service Restart". Source: RFC 6455, section 5.2."""

AT_ONCE = 65536
"""Bytes that are read and dropped at a time."""

logger = logging.getLogger(__package__)


def refuse_websocket(connection: socket.socket, linger: float, reason: str) -> None:
    """Send a close frame, and close the connection when its client does, or `linger` seconds later.

    Args:
        connection: non-blocking; owned from here on.
        linger: seconds.
        reason: for the log.
    """
    logger.warning("a WebSocket that was handed over is closed with 1012: %s", reason)
    with contextlib.suppress(OSError):  # the client has gone, or reads nothing
        connection.send(CLOSE_FRAME)
        connection.shutdown(socket.SHUT_WR)
    # If it were closed at once, data that the client sends meanwhile would make the kernel reset it.
    loop = asyncio.get_running_loop()
    fd = connection.fileno()
    timer = loop.call_later(linger, _close, connection, fd)
    loop.add_reader(fd, _drop, connection, fd, timer)


def _drop(connection: socket.socket, fd: int, timer: asyncio.TimerHandle) -> None:
    """Read and drop; close the connection at its end."""
    try:
        data = ancillary.read(connection, AT_ONCE)
    except (BlockingIOError, InterruptedError):
        return
    except OSError:
        data = b""
    if not data:
        timer.cancel()
        _close(connection, fd)


def _close(connection: socket.socket, fd: int) -> None:
    asyncio.get_running_loop().remove_reader(fd)
    hang_up(connection)
    ancillary.close_socket(connection)
