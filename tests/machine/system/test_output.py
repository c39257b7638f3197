"""Log lines reach the journal on real systemd: also where its socket does not, and while a worker lives."""

from __future__ import annotations

import time

import pytest

from tests.support.machine.machine import Machine
from tests.support.machine.service import configure, get, install, main_pid, reload, wait_until

OUT_OF_REACH = "InaccessiblePaths=-/run/systemd/journal"
"""As in a `RootDirectory=` that has no such socket; what systemd opens before is not affected."""


def entries(machine: Machine, since: float, *options: str) -> list[str]:
    """Return the messages of the service, without what systemd says of it."""
    machine.run("journalctl", "--sync")
    command = ("journalctl", "-o", "cat", "--unit=app.service", f"--since=@{since:.6f}", *options)
    return machine.run(*command).stdout.splitlines()


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "supervised"])
def test_without_the_journals_socket_the_journal_says_why_code_does_not_start(
    app: Machine, alone: bool
) -> None:
    install(app, 1)
    more = "\nEnvironment=SOCKACT_WORKERS=0\nKillMode=mixed" if alone else ""
    configure(app, service=OUT_OF_REACH + more)
    since = time.time()
    app.run("systemctl", "start", "app.socket")
    get(app)
    pid = main_pid(app)
    assert app.run("test", "-S", f"/proc/{pid}/root/run/systemd/journal/socket", check=False).returncode
    wait_until(lambda: "gen 1 is ready" in entries(app, since))

    install(app, 2, "def fail():", "    raise RuntimeError('no database')", "fail()")
    assert reload(app, check=False).returncode
    assert app.run("systemctl", "restart", "app.service", check=False).returncode

    errors = entries(app, since, "--priority=err")
    assert any(line.startswith("reload failed: app cannot be imported: RuntimeError") for line in errors)
    assert "app cannot be imported: RuntimeError: no database" in errors
    assert any(line.strip() == "raise RuntimeError('no database')" for line in errors)
    assert not any(line.startswith("<") for line in entries(app, since))
    assert "gen 1 is ready" not in errors


def test_what_an_app_prints_is_in_the_journal_while_its_worker_lives(app: Machine) -> None:
    printing = (
        "inner = app",
        "async def app(scope, receive, send):",
        "    print('seen', scope.get('path'))",
        "    await inner(scope, receive, send)",
    )
    install(app, 1, *printing)
    since = time.time()
    app.run("systemctl", "start", "app.socket")

    get(app)

    wait_until(lambda: "seen /" in entries(app, since))
    app.run("systemctl", "kill", "--signal=KILL", "app.service")
