"""One process on real systemd: what a client sees of restarts, reloads and failures; and what systemd."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.machine.load import assert_nothing_lost, load
from tests.support.machine.machine import Machine
from tests.support.machine.service import (
    ALONE,
    LIMIT,
    assert_reload_refused,
    client,
    configure,
    get,
    install,
    main_pid,
    reload,
    tell,
    wait_for,
)

ROUNDS = 20
FEW = 5


@pytest.fixture
def service(app: Machine) -> Machine:
    """Give a machine on which the socket of the load app is active, and nothing else.

    The service has no workers, its main process serves; for that the unit names two changes.
    """
    install(app, 1)
    app.write("/etc/systemd/system/app.service.d/alone.conf", f"[Service]\n{ALONE}")
    app.run("systemctl", "daemon-reload")
    app.run("systemctl", "start", "app.socket")
    assert app.show("app.service", "ActiveState")["ActiveState"] == "inactive"
    return app


@pytest.mark.newest
def test_the_first_connection_starts_the_service_and_is_answered(service: Machine) -> None:
    answer = get(service)

    assert answer["version"] == "1"
    shown = service.show("app.service", "ActiveState", "SubState", "MainPID", "StatusText")
    assert shown["ActiveState"] == "active"
    assert shown["SubState"] == "running"
    assert shown["MainPID"] == str(answer["pid"])
    assert shown["StatusText"].startswith("gen 1: ready")


def test_nobody_is_lost_over_restarts(service: Machine, rounds: Callable[..., int]) -> None:
    pids, asked = set(), rounds(ROUNDS, part=4)
    with load(service) as clients:
        for _ in range(asked):
            service.run("systemctl", "restart", "app.service")
            pids.add(main_pid(service))
        report = clients.report()

    assert_nothing_lost(report)
    assert len(pids) == asked
    assert service.show("app.service", "Result", "NRestarts") == {"Result": "success", "NRestarts": "0"}
    tell(f"{asked} times restart", service, report)


def test_nobody_is_lost_over_reloads_and_the_main_pid_stays(
    service: Machine, rounds: Callable[..., int]
) -> None:
    asked = rounds(ROUNDS, part=4)
    with load(service) as clients:
        pid = main_pid(service)
        for version in range(2, asked + 2):
            install(service, version)
            reload(service)
            assert get(service)["version"] == str(version)
            shown = service.show("app.service", "ActiveState", "SubState", "MainPID", "StatusText")
            assert shown.pop("StatusText").startswith(f"gen {version}: ready")
            assert shown == {"ActiveState": "active", "SubState": "running", "MainPID": str(pid)}
        report = clients.report()

    assert_nothing_lost(report)
    assert {seen["version"] for seen in report["seen"]} == {str(version) for version in range(1, asked + 2)}
    tell(f"{asked} times reload", service, report)


HASTY = """
import os, sockact
from app import app

@sockact.hooks.on_drain
def end():
    os._exit(0)
