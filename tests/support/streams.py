"""Handlers of raw connections: a client that sends lines, a start and a reload."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from sockact.sockets.fds import Listener
from tests.support.manager import LIMIT, Manager


class LineClient:
    """A connection that sends lines and reads lines."""

    def __init__(self, address: object) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self._sock = socket.socket(family, socket.SOCK_STREAM)
        self._sock.settimeout(LIMIT)
        self._sock.connect(address)  # type: ignore[arg-type]
        self._lines = self._sock.makefile("rb")

    def send(self, data: str) -> None:
        self._sock.sendall(data.encode())

    def read(self) -> str:
        """Return the next line without its end; '' at the end of the connection."""
        return self._lines.readline().decode().rstrip("\n")

    def ask(self, line: str) -> str:
        self.send(line + "\n")
        return self.read()

    def close(self) -> None:
        self._lines.close()
        self._sock.close()


def start(manager: Manager, listener: Listener, source: str, app: str, *options: str) -> int:
    Path("app.py").write_text(source)
    pid = manager.sockact(f"app:{app}", *options, listeners=[listener])
    manager.wait_ready()
    return pid


def reload(manager: Manager) -> None:
    """Reload, and wait until the new code serves."""
    manager.signal(signal.SIGHUP)
    manager.wait_for("RELOADING", "1")
    manager.wait_ready()
