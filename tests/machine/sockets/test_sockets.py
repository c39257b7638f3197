"""Sockets of other kinds than a web app's, passed by real systemd."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from subprocess import Popen

import pytest

from tests.support.machine.machine import Machine
from tests.support.machine.service import LIMIT, wait_until

HANDLERS = """
import os, sockact

async def count(reader, writer, *, state=b"0"):
    if await reader.readline():
        state = b"%d" % (int(state) + 1)
        writer.write(b"%s %d\\n" % (state, os.getpid()))
        return sockact.Handover(state)

async def echo(data, address, reply):
    reply(data)

def shout(connection):
    with connection.makefile("rwb", buffering=0) as file:
        for line in file:
            file.write(line.upper())
"""

SOCKET = "[Socket]\n{listen}\n"
SERVICE = """
[Unit]
StartLimitIntervalSec=0
[Service]
Type=notify
WorkingDirectory=/opt/app
RuntimeDirectory=handler
ExecStart=/opt/app/venv/bin/sockact run --linger=0.1s --probation=0.1s {options}
ExecReload=/opt/app/venv/bin/sockact reload
FileDescriptorStoreMax=64
Environment=FDSTORE=64 {environ}
{more}
"""

# One line after the other until there is a file of that name: says how many were answered, in which order.
ASKER = """
import os, socket, sys
client = socket.create_connection(("127.0.0.1", 8007))
lines = client.makefile("rwb", buffering=0)
asked = 0
pids = set()
while not os.path.exists("/run/enough"):
    lines.write(b"next\\n")
    asked += 1
    number, pid = lines.readline().split()
    assert int(number) == asked, (number, asked)
    pids.add(pid)
    if asked == 1:
        print("begun", flush=True)
print(asked, len(pids), flush=True)
"""

# Sends numbers, each once, with at most 16 on their way.
SENDER = """
import os, socket
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.connect(("127.0.0.1", 8007))
client.settimeout(20)
sent, answered = 0, set()
while not os.path.exists("/run/enough"):
    while sent - len(answered) < 16:
        client.send(b"%d" % sent)
        sent += 1
    answered.add(int(client.recv(100)))
    if len(answered) == 1:
        print("begun", flush=True)
while len(answered) < sent:
    answered.add(int(client.recv(100)))
print(sent, len(answered), flush=True)
"""


@pytest.fixture
def handlers(app: Machine) -> Iterator[Machine]:
    """Give a machine with the handlers, and no units for them."""
    app.write("/opt/app/handlers.py", HANDLERS)
    yield app
    app.run("systemctl", "stop", "handler.socket", check=False)
    app.run("systemctl", "stop", "handler.service", "handler@*.service", check=False)
    app.run("sh", "-c", "rm -f /run/systemd/system/handler* /run/enough")
    app.run("systemctl", "daemon-reload")


def install(machine: Machine, listen: str, options: str, *, template: str = "", more: str = "") -> None:
    """Write both units and start the socket."""
    environ = "SOCKACT_WORKERS=0" if "--workers" not in options else ""
    service = SERVICE.format(options=options, environ=environ, more=more)
    machine.write("/run/systemd/system/handler.socket", SOCKET.format(listen=listen))
    machine.write(f"/run/systemd/system/handler{template}.service", service)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "handler.socket")


@contextlib.contextmanager
def running(machine: Machine, script: str) -> Iterator[Popen[str]]:
    """Run a client, which has begun when this is entered."""
    with machine.popen("python3", "-c", script) as client:
        try:
            assert client.stdout
            assert client.stdout.readline() == "begun\n"
            yield client
        finally:
            client.kill()


def change(machine: Machine, verb: str, times: int) -> None:
    for _ in range(times):
        machine.run("systemctl", verb, "handler.service")


def end(machine: Machine, client: Popen[str]) -> list[int]:
    """Wait for the end of a client, and return the numbers that it says."""
    machine.write("/run/enough", "")
    said, complaint = client.communicate(timeout=LIMIT)
    assert client.returncode == 0, complaint
    return [int(word) for word in said.split()]


@pytest.mark.parametrize(
    ("verb", "workers"), [("restart", 0), ("restart", 1), ("reload", 0), ("reload", 2)]
)
def test_a_conversation_with_a_state_outlives_processes(handlers: Machine, verb: str, workers: int) -> None:
    options = f"--workers={workers} handlers:count"
    install(handlers, "ListenStream=127.0.0.1:8007", options)
    with running(handlers, ASKER) as client:
        change(handlers, verb, 5)
        asked, pids = end(handlers, client)

    # A reload returns when the new code serves; the connection may move a little later.
    least, most = {("restart", 0): (6, 6), ("restart", 1): (6, 6), ("reload", 0): (1, 1)}.get(
        (verb, workers), (2, 6)
    )
    assert least <= pids <= most
    assert asked >= 6
    print(
        f"{handlers.name}: {verb} with {workers} workers: {asked} lines on one connection, {pids} processes"
    )


@pytest.mark.parametrize("verb", ["restart", "reload"])
def test_no_datagram_is_lost(handlers: Machine, verb: str) -> None:
    install(handlers, "ListenDatagram=127.0.0.1:8007", "--workers=2 handlers:echo")
    with running(handlers, SENDER) as client:
        change(handlers, verb, 5)
        sent, answered = end(handlers, client)

    assert sent == answered > 100
    print(f"{handlers.name}: {verb}: {sent} datagrams, all answered")


@pytest.mark.parametrize("more", ["", "StandardInput=socket"])
def test_a_process_serves_each_connection(handlers: Machine, more: str) -> None:
    listen = "ListenStream=127.0.0.1:8007\nAccept=yes"
    install(handlers, listen, "handlers:shout", template="@", more=more)
    script = (
        "import socket\n"
        "clients = [socket.create_connection(('127.0.0.1', 8007)) for _ in range(3)]\n"
        "for client in clients: client.sendall(b'hello\\n')\n"
        "print([client.recv(100) for client in clients])\n"
    )
    assert handlers.run("python3", "-c", script).stdout == f"{[b'HELLO' + b'%c' % 10] * 3}\n"

    units = ("systemctl", "list-units", "--no-legend", "handler@*")
    wait_until(lambda: not handlers.run(*units).stdout.strip())
    failed = handlers.run("systemctl", "list-units", "--failed", "--no-legend", "handler@*").stdout
    assert failed == ""