"""


def test_the_same_load_reports_losses_of_a_server_that_closes_its_connections_at_once(
    service: Machine,
) -> None:
    service.write("/opt/app/hasty.py", HASTY)
    run = "/opt/app/venv/bin/sockact run --workers=0 --chdir=/opt/app hasty:app"
    text = f"[Service]\nKillMode=mixed\nExecStart=\nExecStart={run}\n"
    service.write("/etc/systemd/system/app.service.d/test.conf", text)
    service.run("systemctl", "daemon-reload")

    with load(service) as clients:
        for _ in range(FEW):
            service.run("systemctl", "restart", "app.service")
        report = clients.report()

    assert report["lost"] > 0
    tell(f"{FEW} times restart of a server that does not drain", service, report)


@pytest.mark.newest("syntax error")
@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("x = (", r"SyntaxError: '\(' was never closed \(app\.py, line \d+\)"),
        (
            "async def app(s, r, t):\n await r(); raise RuntimeError('no database')",
            "RuntimeError: no database",
        ),
        (
            "async def app(s, r, t): await asyncio.sleep(3600)",
            "the app's startup did not finish within 2 s",
        ),
    ],
    ids=["syntax error", "raises in startup", "hangs in startup"],
)
def test_a_broken_version_is_refused_and_the_old_one_goes_on(
    service: Machine, lines: str, reason: str
) -> None:
    configure(service, "--start-timeout=2s")
    with load(service, "one-shot:2@20", "persistent:2@10", "slow:1@0.4,seconds=2") as clients:
        pid = main_pid(service)
        install(service, 2, "import asyncio", lines)

        assert_reload_refused(service, reason)

        install(service, 3)
        reload(service)
        assert get(service) == {"version": "3", "pid": pid}
        report = clients.report()

    assert_nothing_lost(report)


def test_a_stop_ends_at_the_drain_timeout(service: Machine) -> None:
    configure(service, "--linger=0.5s", "--drain-timeout=1s")
    with in_flight(service, "/slow?seconds=3600"):
        before = time.time()

        service.run("systemctl", "stop", "app.service")

        shown = service.show("app.service", "ActiveState", "Result", "ExecMainStatus")
        assert shown == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
        journal = service.journal("app.service", since=before)
        assert "drain timeout after 1 s: aborting 1 connection and 1 request" in journal
        assert journal.count("aborted: 127.0.0.1:") == 1
        assert "GET /slow" in journal


def in_flight(machine: Machine, path: str) -> Any:
    """Send a request, and wait until the service has it."""
    script = f"import urllib.request as u; u.urlopen('http://127.0.0.1:8000{path}')"
    process = machine.popen("python3", "-c", script)
    wait_for(machine, "StatusText=gen 1: ready, 1 request in flight")
    return _Ended(process)


class _Ended:
    def __init__(self, process: Any) -> None:
        self._process = process

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def test_a_drain_may_last_as_long_as_its_timeout_allows_whatever_the_units_timeout(
    service: Machine,
) -> None:
    configure(service, "--drain-timeout=20s", service="TimeoutStopSec=2s")
    with load(service, "slow:1@0.15,seconds=6") as clients:
        wait_for(service, "StatusText=gen 1: ready, 1 request in flight")

        service.run("systemctl", "restart", "app.service")

        assert service.show("app.service", "Result")["Result"] == "success"
        report = clients.report()
    assert_nothing_lost(report)


CHILD = """
served = app
async def app(scope, receive, send):
    if scope.get("path") == "/child":
        child = await asyncio.create_subprocess_exec("sleep", "2")
        assert await child.wait() == 0
    await served({**scope, "path": "/"} if scope["type"] == "http" else scope, receive, send)
"""


def test_a_restart_does_not_touch_child_processes_that_requests_wait_for(service: Machine) -> None:
    """The unit's KillMode=process: control-group would end them, and with them the requests."""
    install(service, 1, CHILD)
    get(service)
    waiting = client(service, "/child")
    wait_for(service, "StatusText=gen 1: ready, 1 request in flight")

    service.run("systemctl", "restart", "app.service")

    assert json.loads(waiting.communicate(timeout=LIMIT)[0])["version"] == "1"


def test_a_restart_into_a_broken_release_refuses_nobody_and_heals_by_itself(service: Machine) -> None:
    get(service)
    install(service, 2, "x = (")
    service.run("systemctl", "restart", "app.service", check=False)
    waiting = [client(service) for _ in range(8)]
    deadline = time.monotonic() + LIMIT
    # Five failures within ten seconds are what systemd's default limit allows.
    while int(service.show("app.service", "NRestarts")["NRestarts"]) < 6:
        assert time.monotonic() < deadline
    assert service.show("app.socket", "ActiveState")["ActiveState"] == "active"
    assert all(process.poll() is None for process in waiting)
    waiting.append(client(service))

    install(service, 3)

    for process in waiting:
        assert json.loads(process.communicate(timeout=LIMIT)[0])["version"] == "3"


