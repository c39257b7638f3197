"""One service for many small cases, each with a connection of its own."""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.http_client import Client, get
from tests.support.manager import CHECKOUT, Manager, listening, open_sockets, wait_until


class Served:
    """A service that runs.

    Attributes:
        manager: it runs under this one.
        address: of its socket.
        pid: of its main process.
        folder: where it runs.
        sockets: how many it has without a client.
    """

    def __init__(self, manager: Manager, address: Any, pid: int, folder: Path) -> None:
        self.manager = manager
        self.address = address
        self.pid = pid
        self.folder = folder
        self.sockets = open_sockets(pid)
        self._read = 0

    def client(self) -> Client:
        """Open a connection."""
        return Client(self.address)

    def mark(self) -> None:
        """Let `log` begin here."""
        self._read = len(self.manager.stderr())

    def log(self) -> str:
        """Return what was logged since the last mark."""
        return self.manager.stderr()[self._read :]

    def wait_logged(self, text: str) -> None:
        """Wait until a text was logged since the last mark."""
        wait_until(lambda: text in self.log())

    def noted(self, key: str) -> Any:
        """Return what the app has noted under a key; None for nothing."""
        return get(self.address, f"/noted?{key}").json

    def let_go(self, key: str) -> None:
        """Let the request go on that waits in the app under a key."""
        assert get(self.address, f"/let-go?{key}").status == 200

    def wait_noted(self, key: str) -> Any:
        """Wait until the app notes something under a key."""
        return wait_until(lambda: self.noted(key))


@contextlib.contextmanager
def served(folder: Path, app: str, *options: str) -> Iterator[Served]:
    """Serve one of tests/apps in a folder."""
    shutil.copy(CHECKOUT / "tests" / "apps" / f"{app}.py", folder / "app.py")
    listener = listening()
    manager = Manager(folder / "stderr.log")
    try:
        with contextlib.chdir(folder):
            pid = manager.sockact("app:app", *options, listeners=[listener])
        manager.wait_ready()
        wait_until(
            lambda: " is ready\n" in manager.stderr()
        )  # its last line, which a test does not ask for
        assert listener.sock is not None
        yield Served(manager, listener.sock.getsockname(), pid, folder)
    finally:
        manager.close()
        listener.close()


def reset(client: Client) -> None:
    """Close a connection by a reset."""
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
