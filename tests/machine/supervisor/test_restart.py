"""`systemctl restart` under the shipped unit: workers go on until those of the next supervisor serve."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.machine.load import assert_nothing_lost, load
from tests.support.machine.machine import Machine
from tests.support.machine.service import configure, get, install, main_pid, tell

QUICK = ("--workers=2", "--probation=0.1s")
CLIENTS = ("persistent:16@20", "one-shot:8@10", "slow:4@0.2,seconds=4")
RESTARTS = 100


def start(machine: Machine, *options: str, unit: str = "") -> int:
    install(machine, 1)
    configure(machine, *QUICK, *options, service=unit)
    machine.run("systemctl", "start", "app.socket", "app.service")
    return main_pid(machine)


def test_a_restart_loses_no_request_and_closes_no_connection(
    app: Machine, rounds: Callable[..., int]
) -> None:
    pid = start(app)
    with load(app, *CLIENTS) as clients:
        for version in range(2, rounds(RESTARTS, 10) + 2):
            install(app, version)
            app.run("systemctl", "restart", "app.service")
            assert get(app)["version"] == str(version)
            assert main_pid(app) != pid
        report = clients.report()

    assert_nothing_lost(report)
    tell(f"{rounds(RESTARTS, 10)} times restart", app, report)
