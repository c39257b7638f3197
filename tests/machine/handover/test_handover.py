"""Connections on real systemd that outlive processes, for clients which never reconnect."""

from __future__ import annotations

from collections.abc import Callable
from subprocess import Popen

import pytest

from tests.support.machine.change import CHANGES, Change
from tests.support.machine.load import assert_nothing_lost, load
from tests.support.machine.machine import Machine
from tests.support.machine.partners import opened, wrk
from tests.support.machine.service import (
    LIMIT,
    get,
    install,
    processes,
    start_as,
    stored,
    tell,
    wait_until,
)

CLIENTS = 64

# At these sizes most are idle; all are asked for something within each few changes.
SIZES = {
    1: ("persistent:1@max",),
    CLIENTS: ("persistent:8@max", "persistent:56@5"),
    1000: ("persistent:8@50", "persistent:992@0.2"),
}

# Milliseconds between two requests on a connection of wrk: without it no core is left for the service.
PAUSES = {1: 0, 64: 20, 1000: 1000}


@pytest.fixture(params=["alone", "supervised"])
def service(app: Machine, request: pytest.FixtureRequest) -> Machine:
    """Give a machine with the load app's service, which serves by itself, or by two workers."""
    install(app, 1)
    start_as(request.param, app)
    return app


@pytest.mark.newest("reload with 4 workers-1]")
@pytest.mark.parametrize("clients", SIZES)
@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_no_client_has_to_reconnect(
    app: Machine, change: Change, clients: int, rounds: Callable[..., int]
) -> None:
    change.start(app)
    with load(app, *SIZES[clients]) as probe:
        change.make(app, rounds(change.rounds))
        report = probe.report()

    assert_nothing_lost(report)
    assert report["total"]["connections"] == clients
    tell(f"{rounds(change.rounds)} times {change}, connections kept", app, report)


@pytest.mark.parametrize("connections", PAUSES)
@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_wrk_has_no_error_to_report_and_need_not_reconnect(
    app: Machine, change: Change, connections: int, rounds: Callable[..., int]
) -> None:
    change.start(app)
    with wrk(app, connections, PAUSES[connections]) as client:
        before = opened(app)
        change.make(app, rounds(change.rounds))
        reconnects = opened(app) - before

    assert "Socket errors" not in client.said
    assert "Non-2xx" not in client.said
    assert reconnects == 0
    assert get(app)["version"] == str(rounds(change.rounds) + 1)
    what = f"{rounds(change.rounds)} times {change}, wrk with {connections} connections"
    print(f"{app.name}: {what}: {client.requests} requests, no error, {reconnects} reconnects")


def test_wrk_is_seen_to_reconnect_where_nothing_is_handed_over(app: Machine) -> None:
    change = CHANGES[0]
    change.start(app, "--no-handover")
    with wrk(app, CLIENTS, PAUSES[CLIENTS]) as client:
        before = opened(app)
        change.make(app, 1)
        wait_until(lambda: opened(app) > before)
        reconnects = opened(app) - before

    what = f"{change} without handover, wrk with {CLIENTS} connections"
    print(f"{app.name}: {what}: {client.requests} requests, {reconnects} reconnects")


# Asks, and once more as its last request when there is a file of that name; then waits for the end.
CLIENT = r"""
import os, socket, sys, time
client = socket.create_connection(("127.0.0.1", 8000))
def ask(field):
    client.sendall(f"GET / HTTP/1.1\r\nHost: test\r\n{field}\r\n".encode())
    answer = b""
    while not answer.endswith(b"}"):
        answer += client.recv(4096)
ask("")
print("connected", flush=True)
if len(sys.argv) > 1:
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.02)
    ask("Connection: close\r\n")
print("closed" if client.recv(1) == b"" else "more", flush=True)
"""


def connect(machine: Machine, *gate: str) -> Popen[str]:
    """Start the client, which has been answered once when this returns."""
    connected = machine.popen("python3", "-c", CLIENT, *gate)
    assert connected.stdout
    assert connected.stdout.readline() == "connected\n"
    return connected


def without_connections(machine: Machine) -> int:
    """Return how many descriptors are for the next process, if no connection waits for it."""
    workers = len(processes(machine)) - 1
    return 1 + (
        5 * workers or 1
    )  # the totals; of each worker five, of a process that serves alone its page


def test_a_connection_that_was_kept_can_be_closed(service: Machine) -> None:
    connected = connect(service, "/opt/app/gate")
    service.run("systemctl", "restart", "app.service")
    wait_until(lambda: stored(service) == without_connections(service))

    service.write("/opt/app/gate", "")

    assert connected.communicate(timeout=LIMIT)[0] == "closed\n"


def test_a_stop_closes_them(service: Machine) -> None:
    connected = connect(service)

    service.run("systemctl", "stop", "app.service")

    assert connected.communicate(timeout=LIMIT)[0] == "closed\n"


ASKER = """
import signal, pathlib
from sockact import Notifier
from sockact.handover.store import is_followed
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
Notifier().ready("waits for its end")
signal.sigwait([signal.SIGTERM])
pathlib.Path("/run/asked").write_text(str(is_followed()))
"""


@pytest.mark.newest
def test_systemd_says_whether_the_service_comes_again(app: Machine) -> None:
    # As root, which asks systemd itself: anybody else can ask over the system bus only.
    app.write("/opt/app/asker.py", ASKER)
    unit = "[Service]\nType=notify\nExecStart=/opt/app/venv/bin/python /opt/app/asker.py\n"
    app.write("/run/systemd/system/asker.service", unit)
    app.run("systemctl", "daemon-reload")
    asked = {}
    for verb in ("restart", "stop"):
        app.run("systemctl", "start", "asker.service")
        app.run("systemctl", verb, "asker.service")
        asked[verb] = app.read("/run/asked")
    app.run("systemctl", "kill", "--signal=KILL", "asker.service", check=False)
    app.run("rm", "/run/systemd/system/asker.service", "/run/asked")

    assert asked == {"restart": "True", "stop": "False"}
