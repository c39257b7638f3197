"""`systemctl restart` under the shipped unit: workers go on until those of the next supervisor serve."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.machine.load import assert_nothing_lost, load
from tests.support.machine.machine import Machine
from tests.support.machine.service import (
    LIMIT,
    client,
    configure,
    get,
    install,
    main_pid,
    processes,
    stored,
    tell,
    wait_for,
    wait_until,
)
from tests.support.machine.supervised import (
    GATED,
    QUICK,
    at_gate,
    begin_reload,
    end,
    kill,
    open_gate,
    start,
    stream,
    workers,
)

LONG = ("slow:4@0.2,seconds=4", "upload:2@0.5", "stream:2@0.4")
CLIENTS = ("persistent:16@20", "one-shot:4@10", "slow:2@0.8,seconds=1")
KEPT = 16
"""Connections of the persistent clients, which nothing but a loss closes."""

QUIET = "RestartSec=0.3s"
"""In the unit, where the test waits for systemd to try again."""


@contextmanager
def serving(machine: Machine, *clients: str) -> Iterator[dict[str, Any]]:
    """Run clients around the body; no request is lost, and each kept connection stays the same."""
    report: dict[str, Any] = {}
    with load(machine, *(clients or CLIENTS)) as running:
        yield report
        report |= running.report()
    assert_nothing_lost(report)
    kept = report["loads"]["persistent:16@20"]
    assert (kept["connections"], kept["reconnects"]) == (KEPT, 0)


def restart(machine: Machine, *, check: bool = True) -> int:
    return machine.run("systemctl", "restart", "app.service", check=check).returncode


def status(machine: Machine) -> str:
    return machine.show("app.service", "StatusText")["StatusText"]


def alive(machine: Machine, *pids: int) -> set[int]:
    return processes(machine) & set(pids)


@pytest.mark.parametrize(
    "unit", ["", "MemoryMax={number}G\nEnvironment=ROUND={number}"], ids=["same", "changed"]
)
def test_a_restart_loses_no_request_and_closes_no_connection(
    app: Machine, unit: str, rounds: Callable[..., int]
) -> None:
    start(app, *QUICK)
    pids = {main_pid(app)}
    with serving(app, *CLIENTS[:2], *LONG) as report:
        for number in range(2, rounds(100) + 2):
            install(app, number)
            configure(app, *QUICK, service=unit.format(number=number))
            restart(app)
            assert get(app)["version"] == str(number)
            pids.add(main_pid(app))

    assert len(pids) == rounds(100) + 1
    tell(f"{rounds(100)} times restart", app, report)


def test_a_restart_into_a_broken_release_hurts_nobody(app: Machine, rounds: Callable[..., int]) -> None:
    start(app, *QUICK, service=QUIET)
    with serving(app) as report:
        install(app, 2, "raise RuntimeError('broken')")
        for _ in range(rounds(20, part=4)):
            assert restart(app, check=False) != 0
            assert get(app)["version"] == "1"
        install(app, 3)
        app.run("systemctl", "restart", "app.service")
        assert get(app)["version"] == "3"

    wait_for(app, "SubState=running")
    wait_until(lambda: len(workers(app)) == 2)  # those before have drained
    tell(f"{rounds(20, part=4)} times restart into a broken release", app, report)


def test_a_broken_release_is_tried_again_until_it_is_mended(app: Machine) -> None:
    start(app, *QUICK, service=QUIET)
    with serving(app) as report:
        install(app, 2, "raise RuntimeError('broken')")
        restart(app, check=False)
        wait_until(lambda: int(app.show("app.service", "NRestarts")["NRestarts"]) >= 3)
        assert get(app)["version"] == "1"
        install(app, 3)
        wait_until(lambda: get(app)["version"] == "3")

    tell("a broken release, mended meanwhile", app, report)


@pytest.mark.newest
def test_a_supervisor_that_is_killed_costs_nobody_anything(
    app: Machine, rounds: Callable[..., int]
) -> None:
    start(app, *QUICK, service=QUIET)
    with serving(app) as report:
        for number in range(1, rounds(20, part=4) + 1):
            pid = main_pid(app)
            kill(app, pid)
            wait_until(lambda pid=pid: main_pid(app) not in (0, pid))  # type: ignore[misc]
            wait_for(app, "SubState=running")
            assert app.show("app.service", "NRestarts") == {"NRestarts": f"{number}"}

    wait_until(lambda: len(workers(app)) == 2)  # those before have drained
    tell(f"{rounds(20, part=4)} times supervisor killed", app, report)


def test_a_supervisor_that_is_killed_while_no_worker_serves_costs_nobody_anything(
    app: Machine, rounds: Callable[..., int]
) -> None:
    """A stranger ends its only worker; what waits for the next one is in systemd's store."""
    start(app, "--workers=1", "--probation=0.1s", service=QUIET)
    install(app, 1, "import time", "time.sleep(1)")
    with serving(app) as report:
        for _ in range(rounds(20, part=4)):
            wait_until(lambda: len(workers(app)) == 1)  # others have drained
            pid, (worker,) = main_pid(app), workers(app)
            app.run("kill", "-TERM", str(worker))
            wait_until(lambda worker=worker: worker not in processes(app))  # type: ignore[misc]
            wait_until(lambda: stored(app) >= KEPT)
            kill(app, pid)
            wait_until(lambda pid=pid: main_pid(app) not in (0, pid))  # type: ignore[misc]
            wait_for(app, "SubState=running")

    tell(f"{rounds(20, part=4)} times worker ended and supervisor killed", app, report)


