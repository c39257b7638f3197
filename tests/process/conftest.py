"""Real processes, sockets and signals, with a service manager of the tests' own."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from tests.support.gate import Client, Gate, install
from tests.support.manager import CHECKOUT, Manager


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """Give a manager whose program starts in an empty directory."""
    monkeypatch.chdir(tmp_path)
    manager = Manager(tmp_path / "stderr.log")
    yield manager
    manager.close()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Give the gate at which requests of the gate app wait."""
    gate = Gate(tmp_path)
    yield gate
    gate.close()


class Service:
    """The gate app, served on one listener."""

    def __init__(self, manager: Manager, listener: Listener, gate: Gate, directory: Path) -> None:
        self.manager = manager
        self.gate = gate
        self.directory = directory
        self.listener = listener
        self._clients: list[Client] = []

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
        self._clients.append(client)
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
        for client in self._clients:
            client.close()


@pytest.fixture
def service(manager: Manager, listener: Listener, gate: Gate, tmp_path: Path) -> Iterator[Service]:
    """Give the gate app as a service, not yet started."""
    service = Service(manager, listener, gate, tmp_path)
    yield service
    service.close()


@pytest.fixture
def bounded(service: Service) -> Service:
    """Give the app for clients without bounds as a service, not yet started."""
    shutil.copy(CHECKOUT / "tests" / "apps" / "bounds_app.py", service.directory / "app.py")
    return service
