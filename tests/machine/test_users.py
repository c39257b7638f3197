"""A service of a user's own manager, on real systemd: nobody is lost by what its user does to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from subprocess import CompletedProcess

import pytest

from tests.support.machine.load import assert_nothing_lost, load
from tests.support.machine.machine import Machine
from tests.support.machine.service import load_app, wait_until

USER, UID, HOME = "alice", 1234, "/home/alice"
RUNTIME = f"/run/user/{UID}"
PORT = 8044
SOCKACT = "/opt/app/venv/bin/sockact"
LOADS = ("one-shot:2@20", "persistent:2@10", "slow:1@0.4,seconds=1")
UNIT = """
[Unit]
StartLimitIntervalSec=0
[Service]
Type=notify
ExecStart={SOCKACT} run --chdir {HOME}/web --workers={count} --probation=0.1s --keep-alive=1h app:app
ExecReload={SOCKACT} reload
{more}
FileDescriptorStoreMax=1024
Environment=FDSTORE=1024
KillMode=mixed
ExitType={exit_type}
"""


@pytest.fixture
def user(app: Machine) -> Iterator[Machine]:
    """Give a machine with a user, whose manager runs as if the user lingered."""
    app.run("useradd", "--create-home", f"--uid={UID}", USER)
    # What pam_systemd(8) would say; not every root has it.
    app.write(
        "/etc/systemd/system/user@.service.d/test.conf",
        f"[Service]\nEnvironment=XDG_RUNTIME_DIR={RUNTIME}\n",
    )
    app.run("systemctl", "daemon-reload")
    app.run("systemctl", "start", f"user@{UID}.service")
    yield app
    app.run("systemctl", "stop", f"user@{UID}.service", f"user-runtime-dir@{UID}.service")
    app.run("rm", "-rf", "/etc/systemd/system/user@.service.d")
    app.run("systemctl", "daemon-reload")
    app.run("userdel", "--remove", USER, check=False)


def as_user(machine: Machine, *argv: str, check: bool = True) -> CompletedProcess[str]:
    become = ("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--reset-env")
    return machine.run(*become, "env", f"XDG_RUNTIME_DIR={RUNTIME}", *argv, check=check)


def systemctl(machine: Machine, *argv: str) -> None:
    as_user(machine, "systemctl", "--user", *argv)


def install(machine: Machine, version: int) -> None:
    machine.write(f"{HOME}/web/app.py", load_app(version))


def main_pid(machine: Machine) -> int:
    return int(
        as_user(machine, "systemctl", "--user", "show", "--property=MainPID", "--value", "web").stdout
    )


def deploy_three_times(machine: Machine) -> None:
    """Reload, restart and reload, each with the next version, which has answered before the next step."""
    for version, verb in enumerate(("reload", "restart", "reload"), 2):
        install(machine, version)
        systemctl(machine, verb, "web.service")
        wait_until(lambda version=version: asked(machine) == str(version))  # type: ignore[misc]


def asked(machine: Machine) -> str:
    """Ask the service once, and return its version."""
    script = f"import json, urllib.request as u; print(json.load(u.urlopen('http://127.0.0.1:{PORT}'))['version'])"
    return machine.run("python3", "-c", script).stdout.strip()


def status(machine: Machine, *options: str) -> dict[str, str]:
    return json.loads(as_user(machine, SOCKACT, "status", "--json", *options, "web").stdout)


@pytest.mark.parametrize(
    ("count", "more"),
    [(2, "RuntimeDirectory=web"), (1, ""), (0, "")],
    ids=["2 workers", "1 worker, no RuntimeDirectory", "alone, no RuntimeDirectory"],
)
def test_a_service_of_a_users_manager_is_reloaded_restarted_and_stopped_without_a_loss(
    user: Machine, count: int, more: str
) -> None:
    exit_type = "cgroup" if count else "main"
    units = f"{HOME}/.config/systemd/user"
    text = UNIT.format(SOCKACT=SOCKACT, HOME=HOME, count=count, more=more, exit_type=exit_type)
    user.write(f"{units}/web.service", text)
    user.write(f"{units}/web.socket", f"[Socket]\nListenStream=127.0.0.1:{PORT}\n")
    user.run("chown", "-R", f"{USER}:", HOME)
    install(user, 1)
    systemctl(user, "daemon-reload")
    systemctl(user, "start", "web.socket", "web.service")
    with load(user, *LOADS, port=PORT) as clients:
        deploy_three_times(user)
        report = clients.report()
    assert_nothing_lost(report)
    assert {seen["version"] for seen in report["seen"]} == set("1234")
    assert report["loads"]["persistent:2@10"]["connections"] == 2  # over the restart, too

    assert as_user(user, SOCKACT, "reload", "web").stdout == "gen 3 is ready\n"
    assert as_user(user, SOCKACT, "reload", "--user", "web").stdout == "gen 4 is ready\n"
    assert status(user)["pid"] == status(user, "--user")["pid"]
    refused = user.run(SOCKACT, "status", "web", check=False)  # root's manager is the system's
    assert (refused.returncode, refused.stderr) == (64, "sockact: unit web is not-found\n")

    with load(user, *LOADS, port=PORT) as clients:
        pid = main_pid(user)
        systemctl(user, "stop", "web.service")
        wait_until(lambda: main_pid(user) not in (0, pid))  # the clients have started it again
        report = clients.report()
    assert_nothing_lost(report)
    systemctl(user, "stop", "web.socket", "web.service")
    left = user.run("sh", "-c", f"ls -d {RUNTIME}/sockact* {RUNTIME}/web /tmp/sockact*", check=False)
    assert not left.stdout


def test_units_are_written_for_a_users_manager(user: Machine) -> None:
    install(user, 1)
    user.run("chown", "-R", f"{USER}:", HOME)
    wish = (
        "app:app",
        "--chdir",
        f"{HOME}/web",
        "--name",
        "web",
        "--listen",
        f"127.0.0.1:{PORT}",
        "--workers=2",
    )
    # Else a version of the same size and second would be taken for the one before, whose cache is valid.
    limits = ("--probation=0.1s", "--keep-alive=1h", "--env=PYTHONDONTWRITEBYTECODE=1")
    command = (SOCKACT, "units", *wish, *limits, "--manager", "user", "--install", "--now")
    said = as_user(user, "env", f"HOME={HOME}", *command)

    assert said.stdout.endswith("web.service is started: systemctl --user status web.service\n")
    assert said.stderr == ""
    with load(user, *LOADS, port=PORT) as clients:
        deploy_three_times(user)
        report = clients.report()
    assert_nothing_lost(report)
    assert {seen["version"] for seen in report["seen"]} == set("1234")
    systemctl(user, "stop", "web.socket", "web.service")
