"""The envelope of a moved connection: opened, or refused; nothing of it stays open.

An input has a line with a letter for each descriptor, `=` for the memory with the content and `^` for the
envelope's own other end; the rest is the content.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any

from sockact.engines.group import Engines, Served
from sockact.handover.admission import inspect
from sockact.handover.envelope import (
    CONTENT_LIMIT,
    STATE_LIMIT,
    WEBSOCKET_LIMIT,
    Carried,
    CarriedState,
    CarriedWebSocket,
    seal,
    unseal,
)
from tests.fuzz.descriptors import LETTERS, Descriptors
from tests.fuzz.oracle import Broken
from tests.fuzz.pieces import Values

DICTIONARY = (
    *(
        b"u=^\n",
        b"c=^\n",
        b"=",
        b"^",
        b"~",
        b"*",
        b"\1\1\0\0\0\3abc",
        b"\1\0\0\0\0\0",
        b"\1\1\0\1\0\0",
        b"\1\1\xff\xff\xff\xff",
    ),
    *(b"\2\1\0\0", b"\3", b"\0", b"\n", *(letter.encode() for letter in LETTERS)),
)

SIZES = {"~": 1 << 40, "*": 2 * STATE_LIMIT}
"""The letters of memory with the content of which most was never written, and its sizes."""


def target(data: bytes) -> None:
    """Open an envelope, twice: as it is opened, and as an engine gets it."""
    values = Values(data)
    letters, content = values.line().decode("latin-1")[:8], values.rest
    for opened in (_unsealed, _received):
        with Descriptors() as made:
            outside = _filled(made, letters, content)
            inspect(outside.fileno())
            opened(outside)


def _filled(made: Descriptors, letters: str, content: bytes) -> socket.socket:
    inside, outside = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with inside:
        passed = []
        for letter in letters:
            if letter in LETTERS:
                passed += made.keep(letter)
            elif letter == "^":
                passed.append(inside.fileno())
            else:
                memory = os.memfd_create("fuzz", os.MFD_CLOEXEC)
                made.callback(os.close, memory)
                os.write(memory, content)
                if letter in SIZES:
                    os.ftruncate(memory, SIZES[letter])
                passed.append(memory)
        socket.send_fds(inside, [b"\0"], passed)
    return outside


def _unsealed(envelope: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection, carried = unseal(envelope)
        with connection:
            _check(carried)
            with seal(connection.fileno(), carried) as again:
                copy, same = unseal(again.dup())
            copy.close()
            if same != carried and not (isinstance(carried, CarriedState) and carried.state is None):
                raise Broken(f"{carried} becomes {same}")


def _check(carried: Carried) -> None:
    if isinstance(carried, CarriedWebSocket):
        if len(carried.content) > WEBSOCKET_LIMIT:
            raise Broken(f"a WebSocket of {len(carried.content)} bytes")
    elif len(carried.state or b"") > STATE_LIMIT or len(carried.unread) > CONTENT_LIMIT:
        raise Broken(f"a state of {len(carried.state or b'')} bytes, unread {len(carried.unread)}")


class Home:
    """An engine that gets connections."""

    def __init__(self) -> None:
        self.got: list[socket.socket] = []

    def receive(self, connection: socket.socket, carried: Carried | None = None) -> None:  # noqa: ARG002
        """Take a connection."""
        self.got.append(connection)
        if connection.type != socket.SOCK_STREAM or connection.gettimeout() != 0:
            raise Broken(f"an engine gets {connection}")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *_: None


def _received(envelope: socket.socket) -> None:
    home = Home()
    try:
        Engines([Served(home, [], home)]).receive(envelope)  # type: ignore[arg-type]  # stands for one
    finally:
        for connection in home.got:
            connection.close()
