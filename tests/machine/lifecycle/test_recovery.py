"""Automatic restarts: how fast they come, and how much the log then says."""

from __future__ import annotations

import time

import pytest

from tests.support.machine.machine import Machine
from tests.support.machine.service import main_pid, wait_for, wait_until
from tests.support.machine.supervised import QUICK, kill, start

STEPS = "RestartSec=100ms\nRestartSteps=5\nRestartMaxDelaySec=20s\n"
DEBUG = "RestartSec=100ms\nRestartMode=debug\n"
RECOVERED = "systemd may restart the service as fast as after the first one"


def restart_after_death(app: Machine) -> float:
    """Kill the main process, and wait until the next one has started; return when it was killed."""
    pid, since = main_pid(app), time.time()
    kill(app, pid)
    wait_until(lambda: main_pid(app) not in (0, pid))
    wait_for(app, "ActiveState=active")
    return since


@pytest.mark.newest
def test_a_service_that_has_proved_itself_is_restarted_as_fast_as_at_first(app: Machine) -> None:
    start(app, *QUICK, "--log-level=debug", service=STEPS)
    since = restart_after_death(app)
    assert app.show("app.service", "NRestarts") == {"NRestarts": "1"}

    wait_until(lambda: RECOVERED in app.journal("app.service", since=since))

    if app.systemd_version() >= 258:
        wait_for(app, "NRestarts=0")
    else:  # which ignores what it does not know
        assert app.show("app.service", "NRestarts", "ActiveState") == {
            "NRestarts": "1",
            "ActiveState": "active",
        }
        journal = app.journal("app.service", since=since)
        assert "RESTART_RESET" not in journal


@pytest.mark.newest
def test_after_a_failure_the_log_says_more_where_the_unit_asks_for_it(app: Machine) -> None:
    began = time.time()
    start(app, *QUICK, service=DEBUG)
    assert "phase=active" not in app.journal("app.service", since=began)

    since = restart_after_death(app)

    journal = app.journal("app.service", since=since)
    assert "gen 2 is ready" in journal
    assert ("phase=active: the start is done" in journal) == (app.systemd_version() >= 257)
