"""Connections that outlive the process which accepted them."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from sockact.probe.background import BackgroundProbe
from sockact.sockets.fds import Listener
from tests.support.commands import reload, reload_all
from tests.support.gate import install
from tests.support.http_client import Client
from tests.support.manager import CHECKOUT, Manager, open_descriptors, wait_until
from tests.support.processes import wait_gone, workers
from tests.support.service import Service

QUICK = ("--workers=2", "--probation=0.1s")


def test_a_connection_is_served_by_process_after_process(service: Service) -> None:
    pid = service.start(*QUICK)
    client = service.client()
    seen = {client.get().json["pid"]}
    for _ in range(3):
        reload_all(service, pid)
        answer = client.get()
        assert not answer.closes
        seen.add(answer.json["pid"])

    assert len(seen) == 4
    assert seen & set(workers(pid))


def test_a_connection_on_which_nothing_was_sent_yet_moves(service: Service) -> None:
    pid = service.start(*QUICK)
    client = service.accepted()

    reload_all(service, pid)

    assert client.get().json["pid"] in workers(pid)


def test_a_connection_moves_after_the_response_under_way(service: Service) -> None:
    pid = service.start(*QUICK)
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()
    old = workers(pid)
    assert reload(service)[0] == 0
    held.release()

    answer = client.read()

    assert not answer.closes
    assert client.get().json["pid"] not in old


def test_many_connections_move_and_are_spread(service: Service) -> None:
    pid = service.start(*QUICK)
    clients = [service.client() for _ in range(300)]
    for client in clients:
        client.get()

    reload_all(service, pid)

    served = [client.get().json["pid"] for client in clients]
    shares = [served.count(worker) for worker in workers(pid)]
    assert sum(shares) == 300
    assert min(shares) > 100
    assert open_descriptors(pid) < 50


@pytest.mark.slow
def test_no_client_that_keeps_its_connection_has_to_open_another_one(service: Service) -> None:
    pid = service.start("--workers=4", "--probation=0.1s")
    kinds = ("persistent:8@max", "persistent:40@4")
    with BackgroundProbe(f"http://{service.listener.address}", kinds) as clients:
        for _ in range(10):
            reload_all(service, pid)
        report = clients.report()

    assert report["lost"] == 0, report["failures"]
    assert report["total"]["connections"] == 48


def test_a_stop_closes_what_nobody_receives(service: Service) -> None:
    service.start(*QUICK, "--linger=0.2s")
    client = service.client()
    client.get()

    service.manager.signal(signal.SIGTERM)

    assert client.at_eof()
    assert service.manager.wait_exit() == 0


def test_a_program_that_calls_serve_gives_its_connections_on_too(
    manager: Manager, listener: Listener, tmp_path: Path
) -> None:
    install(tmp_path)
    (tmp_path / "main.py").write_text(
        "import sockact, app\nsockact.serve(app.app, workers=1, probation=0.1, control='none')\n"
    )
    path = {"PYTHONPATH": str(CHECKOUT), "SOCKACT_WORKERS": "1"}
    pid = manager.start([sys.executable, "main.py"], [listener], **path)
    manager.wait_ready()
    old = workers(pid)
    assert listener.sock is not None
    with Client(listener.sock.getsockname()) as client:
        client.get()
        manager.signal(signal.SIGHUP)
        manager.wait_for("RELOADING", "1")
        manager.wait_ready()
        wait_gone(old[0])

        assert client.get().json["pid"] in workers(pid)


def test_it_can_be_switched_off(service: Service) -> None:
    pid = service.start(*QUICK, "--no-handover", "--linger=0.2s")
    client = service.client()
    client.get()

    reload_all(service, pid)

    assert client.at_eof()


def test_the_clients_of_the_test_above_see_it_when_connections_do_not_move(service: Service) -> None:
    pid = service.start(*QUICK, "--no-handover", "--linger=0.2s")
    with BackgroundProbe(f"http://{service.listener.address}", ["persistent:8@max"]) as clients:
        reload_all(service, pid)
        report = clients.report()

    assert report["total"]["connections"] > 8


DIES_WHEN_IT_HAS_GIVEN = """
import asyncio, os, signal
from sockact import hooks

