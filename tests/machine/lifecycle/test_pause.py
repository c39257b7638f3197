"""`sockact pause UNIT` under load: nothing is in flight then, and no client is lost."""

from __future__ import annotations

import json

import pytest

from sockact.protocols.statistics import BEGUN
from tests.support.machine.load import assert_nothing_lost, load
from tests.support.machine.machine import Machine
from tests.support.machine.service import ALONE, configure, get, install, tell, wait_for, wait_until

CLIENTS = ("persistent:16@20", "one-shot:4@10", "slow:2@0.4,seconds=1", "websocket:2@5")
MODES = pytest.mark.parametrize(
    ("options", "more"), [(("--workers=2",), ""), (("--workers=0",), ALONE)], ids=["supervised", "alone"]
)


def start(machine: Machine, *options: str, unit: str) -> None:
    install(machine, 1)
    configure(machine, "--probation=0.1s", *options, service=unit)
    machine.run("systemctl", "start", "app.socket", "app.service")


def begun(machine: Machine) -> int:
    """Return the number of requests of all workers, as their shared memory has it at this moment."""
    words: list[int] = json.loads(call(machine, "status", "--json"))["statistics"]["words"]
    return words[BEGUN]


def call(machine: Machine, *words: str) -> str:
    return machine.run("/opt/app/venv/bin/sockact", *words, "app.service").stdout


@MODES
def test_pauses_lose_nothing(app: Machine, options: tuple[str, ...], more: str) -> None:
    start(app, *options, unit=more)

    with load(app, *CLIENTS) as clients:
        for _ in range(5):
            assert "no request is in flight" in call(app, "pause", "--for=20s")
            before = begun(app)
            assert app.show("app.service", "StatusText")["StatusText"].startswith("gen 1: paused, ")
            assert begun(app) == before
            assert call(app, "resume") == "resumed\n"
            wait_until(lambda before=before: begun(app) > before)  # the number above is no dead one
        report = clients.report()

    assert_nothing_lost(report)
    assert report["loads"][CLIENTS[0]]["reconnects"] == 0
    tell("5 pauses", app, report)


@MODES
def test_a_restart_in_a_pause_serves_what_waits_with_the_new_code(
    app: Machine, options: tuple[str, ...], more: str
) -> None:
    start(app, *options, unit=more)

    with load(app, "persistent:16@20", "one-shot:4@10") as clients:
        call(app, "pause", "--for=60s")
        install(app, 2)
        app.run("systemctl", "restart", "app.service")
        assert get(app)["version"] == "2"
        report = clients.report()

    assert_nothing_lost(report)
    tell("a restart in a pause", app, report)


def test_a_reload_in_a_pause_fails_and_says_why(app: Machine) -> None:
    start(app, "--workers=2", unit="")
    call(app, "pause", "--for=60s")

    done = app.run("systemctl", "reload", "app.service", check=False)

    assert done.returncode == 1
    wait_for(app, "ActiveState=active")
    assert "the service is paused for another" in app.journal("app.service")
    call(app, "resume")
    app.run("systemctl", "reload", "app.service")
