"""Races that need a moment of their own."""

from __future__ import annotations

import asyncio
import selectors
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import uvloop

from sockact.engines.acceptor import Acceptor
from sockact.engines.http import HttpEngine
from sockact.fds import Listener
from sockact.settings import Settings
from tests.gate import Client, Gate, install
from tests.manager import LIMIT, Manager
from tests.process.test_drain import LONG


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def asked_while_the_loop_hangs(client: socket.socket, server: socket.socket, linger: float) -> None:
    """Serve a connection on which a request arrives in time, and is seen only when the time is over."""
    engine = HttpEngine(hello, "asgi", [], Settings(linger=linger, lifespan="off", handover=False))
    await engine.start()
    engine.receive(server)
    await asyncio.gather(*engine._arriving)
    engine.stop_accepting()
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    time.sleep(2 * linger)  # noqa: ASYNC251 - as an app does that hangs
    await engine.wait_drained()


@pytest.mark.F59
@pytest.mark.R3
def test_a_request_that_has_arrived_is_answered_though_the_loop_has_not_seen_it_in_time() -> None:
    client, server = socket.socketpair()
    server.setblocking(False)
    with client, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asked_while_the_loop_hangs(client, server, linger=0.05))

        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.R4
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


@pytest.mark.R8
def test_a_closed_listener_that_lives_on_elsewhere_does_not_keep_the_loop_awake(listener: Listener) -> None:
    selector = Counting()
    assert listener.sock is not None
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        ours, address = listener.sock.dup(), listener.sock.getsockname()

        assert runner.run(newcomers_after_the_stop(ours, address, selector)) == 0