def test_what_a_left_over_worker_hands_over_in_the_probation_is_served_after_it(app: Machine) -> None:
    """A stranger ends it while nobody else serves yet."""
    start(app, "--workers=1", "--probation=2s")
    old = workers(app)
    with serving(app) as report:
        app.run("systemctl", "--no-block", "restart", "app.service")
        wait_until(lambda: main_pid(app) not in (0, *old) and len(workers(app) - old) == 1)
        app.run("kill", "-TERM", *map(str, old))
        wait_for(app, "SubState=running")

    tell("left-over worker ended in the probation", app, report)


def test_a_supervisor_that_hangs_is_replaced_and_costs_nobody_anything(app: Machine) -> None:
    pid = start(app, *QUICK, service=f"{QUIET}\nWatchdogSec=2s\nTimeoutAbortSec=1s")
    with serving(app) as report:
        app.run("kill", "-STOP", str(pid))
        wait_until(lambda: main_pid(app) not in (0, pid))
        wait_for(app, "SubState=running")

    tell("supervisor that hangs", app, report)


def test_the_status_shows_the_workers_that_serve_meanwhile(app: Machine) -> None:
    start(app, *QUICK)
    before = workers(app)
    install(app, 2, GATED)
    restarting = app.popen("systemctl", "restart", "app.service")
    wait_until(lambda: len(at_gate(app)) == 2)

    shown = json.loads(app.run("/opt/app/venv/bin/sockact", "status", "--json", "app").stdout)

    rows = {row["pid"]: row for row in shown["workers"]}
    assert {pid for pid, row in rows.items() if row["generation"] == 1} == before
    assert {row["phase"] for row in rows.values()} == {"ready", "starting"}
    assert "2 of the supervisor before" in status(app)
    open_gate(app)
    assert end(restarting) == 0
    assert status(app).startswith("gen 2: 2 workers ready")


def test_a_restart_during_a_restart_is_one(app: Machine) -> None:
    start(app, *QUICK)
    with serving(app) as report:
        install(app, 2, GATED)
        first = app.popen("systemctl", "restart", "app.service")
        wait_until(lambda: len(at_gate(app)) == 2)
        waiting = at_gate(app)
        install(app, 3)

        second = app.popen("systemctl", "restart", "app.service")

        assert end(second) == 0
        end(first)  # systemd may have cancelled it
        assert get(app)["version"] == "3"
        open_gate(app)
        wait_until(lambda: not alive(app, *waiting))

    wait_until(lambda: len(workers(app)) == 2)  # those before have drained
    tell("restart during a restart", app, report)