def test_a_hung_event_loop_is_restarted_and_those_who_waited_are_answered(service: Machine) -> None:
    hang = """
import time
served = app
async def app(scope, receive, send):
    if scope.get("path") == "/hang":
        time.sleep(3600)
    await served(scope, receive, send)
"""
    configure(service, service="WatchdogSec=2s")
    install(service, 1, hang)
    pid = get(service)["pid"]
    before = time.time()
    hanging = service.popen(
        "python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/hang')"
    )
    wait_until_stuck(service, pid)
    waiting = [client(service) for _ in range(4)]

    answers = [json.loads(process.communicate(timeout=LIMIT)[0]) for process in waiting]

    assert {answer["pid"] for answer in answers} == {main_pid(service)}
    assert main_pid(service) != pid
    journal = service.journal("app.service", since=before)
    assert "Watchdog timeout" in journal
    assert "Fatal Python error: Aborted" in journal
    assert "in app" in journal  # the stack says where it hung
    hanging.communicate(timeout=LIMIT)


def wait_until_stuck(machine: Machine, pid: int) -> None:
    """Wait until the process sleeps in clock_nanosleep(2), and not in its event loop."""
    deadline = time.monotonic() + LIMIT
    while "nanosleep" not in machine.read(f"/proc/{pid}/wchan"):
        assert time.monotonic() < deadline


def test_a_stop_during_a_reload_is_a_stop_in_good_order(service: Machine) -> None:
    pid = get(service)["pid"]
    install(service, 2, "import asyncio", "async def app(s, r, t): await asyncio.sleep(3600)")
    wait_for(service, "ActiveState=active")
    reloading = service.popen("systemctl", "reload", "app.service")
    wait_for(service, "SubState=reload")
    wait_until_told(service, pid)

    service.run("systemctl", "stop", "app.service")

    reloading.communicate(timeout=LIMIT)
    assert reloading.returncode != 0
    shown = service.show("app.service", "ActiveState", "Result")
    assert shown == {"ActiveState": "inactive", "Result": "success"}
    install(service, 3)
    assert get(service)["version"] == "3"


def wait_until_told(machine: Machine, pid: int) -> None:
    """Wait until the service has taken the request for a reload, and its trial runs."""
    deadline = time.monotonic() + LIMIT
    while len(machine.run("pgrep", "-P", str(pid), check=False).stdout.split()) != 1:
        assert time.monotonic() < deadline


def test_the_sandbox_leaves_little_exposed(service: Machine) -> None:
    report = service.run("systemd-analyze", "security", "--no-pager", "app.service").stdout

    level = re.search(r"Overall exposure level for app\.service: ([\d.]+)", report)
    assert level
    assert float(level[1]) < 2.0


def test_systemd_understands_every_line_of_the_units(service: Machine) -> None:
    said = service.run("systemd-analyze", "verify", "/etc/systemd/system/app.service", check=False)

    assert "app.service" not in said.stderr
    assert "app.socket" not in said.stderr


def test_a_socket_unit_that_has_changed_and_was_not_restarted_is_named(service: Machine) -> None:
    get(service)
    status = ("/opt/app/venv/bin/sockact", "status", "app.service")
    assert "held" not in service.run(*status).stdout.replace("holds", "")
    drop_in = "[Socket]\nListenStream=\nListenStream=127.0.0.1:8001\n"
    service.write("/etc/systemd/system/app.socket.d/moved.conf", drop_in)
    service.run("systemctl", "daemon-reload")

    *_, held, listed = service.run(*status).stdout.splitlines()

    assert held == "127.0.0.1:8000 is held, and in no socket unit any more"
    assert listed == "127.0.0.1:8001 is in app.socket, and not held: restart app.socket"
    assert service.show("app.socket", "KeepAliveTimeUSec")["KeepAliveTimeUSec"] == "3min"


def test_a_socket_unit_that_is_stopped_with_its_service_ends_both(service: Machine) -> None:
    get(service)

    service.run("systemctl", "stop", "app.socket", "app.service")

    assert service.show("app.service", "ActiveState", "Result") == {
        "ActiveState": "inactive",
        "Result": "success",
    }
    assert service.show("app.socket", "ActiveState", "Result") == {
        "ActiveState": "inactive",
        "Result": "success",
    }
