"""A service's end of systemd's protocol for pressure on memory.

    MEMORY_PRESSURE_WATCH=/sys/fs/cgroup/.../memory.pressure   the file to watch; /dev/null for none
    MEMORY_PRESSURE_WRITE=c29tZSAyMDAwMDAgMjAwMDAwMAA=         the text to write into it first, in base64

The file is the kernel's, of which each reader has a trigger of its own; or a FIFO or a Unix socket, for
tests. Without the first variable nobody has asked this service to watch: systemd before 254, or another
manager. Both stay in the environment, since the app may watch too.

Sources: https://systemd.io/PRESSURE; MemoryPressureWatch= in systemd.resource-control(5); psi.rst of the
kernel.
"""

from __future__ import annotations

import binascii
import contextlib
import logging
import os
import select
import socket
import stat
from collections.abc import Mapping
from typing import Self

WATCH, WRITE = "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE"
ENDED = select.EPOLLERR | select.EPOLLHUP

logger = logging.getLogger(__package__)


class PressureWatch:
    """An open watch, whose own descriptor is readable when there is pressure.

    That descriptor is an epoll(7) instance, since an event loop waits for input alone, and the kernel tells
    of pressure by EPOLLPRI. It is told once: the look by which the event loop wakes up takes the event back
    (psi_trigger_poll). So waking up is the news, and `go_on` only tells whether there can be more.

    Args:
        watched: the descriptor to watch; it is owned by this object.
        events: the event that stands for pressure.
    """

    def __init__(self, watched: int, events: int) -> None:
        self._watched = watched
        self._epoll = select.epoll()
        self._epoll.register(watched, events)

    @classmethod
    def opened(cls, environ: Mapping[str, str]) -> Self | None:
        """Return the watch that the manager has asked for; None if it has not, or if there can be none."""
        path = environ.get(WATCH, "")
        if path in ("", os.devnull):
            return None
        try:
            return cls(*_opened(path, binascii.a2b_base64(environ.get(WRITE, ""), strict_mode=True)))
        except (OSError, ValueError) as error:
            logger.info("pressure on memory is not watched: %s=%s: %s", WATCH, path, error)
            return None

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._epoll.fileno()

    def go_on(self) -> bool:
        """Read what has been sent, so that the next event is seen; return whether there may be one."""
        found = self._epoll.poll(0)
        if any(events & ENDED for _, events in found):
            return False
        # A file of the kernel's is never read: reading says nothing of events.
        return not any(events & select.EPOLLIN for _, events in found) or self._discard()

    def _discard(self) -> bool:
        """Read what is there, within limits; return False at the end."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(16):
                if not os.read(self._watched, 65536):
                    return False
        return True

    @property
    def closed(self) -> bool:
        """True when there is nothing to watch any more."""
        return self._epoll.closed

    def close(self) -> None:
        """Close both descriptors."""
        with contextlib.suppress(OSError):  # the app may have closed them
            self._epoll.close()
            os.close(self._watched)


def _opened(path: str, request: bytes) -> tuple[int, int]:
    """Open a watched file and write the request; return its descriptor, and the event of pressure."""
    mode = os.stat(path).st_mode
    if stat.S_ISSOCK(mode):
        return _connected(path, request), select.EPOLLIN
    # A FIFO also for writing: it has no end then when those who write to it end.
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if stat.S_ISFIFO(mode):
            return fd, select.EPOLLIN  # a request would be read here
        if request:
            os.write(fd, request)
    except BaseException:
        os.close(fd)
        raise
    return fd, select.EPOLLPRI


def _connected(path: str, request: bytes) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        sock.connect(path)
        sock.send(request)
        return sock.detach()
