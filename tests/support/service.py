"""The gate app as a service of the tests, and what is asked of it again and again."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from tests.support.gate import Gate, install
from tests.support.http_client import Client, get
from tests.support.manager import Manager, wait_until

QUICK = ("--workers=2", "--probation=0.1s")

HANG = """
import time
served = app
async def app(scope, receive, send):
    if scope.get("path") == "/hang":
        time.sleep(3600)
    await served(scope, receive, send)
"""

LONG = ("--linger=60s", "--drain-timeout=60s")
"""Deadlines that no test reaches: what ends, ends by itself."""

MODES = pytest.mark.parametrize(
    "mode", [(), ("--workers=1", "--probation=0.1s")], ids=["alone", "supervised"]
)

SLOW_STARTUP = """
async def lifespan(scope, receive, send):
    await receive()
    await gate("startup")
    await send({"type": "lifespan.startup.complete"})
    await receive()
"""


class Service:
    """The gate app, served on one listener."""

    def __init__(self, manager: Manager, listener: Listener, gate: Gate, directory: Path) -> None:
        self.manager = manager
        self.gate = gate
        self.directory = directory
        self.listener = listener
        self.clients: list[Client] = []

    def start(self, *options: str, more: Sequence[Listener] = (), **environ: str) -> int:
        """Start it, on `more` sockets too, wait until it is ready, and return its PID."""
        if not (self.directory / "app.py").exists():
            install(self.directory)
        environ = {"RUNTIME_DIRECTORY": str(self.directory), "GATE": self.gate.path, **environ}
        pid = self.manager.sockact("app:app", *options, listeners=[self.listener, *more], **environ)
        self.manager.wait_ready()
        return pid

    def client(self) -> Client:
        """Open a connection."""
        assert self.listener.sock is not None
        client = Client(self.listener.sock.getsockname())
        self.clients.append(client)
        return client

    def accepted(self) -> Client:
        """Open a connection of which the service has taken notice, though nothing was sent on it."""
        client = self.client()
        with self.client() as later:
            later.get()  # the queue is served in order
        return client

    def drain_and_end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """See that a signal lets a request in flight end, and then the service."""
        client = self.client()
        client.ask("/hold")
        held = self.gate.wait()
        self.manager.signal(number)
        self.manager.wait_for("STOPPING", "1")
        held.release()

        assert client.read().status == 200
        client.close()
        assert self.manager.wait_exit() == 0

    def close(self) -> None:
        for client in self.clients:
            client.close()


def stop(service: Service) -> None:
    service.manager.signal(signal.SIGTERM)
    assert service.manager.wait_exit() == 0


def wait_answered_by(service: Service, wanted: Callable[[str], bool]) -> None:
    """Ask until an answer is `wanted`; no request may fail meanwhile."""
    wait_until(lambda: wanted(get(service.listener).text))


def begin_stop(service: Service) -> None:
    """Ask for a stop, and wait until the drain has begun, or everything has ended.

    What is answered between STOPPING=1 and the drain's begin does not announce the close yet.
    """
    manager = service.manager
    manager.signal(signal.SIGTERM)
    manager.wait_for("STOPPING", "1")
    wait_until(lambda: any("draining" in said for said in manager.said("STATUS")) or not manager.running)


def break_app(service: Service, line: str) -> None:
    app = service.directory / "app.py"
    app.write_text(app.read_text() + "\n" + line + "\n")


def wait_said(service: Service, text: str) -> None:
    wait_until(lambda: text in service.manager.stderr())
