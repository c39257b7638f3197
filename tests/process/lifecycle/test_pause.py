"""`sockact pause` and `resume`: clients wait meanwhile, and nobody is refused or loses a connection."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import unix_connect

from sockact.protocols import control
from sockact.system.signals import FOLLOWED
from tests.support.certificates import Authority
from tests.support.commands import PATH, SOCKACT, ask, reload
from tests.support.gate import Gate, install
from tests.support.http_client import Client
from tests.support.manager import LIMIT, Manager, listening, wait_ended, wait_until
from tests.support.processes import wait_gone, workers
from tests.support.service import MODES, QUICK, Service, break_app, stop, wait_said
from tests.support.sockets import bound
from tests.support.tls import TlsClient

LOOK = 0.2
"""Seconds in which an answer would come: none may, and a look that is too short only sees less."""

LONG = "--for=10min"


def pause(service: Service, *words: str) -> tuple[int, str]:
    done = ask(service, *words, verb="pause")
    return done.returncode, done.stdout + done.stderr


def resume(service: Service) -> str:
    done = ask(service, verb="resume")
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def pausing(service: Service, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Ask for a pause that has to wait for something."""
    environ = {"PATH": os.environ["PATH"], "RUNTIME_DIRECTORY": str(service.directory), **PATH}
    command = [*SOCKACT, "pause", *words]
    with subprocess.Popen(
        command, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as caller:
        try:
            yield caller
        finally:
            caller.kill()


def waits(client: Client) -> bool:
    """Return whether nothing comes on a connection, its end included."""
    return not select.select([client.sock], [], [], LOOK)[0]


def test_a_look_sees_what_a_service_answers_that_is_not_paused(service: Service) -> None:
    service.start()
    client = service.client()
    client.ask()

    wait_until(lambda: not waits(client))


@MODES
def test_newcomers_and_requests_on_kept_connections_wait(service: Service, mode: tuple[str, ...]) -> None:
    service.start(*mode)
    kept, fresh = service.client(), service.accepted()
    kept.get()

    status, text = pause(service, LONG)
    assert (status, text) == (0, "paused for another 600 s: no request is in flight\n")
    newcomer = service.client()
    clients = [kept, fresh, newcomer]
    for client in clients:
        client.ask()

    assert all(waits(client) for client in clients)
    assert resume(service) == "resumed\n"
    for client in clients:
        answer = client.read()
        assert answer.status == 200
        assert not answer.closes
    assert resume(service) == "there is no pause\n"
    stop(service)


@MODES
def test_what_is_in_flight_is_waited_for(service: Service, mode: tuple[str, ...]) -> None:
    service.start(*mode)
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()

    with pausing(service, LONG) as caller:
        wait_said(service, "paused for 600 s")
        client.ask()  # it waits behind the one in flight
        held.release()
        assert caller.wait(LIMIT) == 0

    assert client.read().json["path"] == "/hold"
    assert waits(client)
    resume(service)
    assert client.read().json["path"] == "/"


@MODES
def test_a_pipelined_request_and_half_a_request_wait(service: Service, mode: tuple[str, ...]) -> None:
    service.start(*mode)
    pipelined, half = service.client(), service.client()
    request = "GET / HTTP/1.1\r\nHost: test\r\n\r\n"
    pipelined.send(f"GET /hold HTTP/1.1\r\nHost: test\r\n\r\n{request}")
    half.send("GET / HTTP/1.1\r\n")
    held = service.gate.wait()

    with pausing(service, LONG) as caller:
        wait_said(service, "paused for 600 s")
        half.send("Host: test\r\n\r\n")
        held.release()
        assert caller.wait(LIMIT) == 0

    assert pipelined.read().json["path"] == "/hold"
    assert waits(pipelined)
    assert waits(half)
    resume(service)
    assert pipelined.read().status == half.read().status == 200


@MODES
def test_a_pause_ends_by_itself(service: Service, mode: tuple[str, ...]) -> None:
    service.start(*mode)

    assert pause(service, "--for=2s")[0] == 0
    assert service.client().get().status == 200
    wait_said(service, "its time is over")


@MODES
def test_a_pause_that_ends_before_all_was_done_has_failed(service: Service, mode: tuple[str, ...]) -> None:
    service.start(*mode)
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()

    status, text = pause(service, "--for=0.3s")
    assert status == 1
    assert "the pause has ended before all was done: 1 request in flight: its time is over" in text
    held.release()
    assert client.read().status == 200


@MODES
def test_another_pause_moves_the_end(service: Service, mode: tuple[str, ...]) -> None:
    service.start(*mode)

    assert pause(service, "--for=10min")[0] == 0
    assert pause(service, "--for=0.3s")[0] == 0
    assert service.client().get().status == 200


@MODES
def test_the_status_says_that_it_is_paused(service: Service, mode: tuple[str, ...]) -> None:
    service.start(*mode)

    pause(service, LONG)
    service.manager.wait_for("STATUS", "gen 1: paused, ")
    assert "paused" in ask(service).stdout
    resume(service)
    wait_until(lambda: "paused" not in ask(service).stdout)


@MODES
def test_a_reload_is_refused_and_the_pause_goes_on(service: Service, mode: tuple[str, ...]) -> None:
    service.start(*mode)
    pause(service, LONG)
    install(service.directory, "2")

    status, text = reload(service)
    assert status == 1
    assert "the service is paused for another " in text
    client = service.client()
    client.ask()
    assert waits(client)
    resume(service)
    assert client.read().json["version"] == "1"
    assert reload(service)[0] == 0


@MODES
def test_a_pause_in_a_start_or_a_stop_is_refused(service: Service, mode: tuple[str, ...]) -> None:
    service.start(*mode, "--drain-timeout=60s")
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()
    service.manager.signal(signal.SIGTERM)
    service.manager.wait_for("STOPPING", "1")

    assert pause(service) == (1, "not paused: the service is deactivating\n")
    held.release()
    assert client.read().status == 200
    assert service.manager.wait_exit() == 0


@MODES
def test_a_stop_ends_a_pause_and_answers_what_has_come(service: Service, mode: tuple[str, ...]) -> None:
    service.start(*mode)
    kept = service.client()
    kept.get()
    pause(service, LONG)
    kept.ask()
    wait_until(lambda: waits(kept))

    service.manager.signal(signal.SIGTERM)
    assert kept.read().status == 200
    assert service.manager.wait_exit() == 0


@pytest.mark.parametrize("workers_", ["0", "2"])
def test_what_waits_in_a_pause_is_answered_by_the_code_after_a_restart(
    service: Service, workers_: str
) -> None:
    options = (f"--workers={workers_}", "--probation=0.1s")
    store = {"FDSTORE": "100", "PATH": ""}
    service.start(*options, **store)
    kept = service.client()
    assert kept.get().json["version"] == "1"
    pause(service, LONG)
    kept.ask()
    newcomer = service.client()
    newcomer.ask()

    install(service.directory, "2")
    service.manager.signal(FOLLOWED)
    service.manager.signal(signal.SIGTERM)
    service.manager.wait_exit()
    service.start(*options, **store)

    assert [client.read().json["version"] for client in (newcomer, kept)] == ["2", "2"]


def test_a_worker_that_ends_in_a_pause_is_replaced_after_it(service: Service) -> None:
    pid = service.start(*QUICK)
    pause(service, LONG)
    for worker in workers(pid):
        os.kill(worker, signal.SIGKILL)
        wait_gone(worker)

    client = service.client()
    client.ask()
    assert waits(client)
    resume(service)
    assert client.read().status == 200
    wait_until(lambda: len(workers(pid)) == 2)


def test_the_death_of_a_supervisor_ends_its_pause(service: Service) -> None:
    pid = service.start("--workers=1", "--probation=0.1s")
    (worker,) = workers(pid)
    pause(service, LONG)

    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):  # it has gone already
        wait_ended(worker)


