"""Apps of `apps/`, served for a test or for a whole module."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

from sockact.sockets.fds import Listener
from tests.support.http_client import Where
from tests.support.manager import CHECKOUT, Manager, listening
from tests.support.processes import wait_gone, workers
from tests.support.sockets import bound

SUPERVISED = ("--workers=1", "--probation=0.1s")


def start(manager: Manager, listener: Listener, app: str, *options: str) -> None:
    """Serve the app in a module of `apps/`."""
    name = f"{__package__}.apps.{app}_app:app"
    manager.sockact(name, f"--chdir={CHECKOUT}", *options, listeners=[listener])
    manager.wait_ready()


def reload(manager: Manager) -> None:
    """Let new code take over in a supervised service, and wait until the old code has gone."""
    (old,) = workers(manager.pid)
    manager.signal(signal.SIGHUP)
    manager.wait_for("RELOADING", "1")
    manager.wait_ready()
    wait_gone(old)


@contextlib.contextmanager
def serving(listener: Listener, log: Path, app: str, *options: str) -> Iterator[Manager]:
    """Serve the app in a module of `apps/` until the end of the block, and close the listener."""
    manager = Manager(log)
    try:
        start(manager, listener, app, "--control=none", *options)
        yield manager
    finally:
        manager.close()
        listener.close()


def listening_on(kind: str, folder: Path) -> Listener:
    """Return a socket of a kind: `TCP` or `Unix socket`."""
    if kind == "TCP":
        return listening()
    return bound(socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "web.sock"), listen=True)


def where(listener: Listener) -> Where:
    """Return the address of a socket, for a client."""
    return listener if ":" in listener.address else listener.address