def test_a_stop_during_a_restart_ends_all_and_loses_nothing(app: Machine) -> None:
    start(app, *QUICK)
    with load(app, *CLIENTS) as clients:
        install(app, 2, GATED)
        restarting = app.popen("systemctl", "restart", "app.service")
        wait_until(lambda: len(at_gate(app)) == 2)
        open_gate(app)
        app.run("systemctl", "stop", "app.service")  # whoever waits in the queue starts it again
        end(restarting)
        get(app)
        report = clients.report()

    assert_nothing_lost(report)
    app.run("systemctl", "stop", "app.socket", "app.service")
    wait_until(lambda: not processes(app))
    tell("stop during a restart", app, report)


FORGETS = """
import subprocess
subprocess.Popen(["sleep", "3600"], start_new_session=True)
"""


def test_a_stop_that_overtakes_a_restart_lets_the_workers_drain(app: Machine) -> None:
    start(app, *QUICK)
    with load(app, *CLIENTS, *LONG) as clients:
        before = workers(app)
        app.run("kill", "-URG", str(main_pid(app)))  # as ExecStop= does, before the stop replaces the job

        app.run("systemctl", "stop", "app.service")

        wait_until(lambda: not before & processes(app))
        report = clients.report()
    assert_nothing_lost(report)


@pytest.mark.newest
def test_a_stop_leaves_nothing_behind_that_the_app_forgot(app: Machine) -> None:
    install(app, 1, FORGETS)
    configure(app, *QUICK)
    app.run("systemctl", "start", "app.socket", "app.service")
    restart(app)
    assert get(app)["version"] == "1"

    app.run("systemctl", "stop", "app.socket", "app.service")

    assert not processes(app)
    assert app.show("app.service", "Result", "ActiveState") == {
        "Result": "success",
        "ActiveState": "inactive",
    }


def test_workers_end_when_no_supervisor_comes_any_more(app: Machine) -> None:
    """The unit gives up after two failures: systemd closes its store, which tells the workers."""
    install(app, 1)
    limits = "RestartSec=0.1s\n[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=3\n"
    configure(app, *QUICK, service=limits)
    app.run("systemctl", "start", "app.socket", "app.service")
    asked = client(app, "/slow?seconds=3")
    wait_until(lambda: "in flight" in status(app) and "0 in flight" not in status(app))
    install(app, 2, "raise RuntimeError('broken')")
    assert restart(app, check=False) != 0
    wait_for(app, "ActiveState=failed")

    wait_until(lambda: not processes(app))

    assert json.loads(asked.communicate(timeout=LIMIT)[0])["version"] == "1"


def test_a_socket_that_is_restarted_gets_its_port_back(app: Machine) -> None:
    """Left-over workers would keep it."""
    start(app, *QUICK, "--drain-timeout=1s")
    old = workers(app)
    with stream(app):
        app.run("systemctl", "restart", "app.socket")

        wait_for(app, "SubState=running")
        assert get(app)["version"] == "1"
        assert not alive(app, *old)


def test_killing_all_of_it_is_a_stop(app: Machine) -> None:
    start(app, *QUICK)
    with load(app, *CLIENTS) as clients:
        app.run("systemctl", "kill", "app.service")
        wait_until(
            lambda: app.show("app.service", "ActiveState")["ActiveState"] == "inactive" or main_pid(app) > 0
        )
        get(app)
        report = clients.report()

    assert_nothing_lost(report)
    app.run("systemctl", "stop", "app.socket", "app.service")
    assert not processes(app)


@pytest.mark.parametrize(("before", "after"), [(2, 0), (0, 2)], ids=["to alone", "from alone"])
def test_a_service_can_become_one_of_another_kind(app: Machine, before: int, after: int) -> None:
    kinds = {0: ("--workers=0", "KillMode=mixed"), 2: ("--workers=2", "")}
    install(app, 1)
    configure(app, kinds[before][0], "--probation=0.1s", service=kinds[before][1])
    app.run("systemctl", "start", "app.socket", "app.service")
    old = processes(app)
    with load(app, *CLIENTS) as clients:
        configure(app, kinds[after][0], "--probation=0.1s", service=kinds[after][1])
        install(app, 2)
        restart(app)
        assert get(app)["version"] == "2"
        wait_until(lambda: not alive(app, *old))
        report = clients.report()

    assert_nothing_lost(report)
    tell(f"restart from {before} to {after} workers", app, report)


