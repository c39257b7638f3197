"""`systemctl stop` under busy clients: systemd closes what it has stored, so nothing may be stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sockact.protocols.environment import GENERATION
from tests.support.machine.load import assert_nothing_lost, load
from tests.support.machine.machine import Machine
from tests.support.machine.service import ALONE, configure, get, install, main_pid, stored, tell, wait_until

CLIENTS = ("persistent:16@20", "one-shot:8@10", "slow:4@0.4,seconds=2")
DRAINING = (*CLIENTS[:2], "slow:4@max,seconds=2")
"""With these most drains are not over before the stop comes."""

STOPS = 50

WAITING = 12
"""Descriptors in the store that are a sign of connections in it: without these it has two."""

# Without the line that asks systemd: the service then asks by itself, and nobody answers in its sandbox.
NOT_ASKED = "ExecStop="
# With it: as root. The folders of a dynamic user are links, which would be in its way.
ASKS_ITSELF = f"{NOT_ASKED}\nDynamicUser=no\nRuntimeDirectory=\nCacheDirectory=\nEnvironment=TMPDIR=/tmp"

# What sockact took each stop for: a restart, over which connections wait in the store. With another
# KillMode= its workers would drain after the stop.
TAKEN_FOR_A_RESTART = 'KillMode=mixed\nExecStop=\nExecStop=+/bin/sh -c "kill -s URG $MAINPID"'


STARTING = "/run/app/starting"
SLOW_IMPORT = f"""
pathlib.Path("{STARTING}").touch()
time.sleep(0.5)
"""
SLOW_STARTUP = f"""
async def _lifespan(receive, send, lifespan=_lifespan):
    pathlib.Path("{STARTING}").touch()
    await asyncio.sleep(0.5)
    await lifespan(receive, send)
"""


def start(machine: Machine, *options: str, unit: str = "") -> None:
    install(machine, 1)
    configure(machine, "--probation=0.1s", *options, service=unit)
    machine.run("systemctl", "start", "app.socket", "app.service")


def stops_under_load(machine: Machine, rounds: int) -> dict[str, Any]:
    """Stop the service so many times; whoever waits in the socket's queue starts it again."""
    with load(machine, *CLIENTS) as clients:
        for _ in range(rounds):
            machine.run("systemctl", "stop", "app.service")
            get(machine)
        return clients.report()


@pytest.mark.parametrize("unit", ["", NOT_ASKED], ids=["as shipped", "systemd is not asked"])
@pytest.mark.parametrize(
    ("options", "more"), [(("--workers=2",), ""), ((), ALONE)], ids=["supervised", "alone"]
)
def test_a_stop_loses_no_request(
    app: Machine, options: tuple[str, ...], more: str, unit: str, rounds: Callable[..., int]
) -> None:
    start(app, *options, unit=f"{more}\n{unit}")

    report = stops_under_load(app, rounds(STOPS, 10))

    assert_nothing_lost(report)
    tell(f"{rounds(STOPS, 10)} times stop", app, report)


@pytest.mark.parametrize("line", [SLOW_IMPORT, SLOW_STARTUP], ids=["import", "startup"])
def test_a_stop_in_the_start_of_a_restart_loses_no_request(
    app: Machine, line: str, rounds: Callable[..., int]
) -> None:
    start(app, unit=ALONE)
    install(app, 1, "import pathlib, time", line)

    with load(app, *CLIENTS[:2]) as clients:
        for _ in range(rounds(STOPS, 10)):
            app.run("rm", "-f", STARTING)
            app.run("systemctl", "--no-block", "restart", "app.service")
            wait_until(lambda: not app.run("cat", STARTING, check=False).returncode)
            app.run("systemctl", "stop", "app.service")
            get(app)
        report = clients.report()

    assert_nothing_lost(report)
    tell(f"{rounds(STOPS, 10)} times restart, and stop in its start", app, report)


def test_a_stop_that_is_taken_for_a_restart_is_seen_to_lose_requests(app: Machine) -> None:
    start(app, "--workers=2", unit=TAKEN_FOR_A_RESTART)

    report = stops_under_load(app, 5)

    assert report["lost"] > 0
    tell("5 times stop, taken for a restart", app, report)


def overtaken_restarts_under_load(machine: Machine, rounds: int) -> dict[str, Any]:
    """Restart the service so many times, and each time stop it while connections wait for the restart."""
    with load(machine, *DRAINING) as clients:
        for _ in range(rounds):
            before = main_pid(machine)
            machine.run("systemctl", "--no-block", "restart", "app.service")
            wait_until(lambda before=before: stored(machine) >= WAITING or main_pid(machine) != before)
            machine.run("systemctl", "stop", "app.service")
            get(machine)
        return clients.report()


@pytest.mark.parametrize(
    ("options", "unit"),
    [((), ALONE), (("--workers=2",), "KillMode=mixed"), ((), f"{ALONE}\n{ASKS_ITSELF}")],
    ids=["alone", "supervised", "it asks itself"],
)
def test_a_stop_that_overtakes_a_restart_loses_no_request(
    app: Machine, options: tuple[str, ...], unit: str, rounds: Callable[..., int]
) -> None:
    start(app, *options, unit=unit)

    report = overtaken_restarts_under_load(app, rounds(STOPS, 10))

    assert_nothing_lost(report)
    assert "a stop takes the place of the restart" in app.journal("app.service")
    tell(f"{rounds(STOPS, 10)} times restart and stop", app, report)


MAIN = "$(systemctl show --value --property=MainPID app.service)"
EXECUTED = f"grep -qz '^{GENERATION}=2$' /proc/{MAIN}/environ"
"""Whether the main process has executed new code; the trial before that is another process."""


def test_a_stop_in_the_first_moment_of_a_reload_in_place_loses_no_request(
    app: Machine, rounds: Callable[..., int]
) -> None:
    """Systemd is not asked before SIGTERM comes: that would take longer than the moment."""
    start(app, unit=f"{ALONE}\n{NOT_ASKED}")

    with load(app, *CLIENTS[:2]) as clients:
        for _ in range(rounds(STOPS, 10)):
            app.run("systemctl", "--no-block", "reload", "app.service")
            wait_until(lambda: not app.run("sh", "-c", EXECUTED, check=False).returncode)
            app.run("systemctl", "stop", "app.service")
            get(app)
        report = clients.report()

    assert_nothing_lost(report)
    tell(f"{rounds(STOPS, 10)} times reload, and stop in its new code", app, report)
