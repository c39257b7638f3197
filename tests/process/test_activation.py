"""Sockets that sockact binds itself: where it may, where it must not, and how it gives them up."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sockact import control
from tests.gate import Client, Gate, install
from tests.manager import Manager, wait_until

LONG = ("--linger=60s", "--drain-timeout=60s", "--probation=0.1s")
ALL = pytest.mark.parametrize("workers", [0, 1, 2])


class Own:
    """The gate app on a socket of its own, and its clients."""

    def __init__(self, manager: Manager, gate: Gate, stack: contextlib.ExitStack) -> None:
        self.manager = manager
        self.gate = gate
        self._stack = stack
        self.address: str | tuple[str, int] = ""

    def start(self, workers: int, *options: str, listen: str = "127.0.0.1:0") -> None:
        if not Path("app.py").exists():
            install(Path())
        environ = {"SOCKACT_WORKERS": f"{workers}", "RUNTIME_DIRECTORY": str(Path().absolute())}
        self.manager.sockact(
            "app:app", f"--listen={listen}", *LONG, *options, GATE=self.gate.path, **environ
        )
        self.manager.wait_ready()
        found = re.search(r"serves listen=(\S+)", self.manager.stderr())
        assert found
        host, _, port = found[1].rpartition(":")
        self.address = (host, int(port)) if host else found[1]

    def client(self) -> Client:
        return self._stack.enter_context(Client(self.address))

    def refuses(self) -> bool:
        """Tell whether newcomers are refused; one that is not must not be left in a queue."""
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        with socket.socket(family) as newcomer:
            return newcomer.connect_ex(self.address) == errno.ECONNREFUSED

    def hold(self) -> Client:
        client = self.client()
        client.ask("/hold")
        self.held = self.gate.wait()
        return client

    def stop(self) -> None:
        self.manager.signal(signal.SIGTERM)
        self.manager.wait_for("STOPPING", "1")

    def assert_ends_well(self, held: Client) -> None:
        """Let the request that is held be answered, and the service end."""
        self.held.release()
        assert held.read().status == 200
        assert self.manager.wait_exit() == 0, self.manager.report()


@pytest.fixture
def own(manager: Manager, gate: Gate) -> Iterator[Own]:
    with contextlib.ExitStack() as stack:
        yield Own(manager, gate, stack)


@ALL
@pytest.mark.parametrize("listen", ["127.0.0.1:0", "unix:web.sock"])
def test_a_newcomer_is_refused_while_a_service_with_sockets_of_its_own_drains(
    own: Own, workers: int, listen: str
) -> None:
    own.start(workers, listen=listen)
    held = own.hold()

    own.stop()

    wait_until(own.refuses)
    own.assert_ends_well(held)


@ALL
def test_who_waits_in_the_queue_of_a_socket_of_its_own_is_served_before_a_stop_closes_it(
    own: Own, workers: int
) -> None:
    own.start(workers)
    held = own.hold()
    serving = accepting(own)
    for pid in serving:
        os.kill(pid, signal.SIGSTOP)
    waiting = [own.client() for _ in range(100)]  # more than are accepted at a time
    for client in waiting:
        client.ask_last()
    own.manager.signal(signal.SIGTERM)
    for pid in serving:
        os.kill(pid, signal.SIGCONT)

    assert {client.read().status for client in waiting} == {200}
    wait_until(own.refuses)
    own.assert_ends_well(held)


def accepting(own: Own) -> list[int]:
    """Return the processes that accept: the workers, or the one that serves alone."""
    children = Path(f"/proc/{own.manager.pid}/task/{own.manager.pid}/children").read_text().split()
    return [int(pid) for pid in children or [own.manager.pid]]


def test_who_waits_for_new_code_is_served_by_the_old_one_when_a_stop_overtakes_the_reload(own: Own) -> None:
    own.start(0)
    held = own.hold()
    own.manager.signal(signal.SIGHUP)
    own.manager.wait_for("STATUS", "gen 1: reloading, draining")
    newcomer = own.client()
    newcomer.ask_last()

    own.stop()

    assert newcomer.read().status == 200
    wait_until(own.refuses)
    own.assert_ends_well(held)


@ALL
def test_nobody_is_refused_while_a_reload_drains(own: Own, workers: int) -> None:
    own.start(workers)
    held = own.hold()
    own.manager.signal(signal.SIGHUP)
    if workers:
        own.manager.wait_ready()
    else:
        own.manager.wait_for("STATUS", "gen 1: reloading, draining")

    newcomer = own.client()
    newcomer.ask_last()
    own.held.release()

    assert newcomer.read().status == held.read().status == 200
    held.close()
    own.stop()
    assert own.manager.wait_exit() == 0


def test_a_generation_that_still_drains_holds_no_newcomer_when_the_service_stops(own: Own) -> None:
    own.start(1)
    held = own.hold()
    own.manager.signal(signal.SIGHUP)
    own.manager.wait_ready()

    own.stop()

    wait_until(own.refuses)
    own.assert_ends_well(held)


def test_the_delay_of_a_drain_goes_on_accepting_on_a_socket_of_its_own(own: Own) -> None:
    own.start(1, "--drain-delay=60s", "--ready-path=/ready")
    own.stop()

    def drains() -> bool:
        with own.client() as client:
            return client.get("/ready").status == 503

    wait_until(drains)
    with own.client() as client:
        assert client.get().status == 200
    own.manager.signal(signal.SIGUSR2)
    wait_until(own.refuses)
    assert own.manager.wait_exit() == 0


def test_the_status_can_still_be_asked_while_a_socket_of_its_own_is_closed(own: Own) -> None:
    own.start(0)
    held = own.hold()
    own.stop()
    wait_until(own.refuses)

    service = control.request("status", str(Path("sockact.sock").absolute()))["service"]

    assert (service["phase"], service["sockets"]) == ("deactivating", [])
    own.assert_ends_well(held)


def test_newcomers_are_refused_when_the_supervisor_of_a_socket_of_its_own_was_killed(own: Own) -> None:
    own.start(1)
    held = own.hold()

    own.manager.signal(signal.SIGKILL)
    own.manager.wait_exit()

    wait_until(own.refuses)
    own.held.release()
    assert held.read().status == 200


def test_handlers_of_streams_refuse_newcomers_in_a_drain_too(manager: Manager) -> None:
    Path("app.py").write_text(
        "async def app(reader, writer):\n    writer.write(await reader.readline()); await reader.read()\n"
    )
    manager.sockact("app:app", "--listen=127.0.0.1:0", *LONG)
    manager.wait_ready()
    found = re.search(r"serves listen=127.0.0.1:(\d+)", manager.stderr())
    assert found
    where = ("127.0.0.1", int(found[1]))
    with socket.create_connection(where) as client:
        client.sendall(b"a\n")
        assert client.recv(2) == b"a\n"
        manager.signal(signal.SIGTERM)

        def refused() -> bool:
            with socket.socket() as newcomer:
                return newcomer.connect_ex(where) == errno.ECONNREFUSED

        wait_until(refused)
    assert manager.wait_exit() == 0
