"""The test's side of `tests/apps/gate_app.py`."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from tests.support.manager import LIMIT

APP = Path(__file__).parents[1] / "apps" / "gate_app.py"


class Gate:
    """A gate at which requests of the app wait until the test releases them."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "gate.sock")
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.bind(self.path)
        self._sock.listen()
        self._sock.settimeout(LIMIT)
        self._held: list[Held] = []

    def wait(self) -> Held:
        """Wait until a request asks at the gate."""
        connection, _ = self._sock.accept()
        connection.settimeout(LIMIT)
        self._held.append(Held(connection))
        return self._held[-1]

    def close(self) -> None:
        for held in self._held:
            held.close()
        self._sock.close()


class Held:
    """A request that waits."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        with connection.makefile() as file:
            self.where = file.readline().strip()

    def release(self) -> None:
        """Release it."""
        self._connection.sendall(b"!")
        self._connection.close()

    def close(self) -> None:
        self._connection.close()


def install(directory: Path, version: str = "1") -> None:
    """Put the app into `directory` as app.py, in a version of its own."""
    new = directory / "app.py.new"
    shutil.copy(APP, new)
    new.write_text(new.read_text().replace('VERSION = "1"', f'VERSION = "{version}"'))
    new.rename(directory / "app.py")
