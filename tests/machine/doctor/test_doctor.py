"""`sockact doctor` on a machine: nothing where all is well, and each fault that is planted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.support.machine.machine import Machine
from tests.support.machine.service import get, install, main_pid, reload, wait_for, wait_until

DOCTOR = ("/opt/app/venv/bin/sockact", "doctor")
DROP_IN = "/etc/systemd/system/app.{kind}.d/planted.conf"


@pytest.fixture
def healthy(app: Machine) -> Iterator[Machine]:
    """Give a machine with the example as README installs it: enabled, started, and in use."""
    install(app, 1)
    app.run("systemctl", "daemon-reload")
    app.run("systemctl", "enable", "--now", "app.socket")
    get(app)
    wait_for(app, "ActiveState=active")
    yield app
    app.run("systemctl", "thaw", "app.service", check=False)


def troubles(machine: Machine, *words: str) -> tuple[int, set[str], str]:
    """Return the exit status, the names of the troubles, and the page."""
    done = machine.run(*DOCTOR, *words, check=False)
    assert done.stderr == ""
    return done.returncode, set(re.findall(r"^  !!  ([\w-]+): ", done.stdout, re.MULTILINE)), done.stdout


def test_a_good_machine_has_no_trouble(healthy: Machine) -> None:
    reload(healthy)

    assert troubles(healthy, "app")[:2] == (0, set())
    assert troubles(healthy, "app.socket")[:2] == (0, set())
    assert troubles(healthy)[:2] == (0, set())
    print(healthy.run(*DOCTOR, "app").stdout)


def test_the_page_tells_versions_workers_store_and_queue(healthy: Machine) -> None:
    page = troubles(healthy, "app")[2]

    assert f"systemd {healthy.systemd_version()}," in page
    assert "1 of 1 workers ready" in page
    assert re.search(r"systemd stores \d+ of 4096 descriptors", page)
    assert "net.core.somaxconn=4096" in page
    assert ("RestartSteps=5" in page) is (healthy.systemd_version() >= 254)
    assert json.loads(healthy.run(*DOCTOR, "app", "--json").stdout)["service"]


def drop_in(text: str, kind: str = "service") -> str:
    path = DROP_IN.format(kind=kind)
    return f"mkdir -p {path.rpartition('/')[0]}; printf '{text}' >{path}; systemctl daemon-reload"


PLANTED = {
    "queue-cut": ("sysctl -qw net.core.somaxconn=128", "sysctl -qw net.core.somaxconn=4096"),
    "full-queue-resets": (
        "sysctl -qw net.ipv4.tcp_abort_on_overflow=1",
        "sysctl -qw net.ipv4.tcp_abort_on_overflow=0",
    ),
    "filesystem-full": (
        "mount -t tmpfs -o size=64k none /tmp; head -c 1M /dev/zero >/tmp/full 2>/dev/null || :",
        "umount /tmp",
    ),
    "unit-changed": (drop_in("[Service]\\nNice=1\\n").removesuffix("; systemctl daemon-reload"), ":"),
    "sockets-changed": (
        drop_in("[Socket]\\nListenStream=\\nListenStream=127.0.0.1:8009\\n", "socket"),
        ":",
    ),
    "socket-inactive": ("systemctl stop app.socket", ":"),
    "not-enabled": ("systemctl disable --quiet app.socket", ":"),
    "service-failed": (drop_in("[Service]\\nRestart=no\\n") + "; systemctl kill -s KILL app.service", ":"),
    "store-full": (
        drop_in("[Service]\\nFileDescriptorStoreMax=4\\nEnvironment=FDSTORE=4\\n")
        + "; systemctl stop app.service; systemctl start app.service",
        ":",
    ),
    "package-missing": (
        "cd /opt/app/venv/lib/python3*/site-packages; mkdir /tmp/away; mv httptools-*.dist-info /tmp/away",
        "cd /opt/app/venv/lib/python3*/site-packages; mv /tmp/away/* .; rmdir /tmp/away",
    ),
    "unit-bad": (drop_in("[Service]\\nExecStart=/bin/true\\n"), ":"),
    "kill-mode-control-group": (drop_in("[Service]\\nKillMode=control-group\\n"), ":"),
    "environment-file-missing": (drop_in("[Service]\\nEnvironmentFile=/nowhere\\n"), ":"),
    "wrong-section": (drop_in("[Service]\\nStartLimitBurst=3\\nAfter=x.service\\n"), ":"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(healthy: Machine, name: str) -> None:
    plant, undo = PLANTED[name]
    healthy.run("sh", "-euc", plant)
    try:
        status, found, _ = troubles(healthy, "app")
    finally:
        healthy.run("sh", "-c", undo)

    assert name in found
    assert status == 1


def test_a_python_that_was_removed_is_found_by_another(healthy: Machine) -> None:
    packages = healthy.run("sh", "-c", "echo /opt/app/venv/lib/python3*/site-packages").stdout.strip()
    python = "/opt/app/venv/bin/python3"
    healthy.run("mv", python, f"{python}.away")
    healthy.run("ln", "-s", "/nowhere/python3.11", python)
    try:
        command = ("/usr/bin/python3", "-m", "sockact", "doctor", "app")
        page = healthy.run(*command, check=False, env={"PYTHONPATH": packages}).stdout
    finally:
        healthy.run("mv", f"{python}.away", python)

    assert "!!  interpreter-missing: " in page
    assert "!!  program-missing: " in page  # of ExecStart=, as systemd would say


def test_a_refused_reload_is_found_with_its_reason(healthy: Machine) -> None:
    install(healthy, 2, "raise RuntimeError('no database')")
    assert reload(healthy, check=False).returncode != 0

    status, found, page = troubles(healthy, "app")

    assert (status, found) == (1, {"reload-refused"})
    assert "no database" in page


def test_an_app_that_does_not_start_is_found(healthy: Machine) -> None:
    healthy.run("systemctl", "stop", "app.service")
    install(healthy, 2, "raise RuntimeError('no database')")
    healthy.run("systemctl", "start", "app.service", check=False)
    wait_until(lambda: healthy.show("app.service", "SubState")["SubState"] == "auto-restart")

    assert "service-does-not-start" in troubles(healthy, "app")[1]


def test_an_app_with_a_syntax_error_is_found_before_it_is_started(healthy: Machine) -> None:
    healthy.write("/opt/app/app.py", "app = (\n")

    status, found, page = troubles(healthy, "app")

    assert (status, found) == (1, {"app-not-importable"})
    assert "/opt/app/app.py, line 1" in page


def test_a_main_process_that_hangs_is_found(healthy: Machine) -> None:
    pid = str(main_pid(healthy))
    healthy.run("kill", "-STOP", pid)
    try:
        assert "silent" in troubles(healthy, "app")[1]
    finally:
        healthy.run("kill", "-CONT", pid)


def test_many_restarts_are_found(healthy: Machine) -> None:
    healthy.run("sh", "-euc", drop_in("[Service]\\nRestartSec=100ms\\n"))
    for count in range(5):
        healthy.run("kill", "-KILL", str(main_pid(healthy)))
        wait_for(healthy, f"NRestarts={count + 1}")
        wait_for(healthy, "ActiveState=active")

    assert "restarts-often" in troubles(healthy, "app")[1]


def test_a_service_that_is_not_sockacts_is_looked_at_too(app: Machine) -> None:
    status, found, page = troubles(app, "systemd-journald")

    assert "systemd-journald.service is active (running)" in page
    assert "silent" not in found
    assert status in (0, 1)


def test_a_service_that_does_not_exist_is_wrong_usage(app: Machine) -> None:
    done = app.run(*DOCTOR, "nothing", check=False)

    assert done.returncode == 64
    assert done.stderr.startswith("sockact: nothing: no such unit")
