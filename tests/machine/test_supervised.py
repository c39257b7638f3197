"""A supervised service on real systemd."""

from __future__ import annotations

import pytest
from load import assert_nothing_lost, load
from machine import Machine
from test_service import ROUNDS, configure, get, install, main_pid, tell, wait_for


@pytest.mark.parametrize("workers", [1, 4])
def test_nobody_is_lost_over_reloads_beside_the_old_workers(app: Machine, workers: int) -> None:
    install(app, 1)
    configure(app, f"--workers={workers}", "--probation=0.2s")
    app.run("systemctl", "start", "app.socket")
    with load(app) as clients:
        wait_for(app, "SubState=running")  # the first worker serves before the last one is ready
        pid = main_pid(app)
        for version in range(2, ROUNDS + 2):
            install(app, version)
            app.run("systemctl", "reload", "app.service")
            shown = app.show("app.service", "SubState", "MainPID", "StatusText")
            assert shown.pop("StatusText").startswith(f"gen {version}: {workers} worker")
            assert shown == {"SubState": "running", "MainPID": str(pid)}
        report = clients.report()

    assert_nothing_lost(report)
    versions = {seen["version"] for seen in report["seen"]}
    assert versions == {str(version) for version in range(1, ROUNDS + 2)}
    tell(f"{ROUNDS} times reload with {workers} workers", app, report)


def test_a_broken_version_never_takes_over(app: Machine) -> None:
    install(app, 1)
    configure(app, "--workers=2", "--probation=0.2s")
    app.run("systemctl", "start", "app.socket")
    with load(app, "one-shot:2@20", "persistent:2@10") as clients:
        wait_for(app, "SubState=running")
        install(app, 2, "x = (")
        refused = app.run("systemctl", "reload", "app.service", check=False)

        assert refused.returncode != 0
        assert "SyntaxError: '(' was never closed" in app.show("app.service", "StatusText")["StatusText"]
        assert get(app)["version"] == "1"
        report = clients.report()
    assert_nothing_lost(report)
    assert {seen["version"] for seen in report["seen"]} == {"1"}
