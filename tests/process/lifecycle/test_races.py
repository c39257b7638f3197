"""Races that need a moment of their own."""

from __future__ import annotations

import asyncio
import selectors
import signal
import socket
import struct
import time
from pathlib import Path
from typing import Any

import pytest
import uvloop

from sockact.config.settings import Settings
from sockact.engines.http.engine import HttpEngine
from sockact.sockets.acceptor import Acceptor
from sockact.sockets.fds import Listener
from tests.support.commands import ask_for_reload, wait_until_heard, wait_until_read
from tests.support.gate import Gate, install
from tests.support.http_client import Client
from tests.support.manager import LIMIT, Manager
from tests.support.processes import workers
from tests.support.service import LONG, Service, break_app


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


class Hanging(asyncio.Protocol):
    """Hangs when something arrives, as an app may, and lets a request arrive elsewhere meanwhile."""

    def __init__(self, client: socket.socket, seconds: float) -> None:
        self._client = client
        self._seconds = seconds

    def data_received(self, _: bytes) -> None:
        self._client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(self._seconds)


async def asked_while_the_loop_hangs(client: socket.socket, server: socket.socket, linger: float) -> None:
    """Serve a connection on which a request arrives in time, and is seen only when the time is over."""
    engine = HttpEngine(hello, "asgi", [], Settings(linger=linger, lifespan="off", handover=False))
    await engine.start()
    engine.receive(server)
    await asyncio.gather(*engine._arriving)
    ours, theirs = socket.socketpair()
    with ours:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_accepted_socket(lambda: Hanging(client, 2 * linger), theirs)
        engine.stop_accepting()
        ours.sendall(b"x")
        await engine.wait_drained()
        transport.close()


def test_a_request_that_has_arrived_is_answered_though_the_loop_has_not_seen_it_in_time() -> None:
    client, server = socket.socketpair()
    server.setblocking(False)
    with client, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asked_while_the_loop_hangs(client, server, linger=0.05))

        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")


def test_newcomers_wait_in_the_queue_of_a_socket_that_nobody_else_holds(
    manager: Manager, gate: Gate, tmp_path: Path
) -> None:
    install(tmp_path)
    where = ("--listen=unix:web.sock", f"--control={tmp_path}/control")
    manager.sockact("app:app", *where, *LONG, GATE=gate.path)
    manager.wait_ready()
    with Client("web.sock") as busy, Client("web.sock") as before:
        before.get()
        busy.ask("/hold")
        held = gate.wait()
        manager.signal(signal.SIGHUP)
        manager.wait_for("STATUS", "gen 1: reloading, draining", timeout=LIMIT)
        with Client("web.sock") as newcomer:
            newcomer.ask()
            held.release()

            assert busy.read().status == 200
            assert newcomer.read().status == 200


class Counting(selectors.EpollSelector):
    """Counts how often it had something to tell."""

    told = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(timeout)
        self.told += bool(events)
        return events


async def newcomers_after_the_stop(ours: socket.socket, address: Any, selector: Counting) -> int:
    """Stop accepting, close our descriptor, and return how often the loop hears of a newcomer."""
    acceptor = Acceptor(ours, arrived=lambda connection: connection.close())
    acceptor.stop()
    ours.close()
    before = selector.told
    with socket.create_connection(address):
        for _ in range(20):
            await asyncio.sleep(0)
    return selector.told - before


def test_a_closed_listener_that_lives_on_elsewhere_does_not_keep_the_loop_awake(listener: Listener) -> None:
    selector = Counting()
    assert listener.sock is not None
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        ours, address = listener.sock.dup(), listener.sock.getsockname()

        assert runner.run(newcomers_after_the_stop(ours, address, selector)) == 0


def test_requests_for_a_reload_during_one_are_one_reload_after_it(service: Service) -> None:
    pid = service.start("--workers=1", "--probation=0.1s")
    break_app(service, "os.environ['GATE_STARTUP'] = '1'")
    first = ask_for_reload(service)
    callers = [first]
    try:
        trial = service.gate.wait()
        callers += [ask_for_reload(service) for _ in range(3)]
        for caller in callers:
            wait_until_heard(caller)
        wait_until_read(service)
        assert len(workers(pid)) == 2

        trial.release()
        service.gate.wait().release()

        assert [caller.wait(LIMIT) for caller in callers] == [0] * 4
    finally:
        for caller in callers:
            caller.kill()
            caller.communicate()
    assert service.manager.said("STATUS")[-1].startswith("gen 3: ")
    assert service.manager.said("RELOADING") == ["1", "1"]


IMPORTED_AT_THE_GATE = """
import os, socket
with socket.socket(socket.AF_UNIX) as gate:
    gate.connect(os.environ["GATE"])
    gate.sendall(b"import\\n")
    gate.recv(1)
"""


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
def test_a_signal_that_comes_while_the_app_is_imported_is_remembered(
    service: Service, number: signal.Signals
) -> None:
    install(service.directory)
    break_app(service, IMPORTED_AT_THE_GATE)
    environ = {"RUNTIME_DIRECTORY": str(service.directory), "GATE": service.gate.path}
    service.manager.sockact("app:app", listeners=[service.listener], **environ)
    importing = service.gate.wait()
    service.manager.signal(number)
    importing.release()
    service.manager.wait_ready()

    if number is signal.SIGHUP:
        service.manager.wait_for("RELOADING", "1")
        service.gate.wait().release()  # the trial
        service.gate.wait().release()  # the new code
        service.manager.wait_ready()
    assert service.client().get().status == 200


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a WebSocket frame of a client, with a mask of zeros. Source: RFC 6455, section 5.2."""
    return struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, len(payload)) + bytes(4) + payload


def test_what_the_client_sends_while_it_is_told_the_end_does_not_reset_the_connection(
    service: Service,
) -> None:
    """On Linux a reset leaves what has arrived before it; elsewhere, and on a lossy way, it does not."""
    service.start(*LONG)
    client = service.client()
    client.send("GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
    client.send("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
    assert client.read().status == 101
    client.send(frame(1, b"hold"))
    held = service.gate.wait()
    client.send(frame(1, b"x" * 1000) * 200)

    service.manager.signal(signal.SIGTERM)

    assert client.read_bytes(4) == b"\x88\x02\x03\xf4"  # a close frame with 1012
    client.send(frame(8, b"\x03\xf4"))
    held.release()
    assert client.at_eof()
    assert service.manager.wait_exit() == 0
