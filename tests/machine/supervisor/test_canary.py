"""A canary under systemd: `systemctl reload` fails with the numbers; no canary outlives its supervisor."""

from __future__ import annotations

import json
import re

from tests.support.machine.load import assert_nothing_lost, load
from tests.support.machine.machine import Machine
from tests.support.machine.service import (
    assert_reload_refused,
    get,
    install,
    main_pid,
    reload,
    wait_for,
    wait_until,
)
from tests.support.machine.supervised import QUICK, SIZE, end, kill, start, workers

SHORT = (*QUICK, "--canary=1", "--canary-for=3s")
LONG = (*QUICK, "--canary=1", "--canary-for=10min")
CLIENTS = ("persistent:16@20", "one-shot:4@10")

FAILS = """
import random
fine = app
async def app(scope, receive, send):
    if scope["type"] == "http" and random.random() < 0.5:
        raise RuntimeError("this release fails")
    await fine(scope, receive, send)
"""


def test_a_release_that_fails_its_requests_is_refused_with_the_numbers(app: Machine) -> None:
    start(app, *SHORT)
    install(app, 2, FAILS)
    with load(app, *CLIENTS) as clients:
        assert_reload_refused(app, r"the canary is worse in .*[0-9.]+ % 5xx.*; the others: 0\.0 % 5xx")
        report = clients.report()
    wait_until(lambda: len(workers(app)) == SIZE)

    outcomes = [each["outcomes"].items() for each in report["loads"].values()]
    lost = {outcome for each in outcomes for outcome, count in each if count}
    assert lost <= {"ok", "wrong"}, report["failures"]  # none but what the app has answered itself


def test_a_release_that_is_as_good_is_taken_over_and_nothing_is_lost(app: Machine) -> None:
    start(app, *SHORT)
    install(app, 2)
    with load(app, *CLIENTS) as clients:
        assert reload(app).returncode == 0
        assert get(app)["version"] == "2"
        report = clients.report()

    assert_nothing_lost(report)
    assert "canary: " in app.journal("app.service")


def test_a_canary_ends_with_its_supervisor_and_the_others_go_on(app: Machine) -> None:
    pid = start(app, *LONG, service="RestartSec=0.3s")
    install(app, 2)
    reloading = app.popen("systemctl", "reload", "app.service")
    wait_until(lambda: get(app)["version"] == "2")
    shown = json.loads(app.run("/opt/app/venv/bin/sockact", "status", "--json", "app").stdout)
    rows = {row["pid"]: row["generation"] for row in shown["workers"]}
    old = {pid for pid, generation in rows.items() if generation == 1}
    (canary,) = rows.keys() - old
    install(app, 3, "raise RuntimeError('broken')")

    kill(app, pid)

    assert end(reloading) != 0
    wait_until(lambda: canary not in workers(app))
    assert old <= workers(app)  # the new supervisor tries again and again, and nobody misses it
    assert get(app)["version"] == "1"
    install(app, 3)
    wait_until(lambda: get(app)["version"] == "3")
    wait_for(app, "SubState=running")
    assert main_pid(app) != pid
    assert re.search(r"worker=\d+ pid=\d+ is left over", app.journal("app.service"))
