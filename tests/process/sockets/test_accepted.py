"""A process for each connection: what `Accept=yes` passes is the connection itself."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from tests.support.manager import CHECKOUT, LIMIT, Manager, wait_until

APP = """
import asyncio, os, sys
import sockact

async def web(scope, receive, send):
    if scope["type"] == "http":
        body = str(os.getpid()).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

def shout(connection):
    with connection.makefile("rwb", buffering=0) as file:
        for line in file:
            file.write(line.upper())

async def stream(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())

async def leaves_work(reader, writer):
    sockact.background(work())

async def work():
    await asyncio.sleep(0.3)
    print("the work is done", file=sys.stderr)
"""


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Listener]]:
    """Give both ends of a connection: the client's, and the one that is passed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname(), LIMIT)
        passed = Listener.of(server.accept()[0], "connection")
    yield client, passed
    passed.close()
    client.close()


def listens(path: str) -> bool:
    """Tell whether a connection to a Unix socket would be taken; such a look starts one process more."""
    with socket.socket(socket.AF_UNIX) as trial:
        return trial.connect_ex(path) == 0


def start(manager: Manager, passed: Listener, app: str, *options: str) -> int:
    """Start a process with a connection, which is from then on its own."""
    Path("app.py").write_text(APP)
    pid = manager.sockact(f"app:{app}", *options, listeners=[passed], SOCKACT_WORKERS="4")
    passed.close()
    manager.wait_ready()
    return pid


@pytest.mark.parametrize("app", ["shout", "stream"])
def test_a_process_serves_its_connection_and_ends_with_it(
    manager: Manager, pair: tuple[socket.socket, Listener], app: str
) -> None:
    client, passed = pair
    start(manager, passed, app, "--pid-file=pid")
    client.sendall(b"hello\n")
    assert not Path("pid").exists()  # it would be one for many
    assert client.recv(100) == b"HELLO\n"

    client.shutdown(socket.SHUT_WR)

    assert client.recv(100) == b""
    assert manager.wait_exit() == 0


def test_work_in_the_background_may_end_after_the_connection(
    manager: Manager, pair: tuple[socket.socket, Listener]
) -> None:
    client, passed = pair
    start(manager, passed, "leaves_work")

    assert client.recv(100) == b""
    assert manager.wait_exit() == 0
    assert "the work is done" in manager.stderr()


def test_a_web_app_is_served_on_it_until_the_client_leaves(
    manager: Manager, pair: tuple[socket.socket, Listener]
) -> None:
    client, passed = pair
    pid = start(manager, passed, "web")
    request = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
    for _ in range(3):
        client.sendall(request)
        answer = b""
        while not answer.endswith(str(pid).encode()):
            answer += client.recv(1000)

    client.close()

    assert manager.wait_exit() == 0
    assert "serves connection=127.0.0.1" in manager.stderr()


def test_a_reload_is_refused_since_the_next_process_has_the_new_code(
    manager: Manager, pair: tuple[socket.socket, Listener]
) -> None:
    client, passed = pair
    start(manager, passed, "shout")

    manager.signal(signal.SIGHUP)

    manager.wait_for("RELOADING", "1")
    assert "this process ends with its connection" in manager.wait_ready().assignments["STATUS"]
    client.sendall(b"hello\n")
    assert client.recv(100) == b"HELLO\n"


def test_a_stop_drains_it(manager: Manager, pair: tuple[socket.socket, Listener]) -> None:
    client, passed = pair
    start(manager, passed, "stream", "--linger=0.2s")
    client.sendall(b"hello\n")
    assert client.recv(100) == b"HELLO\n"

    manager.signal(signal.SIGTERM)

    assert client.recv(100) == b""
    assert manager.wait_exit() == 0


def test_it_may_be_standard_input_as_with_inetd(
    tmp_path: Path, pair: tuple[socket.socket, Listener]
) -> None:
    client, passed = pair
    (tmp_path / "app.py").write_text(APP)
    command = [sys.executable, "-m", "sockact", "run", "app:shout"]
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    fd = passed.fd
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdin=fd, stdout=fd, stderr=fd) as process:
        passed.close()
        client.sendall(b"hello\n")
        assert client.recv(100) == b"HELLO\n"  # and no line of the log
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""
        assert process.wait(LIMIT) == 0


def test_standard_input_is_left_alone_where_it_has_no_address() -> None:
    ours, theirs = socket.socketpair()
    script = "import sockact; print(len(sockact.adopt(standard_input=True)), input())"
    with ours, theirs:
        ours.sendall(b"typed\n")
        said = subprocess.run([sys.executable, "-c", script], stdin=theirs, capture_output=True, check=True)

    assert said.stdout == b"0 typed\n"


@pytest.mark.skipif(
    not shutil.which("systemd-socket-activate"), reason="systemd-socket-activate is missing"
)
@pytest.mark.parametrize("app", ["shout", "stream"])
def test_systemd_socket_activate_starts_one_for_each_client(tmp_path: Path, app: str) -> None:
    (tmp_path / "app.py").write_text(APP)
    where = f"{tmp_path}/web.sock"
    run = [sys.executable, "-m", "sockact", "run", f"app:{app}"]
    command = ["systemd-socket-activate", "--accept", "-l", where, *run]
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, env=environ) as process:
        wait_until(lambda: listens(where))
        with contextlib.ExitStack() as opened:
            clients = [opened.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(3)]
            for number, client in enumerate(clients):
                client.settimeout(LIMIT)
                client.connect(where)
                client.sendall(b"hello %d\n" % number)
            assert [client.recv(100) for client in clients] == [b"HELLO %d\n" % i for i in range(3)]
            for client in clients:
                client.shutdown(socket.SHUT_WR)
            assert [client.recv(100) for client in clients] == [b""] * 3
        process.terminate()
        process.communicate(timeout=LIMIT)
