"""Descriptors of all kinds, each by a letter, for targets to which others send some."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from sockact.handover.envelope import CarriedState, seal


class Descriptors(ExitStack):
    """Makes descriptors; the other ends of them stay open within it."""

    def make(self, letter: str) -> int:
        """Return a descriptor, which is the caller's."""
        return KINDS.get(letter, KINDS["f"])(self)

    def keep(self, letters: Iterable[str]) -> list[int]:
        """Return descriptors that are closed with this."""
        made = []
        for letter in letters:
            made.append(self.make(letter))
            self.callback(os.close, made[-1])
        return made

    def _pair(self, kind: socket.SocketKind, data: bytes = b"") -> int:
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        self.enter_context(theirs)
        if data:
            theirs.send(data)
        return ours.detach()


def _listening(family: socket.AddressFamily, address: object) -> int:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind(address)  # type: ignore[arg-type]
    sock.listen()
    return sock.detach()


def _connected(stack: Descriptors) -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        stack.enter_context(socket.create_connection(server.getsockname()))
        return server.accept()[0].detach()


def _datagram(family: socket.AddressFamily, address: object) -> int:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind(address)  # type: ignore[arg-type]
    return sock.detach()


def _envelope(stack: Descriptors) -> int:
    (connection,) = stack.keep("u")
    return seal(connection, CarriedState(b"state", b"unread")).detach()


def _pipe(stack: Descriptors) -> int:
    reading, writing = os.pipe()
    stack.callback(os.close, writing)
    return reading


def _memory(_: Descriptors) -> int:
    fd = os.memfd_create("fuzz", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, b"\1\1\0\0\0\3abc")
    return fd


KINDS: dict[str, Callable[[Descriptors], int]] = {
    "l": lambda _: _listening(socket.AF_INET, ("127.0.0.1", 0)),
    "L": lambda _: _listening(socket.AF_UNIX, ""),
    "c": _connected,
    "g": lambda _: socket.socket().detach(),
    "u": lambda stack: stack._pair(socket.SOCK_STREAM),
    "U": lambda stack: stack._pair(socket.SOCK_STREAM, b"GET / HTTP/1.1\r\n"),
    "d": lambda _: _datagram(socket.AF_UNIX, ""),
    "x": lambda _: _datagram(socket.AF_UNIX, b"\0fuzz\xff" + os.urandom(8)),
    "D": lambda _: _datagram(socket.AF_INET, ("127.0.0.1", 0)),
    "q": lambda stack: stack._pair(socket.SOCK_SEQPACKET),
    "Q": lambda stack: stack._pair(socket.SOCK_SEQPACKET, b"x"),
    "p": _pipe,
    "f": lambda _: os.open(os.devnull, os.O_RDWR),
    "m": _memory,
    "k": lambda _: os.pidfd_open(os.getpid()),
    "e": _envelope,
}
"""The kinds: listening, connected, datagram, sequential-packet sockets; a pipe, a device, memory, a
process, an envelope."""

LETTERS = "".join(KINDS)
