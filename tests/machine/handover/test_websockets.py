"""WebSockets on real systemd that outlive processes, for clients that count every message both ways."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.machine.machine import Machine
from tests.support.machine.service import processes, start_as, wait_until
from tests.support.numbered import APP, Numbered, assert_nothing_lost

RELOADS, RESTARTS, COUNT = 20, 5, 1000
SLOW = "/?1"
"""Each WebSocket sends a number a second then, and gets its echo and another number."""


def install(machine: Machine, version: int) -> None:
    machine.write("/opt/app/app.py", APP.read_text().replace('VERSION = "1"', f'VERSION = "{version}"'))


def numbered(machine: Machine, count: int, path: str) -> Numbered:
    prefix = machine.network("prlimit", "--nofile=4096")
    return Numbered(f"ws://127.0.0.1:8000{path}", count, 1 if path == SLOW else 20, prefix)


@pytest.fixture(params=["alone", "supervised"])
def moving(app: Machine, request: pytest.FixtureRequest) -> Machine:
    """Give a machine with the service of the app whose WebSockets move."""
    install(app, 1)
    start_as(request.param, app)
    return app


def test_no_number_is_lost_over_reloads_and_restarts(moving: Machine, rounds: Callable[..., int]) -> None:
    count = rounds(COUNT, part=10)
    changes = ["reload"] * rounds(RELOADS, part=10) + ["restart"] * rounds(RESTARTS, part=2)
    with numbered(moving, count, SLOW) as clients:
        for version, verb in enumerate(changes, start=2):
            install(moving, version)
            moving.run("systemctl", verb, "app.service", timeout=180)
        report = clients.report()

    assert_nothing_lost(report)
    print(f"{moving.name}: {count} WebSockets over {len(changes)} changes: {report['counts']}")


@pytest.mark.parametrize("verb", ["reload", "restart"])
def test_a_state_that_forgets_a_message_is_seen(moving: Machine, verb: str) -> None:
    with numbered(moving, 10, "/forgets") as clients:
        before = len(processes(moving))
        moving.run("systemctl", verb, "app.service")
        wait_until(lambda: len(processes(moving)) == before)  # the old workers have handed all of them over
        report = clients.report()

    assert report["failures"]["echoed: twice"] >= 10


def test_a_websocket_that_does_not_move_is_seen(moving: Machine) -> None:
    with numbered(moving, 10, "/stays") as clients:
        moving.run("systemctl", "reload", "app.service")
        report = clients.report()

    assert report["failures"] == {"closed: 1012": 10}
