"""The envelope: a connection that moves to another process, together with the state that it carries.

    version 1    of a stream handler: the state in which it keeps how far it is, at most `STATE_LIMIT`;
                 bytes that were read from the connection already, but not by the handler
    version 2    of a WebSocket, for the HTTP engine; a process of older code refuses it

An envelope is one descriptor for the connection and for these, so that no part of it arrives alone: a Unix
socket in whose queue lie the connection and a memfd. It can be told from a client's connection, which is
a stream. Its other end lies in the queue as well, held open by that alone: if it were closed, systemd
would find that the envelope has hung up, and drop it from its store (FDPOLL= in sd_notify(3)).
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from dataclasses import dataclass
from typing import NamedTuple

from sockact.untrusted import ancillary

STATE_LIMIT = 64 * 1024
"""Bytes of state."""

CONTENT_LIMIT = 4 * 1024 * 1024
"""Bytes of state and of unread data; asyncio reads well below a megabyte ahead."""

WEBSOCKET_LIMIT = 32 * 1024 * 1024
"""Bytes of a WebSocket: two messages of the longest that is allowed by default."""

_HEAD = struct.Struct("!B?I")
_VERSION = 1
_WEBSOCKET = 2


class Moving(Exception):  # noqa: N818  # no error
    """Raised in a drain, in a read of a stream handler that takes a `state`: it should return a `Handover`.

    If it does not, the next process calls its handler as this one was called, if that has read nothing;
    else the connection is closed. A line or a number of bytes of which only a part has come is not lost:
    the next process reads all of it.

    In a WebSocket that is `movable` it is raised where a message is awaited; see docs/websockets.md.
    """


@dataclass(frozen=True, slots=True)
class Handover:
    """Returned by a stream handler that is not done with the connection.

    The handler is called again with the connection and `state=`: by the next process if this one drains,
    else here, where it is closed when nothing has come for `linger`. Best return it after each message: a
    drain then knows when the connection can move.

    Args:
        state: the progress of the conversation, at most 64 KiB.

    Raises:
        ValueError: it is longer.
    """

    state: bytes = b""

    def __post_init__(self) -> None:
        if len(self.state) > STATE_LIMIT:
            raise ValueError(f"a state of {len(self.state)} bytes: expected at most {STATE_LIMIT}")


class CarriedState(NamedTuple):
    """The state that a connection carries; `state` is None if no handler has returned one yet."""

    state: bytes | None = None
    unread: bytes = b""


class CarriedWebSocket(NamedTuple):
    """The state of a WebSocket, in bytes that the HTTP engine understands (`websocket_carried`)."""

    content: bytes


Carried = CarriedState | CarriedWebSocket
"""The state that a connection carries in an envelope."""


def seal(connection: int, carried: Carried) -> socket.socket:
    """Put copies into an envelope, which the caller closes.

    Raises:
        OSError: no descriptors or no memory are to be had.
    """
    inside, outside = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with inside:
        memory = os.memfd_create("sockact.state", os.MFD_CLOEXEC)
        try:
            with open(memory, "wb", closefd=False) as file:
                file.write(_content(carried))
            socket.send_fds(inside, [b"\0"], [connection, memory, inside.fileno()])
        except BaseException:
            outside.close()
            raise
        finally:
            os.close(memory)
    return outside


def _content(carried: Carried) -> bytes:
    if isinstance(carried, CarriedWebSocket):
        return bytes([_WEBSOCKET]) + carried.content
    state = carried.state or b""
    return _HEAD.pack(_VERSION, carried.state is not None, len(state)) + state + carried.unread


def is_sealed(sock: socket.socket) -> bool:
    """Return whether this is an envelope rather than a connection."""
    return sock.family == socket.AF_UNIX and sock.type == socket.SOCK_SEQPACKET


def unseal(envelope: socket.socket) -> tuple[socket.socket, Carried]:
    """Return the connection in an envelope, and the state that it carries; the envelope is closed.

    It never waits: an attacker who has broken into a worker may have put anything inside.

    Raises:
        OSError: it is empty, of an unknown version, or not made by `seal`; nothing stays open.
    """
    descriptors: list[int] = []
    try:
        descriptors = ancillary.receive(envelope, 1, socket.MSG_DONTWAIT).descriptors
        if len(descriptors) != 3:
            raise OSError(f"an envelope with {len(descriptors)} descriptors: expected 3")
        carried = _read(descriptors[1])
        # At once, as it is a small file in memory: a thread that comes late to it would leave the process
        # without descriptors for the envelopes behind this one, and their connections would be lost.
        os.close(descriptors.pop(1))
        connection = socket.socket(fileno=descriptors[0])
        del descriptors[0]
    finally:
        ancillary.close(descriptors)
        ancillary.close_socket(envelope)
    return connection, carried


def _read(memory: int) -> Carried:
    # Only a memfd, and the like, has seals: reading anything else might wait.
    fcntl.fcntl(memory, fcntl.F_GET_SEALS)
    version = os.pread(memory, 1, 0)
    most = WEBSOCKET_LIMIT if version == bytes([_WEBSOCKET]) else _HEAD.size + CONTENT_LIMIT
    size = os.fstat(memory).st_size
    if not _HEAD.size <= size <= most:
        raise OSError(f"an envelope with {size} bytes: expected {_HEAD.size} to {most}")
    content = os.pread(memory, size, 0)
    if len(content) < _HEAD.size:
        raise OSError("an envelope whose content has gone")
    if content[0] == _WEBSOCKET:
        return CarriedWebSocket(content[1:])
    return _read_state(content)


def _read_state(content: bytes) -> CarriedState:
    version, has_state, length = _HEAD.unpack_from(content)
    if version != _VERSION:
        raise OSError(f"an envelope of version {version}: expected {_VERSION} or {_WEBSOCKET}")
    if length > STATE_LIMIT:
        raise OSError(f"an envelope with {length} bytes of state: expected at most {STATE_LIMIT}")
    end = _HEAD.size + length
    if end > len(content):
        raise OSError(f"an envelope with {length} bytes of state: {len(content) - _HEAD.size} are there")
    return CarriedState(content[_HEAD.size : end] if has_state else None, content[end:])