SPOOLS = """
import tempfile
spooling = app
async def app(scope, receive, send):
    if scope["type"] == "http":
        with tempfile.TemporaryFile() as file:
            file.write(b"x")
    await spooling(scope, receive, send)
"""


def test_a_worker_that_is_left_over_can_still_make_temporary_files(app: Machine) -> None:
    install(app, 1, SPOOLS)
    configure(app, *QUICK)
    app.run("systemctl", "start", "app.socket", "app.service")
    with serving(app) as report:
        install(app, 2, SPOOLS, GATED)
        restarting = app.popen("systemctl", "restart", "app.service")
        wait_until(lambda: len(at_gate(app)) == 2)
        assert get(app)["version"] == "1"
        open_gate(app)
        assert end(restarting) == 0

    tell("restart of an app with temporary files", app, report)


def test_where_systemd_ends_the_workers_a_restart_waits_for_the_longest_request(app: Machine) -> None:
    """KillMode=mixed: connections wait in the store; this is what the shipped unit spares them."""
    start(app, *QUICK, service="KillMode=mixed")
    asked = client(app, "/slow?seconds=8")
    wait_until(lambda: ", 1 in flight" in status(app))
    with load(app, "persistent:16@20") as clients:
        restart(app)
        report = clients.report()

    assert_nothing_lost(report)
    assert json.loads(asked.communicate(timeout=LIMIT)[0])["version"] == "1"
    assert report["total"]["stall"] > 1
    tell("restart with KillMode=mixed", app, report)


def test_a_restart_loses_nothing_of_any_kind(app: Machine) -> None:
    start(app, *QUICK)
    with load(app) as clients:
        for number in range(2, 6):
            install(app, number)
            restart(app)
        report = clients.report()

    assert_nothing_lost(report)
    tell("4 times restart, all kinds of clients", app, report)


def test_a_restart_in_the_middle_of_a_reload_loses_nothing(app: Machine) -> None:
    """Systemd then runs no ExecStop=, so that the service does not know that it is restarted."""
    start(app, *QUICK)
    with load(app, *CLIENTS) as clients:
        reloading, waiting = begin_reload(app)
        install(app, 3)
        restart(app)
        end(reloading)
        assert get(app)["version"] == "3"
        report = clients.report()

    assert_nothing_lost(report)
    assert not alive(app, *waiting)
    tell("restart during a reload", app, report)


@pytest.mark.parametrize("most", [3, 6])
def test_where_systemd_cannot_store_all_workers_a_restart_still_loses_nothing(
    app: Machine, most: int
) -> None:
    unit = f"FileDescriptorStoreMax={most}\nEnvironment=FDSTORE=4096"  # they do not agree
    start(app, *QUICK, service=unit)
    old = workers(app)
    with load(app, *CLIENTS) as clients:
        install(app, 2)
        restart(app)
        assert get(app)["version"] == "2"
        wait_until(lambda: not alive(app, *old))
        report = clients.report()

    assert report["lost"] == 0
    tell(f"restart with room for {most} descriptors", app, report)


def test_a_unit_whose_start_fails_before_ours_leaves_the_workers_alone(app: Machine) -> None:
    start(app, *QUICK, service=QUIET)
    with serving(app) as report:
        configure(app, *QUICK, service=f"{QUIET}\nExecStartPre=/bin/false")
        assert restart(app, check=False) != 0
        assert get(app)["version"] == "1"
        configure(app, *QUICK, service=QUIET)
        install(app, 2)
        wait_until(lambda: get(app)["version"] == "2")

    wait_until(lambda: len(workers(app)) == 2)
    tell("ExecStartPre= that fails", app, report)


def test_a_service_may_become_one_of_another_user(app: Machine) -> None:
    """Whose supervisor may not send signals to the old workers: they get orders."""
    app.run("rm", "-f", "/run/app")  # systemd leaves a link there that a dynamic user's folder had
    start(app, *QUICK, service="DynamicUser=no\nUser=daemon")
    old = workers(app)
    with serving(app) as report:
        configure(app, *QUICK, service="DynamicUser=no\nUser=games")
        install(app, 2)
        restart(app)
        assert get(app)["version"] == "2"
        wait_until(lambda: not alive(app, *old))

    tell("restart as another user", app, report)
