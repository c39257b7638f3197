"""The supervisor's check of what a worker offers as connections: it takes these, and no other descriptors.

An attacker who has broken into an app controls its worker. What that offers goes on to workers which have
nothing to do with it, of newer code even: it is checked where it enters.
"""

from __future__ import annotations

import enum
import fcntl
import socket
import struct
import termios

_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_VSOCK)


class Given(enum.Enum):
    """The kind of a descriptor that a worker offers."""

    CONNECTION = "a client's connection, or an envelope with one"
    GONE = "a connection whose client has gone"
    OTHER = "something that no worker of ours offers"


def inspect(fd: int) -> Given:
    """Look at a descriptor, which stays open and as it is."""
    try:
        sock = socket.socket(fileno=fd)
    except OSError:
        return Given.OTHER
    try:
        return _inspect(sock)
    except OSError:
        return Given.OTHER
    finally:
        sock.detach()


def _inspect(sock: socket.socket) -> Given:
    if sock.family == socket.AF_UNIX and sock.type == socket.SOCK_SEQPACKET:
        # An envelope has one message in its queue, of one byte; the receiver checks what comes with it.
        (waiting,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.FIONREAD, b"\0" * 4))
        return Given.CONNECTION if waiting == 1 else Given.OTHER
    if sock.type != socket.SOCK_STREAM or sock.family not in _FAMILIES:
        return Given.OTHER
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return Given.OTHER
    try:
        sock.getpeername()
    except OSError:
        return Given.GONE
    return Given.CONNECTION
