"""A stop, from SIGTERM to the exit status: what was accepted is answered, and newcomers wait."""

from __future__ import annotations

import re
import signal
import socket
import struct
import sys
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import unix_connect

from sockact.sockets.fds import Listener
from tests.support.gate import install
from tests.support.http_client import Client
from tests.support.manager import CHECKOUT, Manager
from tests.support.service import LONG, Service, begin_stop


def test_a_stop_without_connections_ends_at_once(service: Service) -> None:
    service.start(*LONG)

    begin_stop(service)

    assert service.manager.wait_exit() == 0


def test_a_request_in_flight_is_answered_and_announces_the_close(service: Service) -> None:
    service.start(*LONG)
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()

    begin_stop(service)
    held.release()
    response = client.read()

    assert response.json["path"] == "/hold"
    assert response.closes
    assert client.at_eof()
    assert service.manager.wait_exit() == 0


def test_a_connection_accepted_without_a_request_may_bring_one(service: Service) -> None:
    service.start(*LONG)
    client = service.accepted()

    begin_stop(service)
    service.manager.wait_for("STATUS", "gen 1: deactivating, draining")
    response = client.get()

    assert response.status == 200
    assert response.closes
    assert service.manager.wait_exit() == 0


def test_half_a_request_may_be_finished(service: Service) -> None:
    service.start(*LONG)
    client = service.client()
    client.send("GET / HTTP/1.1\r\nHo")
    service.accepted().close()

    begin_stop(service)
    client.send("st: test\r\n\r\n")

    assert client.read().closes
    assert service.manager.wait_exit() == 0


def test_an_upload_may_trickle_in(service: Service) -> None:
    service.start(*LONG)
    client = service.client()
    client.send("POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\n12")
    service.accepted().close()

    begin_stop(service)
    client.send("34")
    client.send("56")
    response = client.read()

    assert response.json["length"] == 6
    assert response.closes
    assert service.manager.wait_exit() == 0


def test_an_idle_connection_may_bring_one_more_request(service: Service) -> None:
    service.start(*LONG)
    client = service.client()
    assert not client.get().closes

    begin_stop(service)

    assert client.get().closes
    assert client.at_eof()
    assert service.manager.wait_exit() == 0


def test_a_silent_connection_is_closed_after_the_linger_without_a_reset(service: Service) -> None:
    service.start("--linger=0.2s", "--drain-timeout=60s")
    fresh = service.accepted()
    idle = service.client()
    idle.get()

    begin_stop(service)

    assert fresh.at_eof()
    assert idle.at_eof()
    assert service.manager.wait_exit() == 0


def test_a_response_that_has_promised_to_stay_is_followed_by_one_more_request(service: Service) -> None:
    service.start(*LONG)
    client = service.client()
    client.ask("/stream")
    assert b"200" in client.read_line()
    assert "connection" not in client.read_headers()
    held = service.gate.wait()

    begin_stop(service)
    assert client.read_chunk() == b"begun;"
    held.release()
    assert client.read_chunk() == b"ended"
    assert client.read_chunk() == b""

    assert client.get().closes
    assert service.manager.wait_exit() == 0


def test_pipelined_requests_are_all_answered_and_the_last_announces_the_close(service: Service) -> None:
    service.start(*LONG)
    client = service.client()
    client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
    held = service.gate.wait()

    begin_stop(service)
    held.release()
    responses = [client.read(), client.read()]

    assert [response.json["path"] for response in responses] == ["/hold", "/1"]
    assert [response.closes for response in responses] == [False, True]
    assert service.manager.wait_exit() == 0


def test_requests_pipelined_into_the_drain_are_all_answered(service: Service) -> None:
    service.start(*LONG)
    client = service.client()
    client.get()

    begin_stop(service)
    client.send("".join(f"GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n" for number in range(3)))
    responses = [client.read() for _ in range(3)]

    assert [response.json["path"] for response in responses] == ["/0", "/1", "/2"]
    assert [response.closes for response in responses] == [False, False, True]
    assert service.manager.wait_exit() == 0


def test_newcomers_wait_in_the_queue_for_the_next_process(
    service: Service, tmp_path: Path, listener: Listener
) -> None:
    first = service.start(*LONG)
    busy = service.client()
    busy.ask("/hold")
    held = service.gate.wait()
    begin_stop(service)
    service.manager.wait_for("STATUS", "gen 1: deactivating, draining")
    newcomer = service.client()
    newcomer.ask()

    successor = Manager(tmp_path / "successor.log")
    try:
        second = successor.sockact("app:app", "--control=none", listeners=[listener])

        assert newcomer.read().json["pid"] == second
        held.release()
        assert busy.read().json["pid"] == first
        assert service.manager.wait_exit() == 0
    finally:
        successor.close()


