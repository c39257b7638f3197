"""Workers that are replaced because of what they have done, and services that end for want of work."""

from __future__ import annotations

import json
import random
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from sockact.sockets.fds import Listener
from tests.support.commands import status
from tests.support.gate import install
from tests.support.http_client import connect, get
from tests.support.manager import CHECKOUT, Manager, wait_until
from tests.support.processes import workers
from tests.support.service import Service, stop

QUICK = ("--workers=1", "--probation=0.1s")


def test_a_worker_is_replaced_after_its_requests_and_no_answer_is_missing(service: Service) -> None:
    service.start(*QUICK, "--max-requests=30")
    pids = set()

    def third_worker_answers() -> bool:
        answer = get(service.listener)
        assert answer.status == 200
        pids.add(json.loads(answer.text)["pid"])
        return len(pids) == 3

    wait_until(third_worker_answers)

    log = service.manager.stderr()
    assert "is recycled: 3" in log
    stop(service)


def test_a_worker_that_has_grown_old_is_replaced(service: Service) -> None:
    pid = service.start("--workers=2", "--probation=0.1s", "--max-worker-age=2s")
    before = set(workers(pid))

    wait_until(lambda: not before & set(workers(pid)) and len(workers(pid)) == 2)

    assert re.search(r"is recycled: [\d.]+ s old", service.manager.stderr())
    assert get(service.listener).status == 200
    stop(service)


def test_a_worker_that_has_grown_is_replaced(service: Service) -> None:
    install(service.directory)
    with (service.directory / "app.py").open("a") as app:
        app.write(GREEDY)
    pid = service.start(*QUICK, "--max-worker-memory=200M", "--worker-watchdog=2s")
    before = workers(pid)
    get(service.listener, "/greedy")

    wait_until(lambda: not set(before) & set(workers(pid)))

    assert "MiB in memory" in service.manager.stderr()


def test_a_worker_that_is_too_large_from_the_start_is_not_replaced_without_end(service: Service) -> None:
    pid = service.start(*QUICK, "--max-worker-memory=1M")
    before = workers(pid)
    get(service.listener)

    wait_until(lambda: status(service)["requests"] == 1)  # the worker has spoken, and is too large

    assert workers(pid) == before
    assert "MiB in memory" not in service.manager.stderr()


GREEDY = """
served, hoard = app, []
async def app(scope, receive, send):
    if scope.get("path") == "/greedy":
        hoard.append(b"x" * 200 * 1024**2)
        scope = {**scope, "path": "/"}
    await served(scope, receive, send)
"""


@pytest.mark.parametrize("setting", ["max-requests", "max-worker-memory"])
def test_one_process_cannot_be_replaced_beside_itself(
    manager: Manager, listener: Listener, setting: str
) -> None:
    manager.sockact("app:app", f"--{setting}=100", listeners=[listener])

    assert manager.wait_exit() == 78
    assert "=100: expected workers of at least 1" in manager.said("STATUS")[-1]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_service_without_work_ends_and_the_next_connection_is_served_by_its_successor(
    service: Service, workers: str
) -> None:
    options = (f"--workers={workers}", "--idle-exit=0.3s")
    service.start(*options)
    get(service.listener)

    assert service.manager.wait_exit() == 0
    assert service.manager.said("STOPPING") == ["1"]
    with connect(service.listener) as waiting:
        waiting.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        service.start(*options)
        assert b"200 OK" in waiting.recv(1000)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_an_open_connection_is_work(service: Service, workers: str) -> None:
    service.start(f"--workers={workers}", "--idle-exit=0.2s")
    client = service.client()
    client.get()

    with pytest.raises(AssertionError):
        service.manager.wait_for("STOPPING", timeout=1)  # five times what would end it

    assert client.get().status == 200
    client.close()
    assert service.manager.wait_exit() == 0


ROUNDS = 500

LAZY = """
import os, sys, sockact, app
manager = os.environ["NOTIFY_SOCKET"]
def serve(**settings):
    os.dup2(7, 3)
    variables = {{"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "NOTIFY_SOCKET": manager}}
    os.environ.update(variables)
    sockact.serve(app.app, workers=0, control="none", log_level="error", **settings)
for _ in range(int(sys.argv[1])):
    serve(idle_exit=0.01)
    {between}
serve()
"""
"""Serves again and again in one process, as systemd would start it again and again."""

ROBBER = """
    import socket
    with socket.socket(fileno=os.dup(7)) as listener:
        listener.settimeout(20)
        listener.accept()[0].close()
"""


def lost_while_it_ends(
    manager: Manager, listener: Listener, directory: Path, rounds: int, between: str = ""
) -> list[str]:
    """Connect around the moment in which the service ends, until it has ended so often."""
    install(directory)
    (directory / "main.py").write_text(LAZY.format(between=between))
    keep = ["/bin/sh", "-c", 'exec 7<&3; exec "$@"', "sh", sys.executable, "main.py", str(rounds)]
    manager.start(keep, [listener], PYTHONPATH=str(CHECKOUT))
    dice = random.Random(1)
    lost = []
    while len(manager.said("READY")) <= rounds:
        assert manager.running, manager.report()
        time.sleep(dice.uniform(0, 0.02))
        try:
            assert get(listener).status == 200
        except OSError as error:
            lost.append(repr(error))
    manager.signal(signal.SIGTERM)
    assert manager.wait_exit() == 0
    return lost


@pytest.mark.slow
def test_a_connection_in_the_moment_of_the_end_is_not_lost(
    manager: Manager, listener: Listener, tmp_path: Path
) -> None:
    assert lost_while_it_ends(manager, listener, tmp_path, ROUNDS) == []


def test_the_same_clients_see_it_when_one_is_lost(
    manager: Manager, listener: Listener, tmp_path: Path
) -> None:
    assert len(lost_while_it_ends(manager, listener, tmp_path, 3, ROBBER)) == 3