def test_a_worker_that_starts_when_the_pause_begins_is_waited_for(service: Service) -> None:
    pid = service.start(*QUICK, GATE_STARTUP="")
    (service.directory / "app.py").write_text(
        (service.directory / "app.py").read_text()
        + "\nserved = lifespan\nasync def lifespan(scope, receive, send):\n"
        "    await gate('startup')\n    await served(scope, receive, send)\n"
    )
    os.kill(workers(pid)[0], signal.SIGKILL)
    starting = service.gate.wait()

    with pausing(service, LONG) as caller:
        wait_said(service, "paused for 600 s")
        starting.release()
        assert caller.wait(LIMIT) == 0
    client = service.client()
    client.ask()
    assert waits(client)
    resume(service)
    assert client.read().status == 200


def test_a_websocket_goes_on_and_is_not_waited_for(manager: Manager, gate: Gate, tmp_path: Path) -> None:
    path = str(tmp_path / "web.sock")
    listener = bound(socket.AF_UNIX, socket.SOCK_STREAM, path, listen=True)
    service = Service(manager, listener, gate, tmp_path)
    service.start()
    assert listener.sock is not None
    with listener.sock, unix_connect(path, "ws://test/ws") as websocket:
        websocket.send("before")
        assert websocket.recv(LIMIT) == "before"
        assert pause(service, LONG)[0] == 0
        websocket.send("meanwhile")
        assert websocket.recv(LIMIT) == "meanwhile"
        resume(service)