def test_the_queue_stays_as_long_as_the_manager_made_it(service: Service, listener: Listener) -> None:
    service.start(*LONG)
    service.client().get()

    assert listener.sock is not None
    info = listener.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    limit = struct.unpack_from("I", info, 28)[0]  # tcpi_sacked: of a listener, its backlog
    somaxconn = int(Path("/proc/sys/net/core/somaxconn").read_text())

    assert limit == min(4096, somaxconn)


def websocket(service: Service):
    """Open a WebSocket over the service's listener."""
    client = service.client()
    return unix_connect(sock=client.sock, uri="ws://test/ws")


def test_a_websocket_is_closed_with_1012_in_good_order(service: Service) -> None:
    service.start(*LONG)
    with websocket(service) as connection:
        connection.send("hello")
        assert connection.recv() == "hello"

        begin_stop(service)
        with pytest.raises(ConnectionClosedError) as closed:
            connection.recv()

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    assert service.manager.wait_exit() == 0


def test_a_websocket_whose_client_keeps_sending_sees_the_close_frame(service: Service) -> None:
    service.start(*LONG)
    with websocket(service) as connection:
        connection.send("hold")
        held = service.gate.wait()
        for _ in range(100):
            connection.send("x" * 1000)

        begin_stop(service)
        with pytest.raises(ConnectionClosedError) as closed:
            connection.recv()
        held.release()

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    assert service.manager.wait_exit() == 0


def test_the_drain_timeout_aborts_what_is_left_and_says_so(service: Service) -> None:
    service.start("--linger=0.1s", "--drain-timeout=0.3s")
    client = service.client()
    client.ask("/hold")
    service.gate.wait()

    begin_stop(service)

    assert service.manager.wait_exit() == 0
    log = service.manager.stderr()
    assert "drain timeout after 0.3 s: aborting 1 connection and 1 request" in log
    assert log.count("aborted: 127.0.0.1:") == 1
    assert "GET /hold" in log
    assert "Traceback" not in log


def test_sigusr2_aborts_what_is_left_while_draining(service: Service) -> None:
    service.start("--drain-timeout=none")
    service.client().ask("/hold")
    service.gate.wait()
    begin_stop(service)

    service.manager.signal(signal.SIGUSR2)

    assert service.manager.wait_exit() == 0
    assert "aborted: " in service.manager.stderr()


@pytest.mark.parametrize("workers", ["0", "2"])
def test_sigquit_ends_by_force_but_in_good_order(service: Service, workers: str) -> None:
    service.start(*LONG, f"--workers={workers}")
    client = service.client()
    client.ask("/hold")
    service.gate.wait()

    service.manager.signal(signal.SIGQUIT)

    assert service.manager.wait_exit() == 0
    assert service.manager.said("STOPPING") == ["1"]
    assert re.search(r"aborted: .*GET /hold", service.manager.stderr())


def test_a_second_sigint_ends_at_once(service: Service) -> None:
    service.start(*LONG)
    service.client().ask("/hold")
    service.gate.wait()

    service.manager.signal(signal.SIGINT)
    service.manager.wait_for("STOPPING", "1")
    service.manager.signal(signal.SIGINT)

    assert service.manager.wait_exit() == 130


def test_a_repeated_sigterm_changes_nothing(service: Service) -> None:
    service.start(*LONG)
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()

    begin_stop(service)
    service.manager.signal(signal.SIGTERM)
    service.manager.signal(signal.SIGTERM)
    service.manager.wait_for("STATUS")
    held.release()

    assert client.read().status == 200
    assert service.manager.wait_exit() == 0


def test_the_app_shuts_down_after_its_last_request(service: Service) -> None:
    service.start(*LONG, GATE_SHUTDOWN="1")
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()
    begin_stop(service)
    held.release()
    client.read()

    shutdown = service.gate.wait()
    assert shutdown.where == "shutdown"
    shutdown.release()

    assert service.manager.wait_exit() == 0


def test_an_app_that_does_not_shut_down_in_time_does_not_hold_the_stop(service: Service) -> None:
    service.start("--shutdown-timeout=0.2s", GATE_SHUTDOWN="1")

    begin_stop(service)
    service.gate.wait()

    assert service.manager.wait_exit() == 0
    assert "the app's shutdown did not finish within 0.2 s" in service.manager.stderr()