@hooks.on_drain
async def die():
    for _ in range(100):  # turns of the loop, far more than it takes to give all connections away
        await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_worker_has_given_before_it_is_killed_is_served(service: Service) -> None:
    install(service.directory)
    with (service.directory / "app.py").open("a") as app:
        app.write(DIES_WHEN_IT_HAS_GIVEN)
    pid = service.start("--workers=1", "--probation=0.1s")
    clients = [service.client() for _ in range(3)]
    (worker,) = {client.get().json["pid"] for client in clients}

    service.manager.signal(signal.SIGSTOP)  # the supervisor is late
    os.kill(worker, signal.SIGTERM)
    wait_until(lambda: " Z " in Path(f"/proc/{worker}/stat").read_text())
    for client in clients:
        client.ask()
    service.manager.signal(signal.SIGCONT)

    assert {client.read().json["pid"] for client in clients}.isdisjoint({worker, pid})


def test_a_worker_that_somebody_stops_gives_its_connections_to_its_successor(service: Service) -> None:
    pid = service.start("--workers=1", "--probation=0.1s")
    client = service.client()
    (stopped,) = {client.get().json["pid"]}

    os.kill(stopped, signal.SIGTERM)
    wait_gone(stopped)

    assert client.get().json["pid"] in workers(pid)


def test_half_a_request_is_finished_where_it_began(service: Service) -> None:
    pid = service.start(*QUICK, "--linger=30s")
    client = service.client()
    first = client.get().json["pid"]
    client.send("GET / HTT")
    old = workers(pid)
    service.client().get()  # what was sent before has been read
    assert reload(service)[0] == 0

    client.send("P/1.1\r\nHost: test\r\n\r\n")

    answer = client.read()
    assert answer.json["pid"] == first
    assert not answer.closes
    assert client.get().json["pid"] not in old


def test_requests_that_were_read_together_are_answered_before_the_connection_moves(
    service: Service,
) -> None:
    pid = service.start(*QUICK)
    client = service.client()
    client.send("GET /hold HTTP/1.1\r\nHost: test\r\n\r\n" + "GET / HTTP/1.1\r\nHost: test\r\n\r\n" * 2)
    held = service.gate.wait()
    old = workers(pid)
    assert reload(service)[0] == 0
    held.release()

    answers = [client.read() for _ in range(3)]

    assert {answer.json["pid"] for answer in answers[1:]} <= set(old) | set(workers(pid))
    assert not any(answer.closes for answer in answers)
    assert client.get().json["pid"] not in old


@pytest.mark.parametrize("request_line", ["GET / HTTP/1.0", "GET / HTTP/1.1\r\nConnection: close"])
def test_a_connection_that_is_to_be_closed_is_closed(service: Service, request_line: str) -> None:
    service.start(*QUICK)
    client = service.client()
    client.send(f"{request_line}\r\nHost: test\r\n\r\n")

    assert client.read().status == 200
    assert client.at_eof()


def test_a_moved_connection_is_closed_when_its_time_is_over(service: Service) -> None:
    pid = service.start(*QUICK, "--keep-alive=0.5s")
    client = service.accepted()

    reload_all(service, pid)

    assert client.at_eof()


def test_an_upgrade_of_which_half_was_read_does_not_move(service: Service) -> None:
    pid = service.start(*QUICK, "--linger=30s")
    client = service.client()
    client.send("GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
    service.client().get()  # what was sent before has been read
    old = workers(pid)
    assert reload(service)[0] == 0

    client.send("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")

    assert client.read().status == 101
    assert client.read_bytes(4) == b"\x88\x02\x03\xf4"  # a close frame with 1012
    client.close()
    for worker in old:
        wait_gone(worker)
