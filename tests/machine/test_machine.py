"""The machines themselves: what the other tests here take for granted."""

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.machine.machine import Machine, MachineError, boot
from tests.support.machine.roots import NEWEST

VERSIONS = {"bookworm": range(252, 253), "trixie": range(257, 258), NEWEST: range(262, 1000)}
LIMIT = 60.0
MACHINE = "tests.support.machine.machine"


@pytest.mark.newest
def test_each_release_has_its_own_systemd(machine: Machine, suite: str) -> None:
    assert machine.systemd_version() in VERSIONS[suite]


def test_systemd_has_booted_without_a_failed_unit(machine: Machine) -> None:
    state = machine.run("systemctl", "is-system-running", check=False).stdout.strip()
    failed = machine.run("systemctl", "list-units", "--failed", "--plain", "--no-legend").stdout

    assert (state, failed) == ("running", "")


def test_the_network_is_a_loopback_device_of_its_own(machine: Machine) -> None:
    links = machine.run("ip", "-brief", "link").stdout.splitlines()
    seen_from_outside = subprocess.check_output(machine.network("ip", "-brief", "link"), text=True)

    assert [line.split()[0] for line in links if not line.startswith(("sit0", "tunl0"))] == ["lo"]
    assert links == seen_from_outside.splitlines()
    assert machine.read("/proc/sys/net/core/somaxconn") == "4096\n"


def test_a_failed_command_says_what_it_wrote(machine: Machine) -> None:
    with pytest.raises(MachineError, match=r"(?s)exited with 3 .*to stdout.*to stderr"):
        machine.run("sh", "-c", "echo to stdout; echo to stderr >&2; exit 3")


def test_a_command_which_takes_too_long_is_killed(machine: Machine) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        machine.run("sleep", "4711", timeout=0.5)

    # pidwait ends with 1 when there is nothing to wait for.
    machine.run("pidwait", "-fx", "sleep 4711", check=False, timeout=10)


@pytest.mark.newest
def test_a_sandbox_with_a_user_of_its_own_works(machine: Machine) -> None:
    sandbox = ("DynamicUser", "ProtectHome", "PrivateUsers", "PrivateNetwork", "PrivateDevices")
    options = ["--property=ProtectSystem=strict", *(f"--property={name}=yes" for name in sandbox)]
    command = ["/opt/app/venv/bin/python", "-c", "import os, sockact; assert os.getuid()"]

    machine.run("systemd-run", "--wait", "--quiet", *options, *command)


def test_the_example_is_installed_and_not_started(app: Machine) -> None:
    shown = app.show("app.service", "LoadState", "ActiveState", "UnitFileState")

    assert (shown["LoadState"], shown["ActiveState"]) == ("loaded", "inactive")
    assert 'VERSION = "1"' in app.read("/opt/app/app.py")


def test_files_are_written_with_their_folders(machine: Machine) -> None:
    machine.write("/var/lib/new/folder/file", "text\n", 0o600)

    assert machine.read("/var/lib/new/folder/file") == "text\n"
    assert machine.run("stat", "-c", "%a", "/var/lib/new/folder/file").stdout == "600\n"


def test_equal_units_on_two_machines_do_not_collide(machine: Machine, root: Path) -> None:
    start = ("systemd-run", "--quiet", "--unit=same", "sleep", "infinity")
    machine.run(*start)
    with boot(root, "second") as second:
        second.run(*start)
        second.run("systemctl", "stop", "same")

        assert second.show("same", "ActiveState") == {"ActiveState": "inactive"}
        assert machine.show("same", "ActiveState") == {"ActiveState": "active"}
    assert machine.show("same", "ActiveState") == {"ActiveState": "active"}
    machine.run("systemctl", "stop", "same")


def test_the_journal_is_that_of_the_unit_since_the_time(machine: Machine) -> None:
    machine.run("systemd-run", "--wait", "--quiet", "--unit=talks", "echo", "first words")
    now = float(machine.run("date", "+%s.%N").stdout)
    machine.run("systemd-run", "--wait", "--quiet", "--unit=talks", "echo", "second words")

    assert "first words" in machine.journal("talks")
    assert "first words" not in machine.journal("talks", since=now)
    assert "second words" in machine.journal("talks", since=now)


def test_nothing_is_left_of_a_stopped_machine(root: Path) -> None:
    name = f"stopped-{os.getpid()}"
    with boot(root, name) as stopped:
        stopped.run("systemd-run", "--quiet", "sleep", "infinity")
        assert traces(name, stopped.leader)

    assert not traces(name, stopped.leader)


def test_a_machine_with_many_notifications_stops_at_once(root: Path) -> None:
    """Each reload of systemd is a notification, and a socket which nobody reads holds ten."""
    with boot(root, f"notifies-{os.getpid()}") as machine:
        for _ in range(12):
            machine.run("systemctl", "daemon-reload")
        started = time.monotonic()

    assert time.monotonic() - started < 5


def test_nothing_is_left_of_a_machine_whose_user_was_killed(suite: str, root: Path) -> None:
    script = "echo booted; exec sleep infinity"
    command = [sys.executable, "-m", MACHINE, "--suite", suite, "--", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as user:
        assert select.select([user.stdout], [], [], LIMIT)[0]
        assert user.stdout.readline() == b"booted\n"
        name = f"sockact-{user.pid}"
        keeper = int(subprocess.check_output(["pgrep", "-P", str(user.pid), "-f", "keeper.py"]))
        assert traces(name, keeper)
        keeper_ended = os.pidfd_open(keeper)
        user.kill()

    assert select.select([keeper_ended], [], [], LIMIT)[0]
    os.close(keeper_ended)
    assert not traces(name, user.pid)


def test_a_machine_which_cannot_boot_says_why(suite: str, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"(?s)did not boot.*exited"), boot(tmp_path, "empty"):
        pass


def traces(name: str, pid: int) -> list[str]:
    """Find what a machine may leave on the host: a process, mounts, a control group and what is in it."""
    process = [str(path) for path in [Path("/proc", str(pid))] if path.exists()]
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    stages = [line for line in mounts if "/sockact/stage" in line]
    groups = [str(folder) for folder in Path("/sys/fs/cgroup").glob(f"**/sockact-*-{name}")]
    return [*process, *stages, *groups]
