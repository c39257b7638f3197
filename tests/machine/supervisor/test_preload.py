"""Workers that are forked from a template, on real systemd and in the sandbox of the shipped unit."""

from __future__ import annotations

import pytest

from tests.support.machine.load import assert_lost_at_most, assert_nothing_lost, load
from tests.support.machine.machine import Machine
from tests.support.machine.service import (
    LIMIT,
    assert_reload_refused,
    get,
    install,
    main_pid,
    processes,
    reload,
    wait_until,
)
from tests.support.machine.supervised import CLIENTS, FEW, QUICK, SIZE, kill, start, workers
from tests.support.processes import TEMPLATE

FORKED = (*QUICK, "--preload")


def names(machine: Machine) -> dict[int, str]:
    """Return the names of the processes of the service, as ps(1) shows them."""
    found = {}
    for pid in processes(machine):
        name = machine.run("cat", f"/proc/{pid}/comm", check=False).stdout.strip()
        if name:
            found[pid] = name
    return found


def templates(machine: Machine) -> set[int]:
    return {pid for pid, name in names(machine).items() if name == TEMPLATE}


def forked(machine: Machine) -> set[int]:
    return workers(machine) - templates(machine)


def test_reloads_and_restarts_with_templates_lose_nothing(app: Machine) -> None:
    start(app, *FORKED)
    with load(app, *FEW, "slow:1@0.4,seconds=2") as clients:
        for version in (2, 3):
            before = templates(app)
            install(app, version)
            reload(app)
            wait_until(lambda gone=before: not templates(app) & gone)  # type: ignore[misc]
        for version in (4, 5):
            install(app, version)
            app.run("systemctl", "restart", "app.service")
        wait_until(lambda: get(app)["version"] == "5")
        wait_until(lambda: (len(templates(app)), len(forked(app))) == (1, SIZE))
        report = clients.report()

    assert_nothing_lost(report)
    assert {seen["version"] for seen in report["seen"]} == {"1", "2", "3", "4", "5"}
    app.run("systemctl", "stop", "app.service")
    assert not processes(app)


def test_a_worker_that_is_killed_loses_what_it_had_in_flight_and_nothing_else(app: Machine) -> None:
    start(app, *FORKED)
    (template,) = templates(app)
    with load(app, *FEW) as clients:
        for _ in range(3):
            before = forked(app)
            kill(app, min(before))
            wait_until(lambda before=before: len(forked(app) - before) == 1)  # type: ignore[misc]
            wait_until(lambda: len(forked(app)) == SIZE)
        report = clients.report()

    assert_lost_at_most(3 * CLIENTS, report)
    assert templates(app) == {template}


def test_the_end_of_a_template_loses_nothing(app: Machine) -> None:
    start(app, *FORKED)
    with load(app, *FEW) as clients:
        (template,) = templates(app)
        serving = forked(app)
        kill(app, template)
        wait_until(lambda: not templates(app) & {template})
        assert forked(app) == serving
        install(app, 2)
        reload(app)
        wait_until(lambda: len(templates(app)) == 1)
        report = clients.report()

    assert_nothing_lost(report)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("x = (", r"SyntaxError: '\(' was never closed"),
        (
            "import threading, time; threading.Thread(target=time.sleep, args=[3600]).start()",
            "thread 'Thread-",
        ),
        ("import socket; server = socket.create_server(('127.0.0.1', 0))", r"a socket, 127\.0\.0\.1:"),
    ],
    ids=["syntax error", "thread", "socket"],
)
def test_a_version_that_cannot_be_forked_never_takes_over(app: Machine, lines: str, reason: str) -> None:
    start(app, *FORKED)
    serving, before = forked(app), templates(app)
    with load(app, *FEW) as clients:
        install(app, 2, lines)

        assert_reload_refused(app, reason)

        wait_until(lambda: (forked(app), templates(app)) == (serving, before))
        report = clients.report()
    assert_nothing_lost(report)
    assert {seen["version"] for seen in report["seen"]} == {"1"}


def test_a_supervisor_that_is_killed_leaves_its_workers_to_the_next_one(app: Machine) -> None:
    """The template goes with it, and the next supervisor imports the app anew."""
    start(app, *FORKED)
    with load(app, *FEW) as clients:
        pid, before = main_pid(app), templates(app)
        kill(app, pid)
        wait_until(lambda: main_pid(app) not in (0, pid))
        wait_until(lambda: len(templates(app) - before) == 1 and not templates(app) & before)
        assert get(app, timeout=LIMIT)["version"] == "1"
        report = clients.report()

    assert_nothing_lost(report)