def test_a_stream_of_events_goes_on_and_is_not_waited_for(service: Service) -> None:
    install(service.directory)
    break_app(
        service,
        """
served = http
async def http(scope, receive, send):
    if scope["path"] != "/events":
        return await served(scope, receive, send)
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"Content-Type", b"text/event-stream")]})
    await send({"type": "http.response.body", "body": b"data: 1\\n\\n", "more_body": True})
    await gate("/events")
    await send({"type": "http.response.body", "body": b"data: 2\\n\\n"})
""",
    )
    service.start()
    client = service.client()
    client.ask("/events")
    assert client.read_head().status == 200
    assert client.read_chunk() == b"data: 1\n\n"
    held = service.gate.wait()

    assert pause(service, LONG)[0] == 0
    held.release()
    assert client.read_chunk() == b"data: 2\n\n"
    resume(service)


def test_requests_over_tls_wait_too(service: Service) -> None:
    authority = Authority(service.directory)
    pair = authority.issue("localhost")
    service.start(f"--tls-certificate={pair.certificate}", f"--tls-key={pair.key}")
    assert service.listener.sock is not None
    with TlsClient(service.listener.sock.getsockname(), authority.client()) as client:
        client.get()
        pause(service, LONG)
        client.ask()
        assert waits(client)
        resume(service)
        assert client.read().status == 200


def test_datagrams_wait_in_the_socket(manager: Manager, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("async def echo(data, address, reply):\n    reply(data)\n")
    port = bound(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
    manager.sockact("app:echo", listeners=[port], RUNTIME_DIRECTORY=str(tmp_path))
    manager.wait_ready()
    where = str(tmp_path / "sockact.sock")
    assert port.sock is not None
    with port.sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(LIMIT)
        client.connect(port.sock.getsockname())
        assert control.request("pause", where, seconds=600)["ok"]
        client.send(b"1")
        assert not select.select([client], [], [], LOOK)[0]
        assert control.request("resume", where)["ok"]
        assert client.recv(10) == b"1"


def test_a_client_that_goes_in_a_pause_leaves_nothing(service: Service) -> None:
    service.start()
    client = service.client()
    client.get()
    pause(service, LONG)
    client.ask()
    client.close()

    resume(service)
    wait_until(lambda: "0 connections" in ask(service).stdout or service.client().get().status == 200)
    stop(service)


def test_a_pause_that_was_asked_for_wrongly_is_refused(service: Service) -> None:
    service.start()
    for wrong in ("nonsense", "0s", "2h"):
        status, text = pause(service, f"--for={wrong}")
        assert status == 64
        assert f"--for={wrong}: expected " in text
    where = str(service.directory / "sockact.sock")
    for seconds in (None, 0, -1, 1e9, "30", True, [1]):
        answer = control.request("pause", where, seconds=seconds)
        assert not answer["ok"]
        assert answer["text"] == f"seconds={seconds!r}: expected a number up to 3600 and above 0"
    assert service.client().get().status == 200


def test_the_workers_of_another_program_cannot_be_paused(manager: Manager, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, socket, signal\n"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "s.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'].replace('@', chr(0), 1))\n"
        "signal.sigwait([signal.SIGTERM])\n"
    )
    command = [*SOCKACT, "run", "--probation=0.1s", "--workers=1", "--", sys.executable, str(program)]
    listener = listening()
    assert listener.sock is not None
    with listener.sock:
        manager.start(command, [listener], RUNTIME_DIRECTORY=str(tmp_path), **PATH)
        manager.wait_ready()

        answer = control.request("pause", str(tmp_path / "sockact.sock"), seconds=30)
    assert not answer["ok"]
    assert "takes no such order" in answer["text"]