def test_the_status_counts_what_a_drain_waits_for(service: Service) -> None:
    service.start(*LONG)
    client = service.client()
    client.ask("/hold")
    held = service.gate.wait()
    begin_stop(service)

    status = service.manager.wait_for(
        "STATUS", "gen 1: deactivating, draining, 1 request in flight, 1 connection"
    )
    extension = service.manager.wait_for("EXTEND_TIMEOUT_USEC")

    assert status.assignments["STATUS"].endswith("s left")
    assert int(extension.assignments["EXTEND_TIMEOUT_USEC"]) == 10_000_000
    held.release()
    client.read()


def test_a_drain_asks_for_no_more_time_than_its_timeout_allows(service: Service) -> None:
    service.start("--linger=0.1s", "--drain-timeout=1s", "--shutdown-timeout=0.2s")
    service.client().ask("/hold")
    service.gate.wait()
    heard = len(service.manager.heard)
    begin_stop(service)
    service.manager.wait_exit()

    extensions = [
        int(message.assignments["EXTEND_TIMEOUT_USEC"])
        for message in service.manager.heard[heard:]
        if "EXTEND_TIMEOUT_USEC" in message.assignments
    ]

    assert extensions
    # 1 s, 0.2 s each for the shutdown, the hooks on both sides of it and the process's end, and 5 s for
    # what a worker might leave behind.
    assert max(extensions) <= 6_800_000


WSGI_APP = """
import os, socket

def app(environ, start_response):
    with socket.socket(socket.AF_UNIX) as gate:
        gate.connect(os.environ["GATE"])
        gate.sendall(b"wsgi\\n")
        gate.recv(1)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def test_a_wsgi_request_in_flight_is_answered(service: Service) -> None:
    (service.directory / "app.py").write_text(WSGI_APP)
    service.start(*LONG)
    client = service.client()
    client.ask()
    held = service.gate.wait()

    begin_stop(service)
    held.release()

    assert client.read().body == b"ok"
    assert service.manager.wait_exit() == 0


def test_a_wsgi_thread_that_hangs_does_not_hold_the_end_beyond_the_drain_timeout(service: Service) -> None:
    (service.directory / "app.py").write_text(WSGI_APP)
    service.start("--linger=0.1s", "--drain-timeout=0.3s")
    service.client().ask()
    service.gate.wait()

    begin_stop(service)

    assert service.manager.wait_exit() == 0


def test_serve_returns_after_the_drain(service: Service, manager: Manager, listener: Listener) -> None:
    (service.directory / "main.py").write_text(
        "import sockact, sys\n"
        "async def app(scope, receive, send): pass\n"
        "sockact.serve(app, control='none', lifespan='off')\n"
        "sys.exit(7)\n"
    )
    manager.start([sys.executable, "main.py"], [listener], PYTHONPATH=str(CHECKOUT))
    manager.wait_ready()

    begin_stop(service)

    assert manager.wait_exit() == 7


def test_a_unix_listener_keeps_its_path(service: Service, manager: Manager, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    (tmp_path / "app.py").write_text(
        "async def app(scope, receive, send): assert scope['type'] == 'http'\n"
    )
    manager.sockact("app:app", "--control=none", listeners=[Listener.of(sock, "web")])
    manager.wait_ready()

    begin_stop(service)

    assert manager.wait_exit() == 0
    assert path.is_socket()
    with Client(str(path)):
        pass
    sock.close()


def test_a_stop_during_the_start_ends_it_at_once(service: Service) -> None:
    install(service.directory)
    environ = {"GATE": service.gate.path, "GATE_STARTUP": "1"}
    service.manager.sockact(
        "app:app",
        "--control=none",
        *LONG,
        "--shutdown-timeout=60s",
        listeners=[service.listener],
        **environ,
    )
    service.gate.wait()

    begin_stop(service)

    assert service.manager.wait_exit() == 0
    assert service.manager.said("READY") == []


def test_a_websocket_that_opens_in_the_drain_is_closed_with_1012_too(service: Service) -> None:
    service.start(*LONG)
    client = service.accepted()
    begin_stop(service)
    service.manager.wait_for("STATUS", "gen 1: deactivating, draining")

    with (
        unix_connect(sock=client.sock, uri="ws://test/ws") as connection,
        pytest.raises(ConnectionClosedError) as closed,
    ):
        connection.recv()

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    assert service.manager.wait_exit() == 0
