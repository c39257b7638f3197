"""Sockets that a manager would pass."""

from __future__ import annotations

import socket
from typing import Any

from sockact.sockets.fds import Listener


def bound(family: int, kind: int, address: Any, name: str = "web", *, listen: bool = False) -> Listener:
    sock = socket.socket(family, kind)
    sock.bind(address)
    if listen:
        sock.listen()
    return Listener.of(sock, name)
