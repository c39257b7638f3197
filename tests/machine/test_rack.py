"""Three machines behind HAProxy and nginx, brought to a new release one by one: docs/rolling.md."""

from __future__ import annotations

import io
import re
import sys
import tarfile
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from tests.support.machine.load import assert_nothing_lost
from tests.support.machine.machine import obstacle
from tests.support.machine.partners import Nginx
from tests.support.machine.rack import SERVERS, Rack, RackHaproxy, address, files_of, rack, release
from tests.support.machine.roots import CHECKOUT, prepare, root_for
from tests.support.machine.service import tell, wait_until

CLIENTS = ("one-shot:1@20", "persistent:3@10", "slow:1@0.4,seconds=2")
(LOOP,) = re.findall(r"```bash\n(.*?)```", (CHECKOUT / "docs/rolling.md").read_text(), re.DOTALL)
UNITS = ("app-agent.socket", "app.socket", "app.service")
"""In the order in which no connection starts the service again, or starts it without one of them."""
SECRET = "/etc/app.key"
NEEDS_SECRET = f"if os.environ.get('RUNTIME_DIRECTORY'):\n    open({SECRET!r}).close()"
"""In a release: only as a service, so that its trial before it does not see it."""


@pytest.fixture(scope="module", params=["trixie"])  # of one release, for the time that it takes
def machines(
    request: pytest.FixtureRequest,
    lacking: Callable[[str], NoReturn],
    needs: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Rack]:
    """Boot all machines, for all tests of this module."""
    if reason := obstacle():
        lacking(reason)
    needs("ssh-keygen", "clients")
    root = root_for(request.param)
    prepare(root, "partners", "ssh")
    with rack(root, tmp_path_factory.mktemp("operator")) as machines:
        yield machines


@pytest.fixture
def ready(machines: Rack) -> Iterator[Rack]:
    """Give machines that serve the first release, all of which have what the others need."""
    yield machines
    for machine in machines.servers.values():
        machine.run("ln", "-sfT", "releases/1", "/opt/app/current")
        machine.run("systemctl", "start", *UNITS)
        machine.run("systemctl", "reload", "app.service")


@pytest.fixture
def lose(ready: Rack) -> Iterator[None]:
    """Take what the third release needs from the second machine."""
    for name, machine in ready.servers.items():
        if name != "app2":
            machine.write(SECRET, "")
    yield
    for machine in ready.servers.values():
        machine.run("rm", "-f", SECRET)


class Loads:
    """Clients of both proxies."""

    def __init__(self, rack: Rack) -> None:
        self._rack = rack
        self.reports: dict[str, dict[str, Any]] = {}

    def run(self, roll: Callable[[RackHaproxy], None]) -> list[list[str]]:
        """Roll under load; return the complaints of the proxies."""
        with self._rack.proxies() as haproxy:
            nginx = Nginx(self._rack.front)
            with self._rack.load("HAProxy", *CLIENTS) as one, self._rack.load("nginx", *CLIENTS) as other:
                roll(haproxy)
                self.reports = {"HAProxy": one.report(), "nginx": other.report()}
            return [haproxy.complaints(), nginx.complaints()]

    def versions(self) -> list[set[str]]:
        return [{seen["version"] for seen in report["seen"]} for report in self.reports.values()]

    def assert_nothing_lost(self, what: str) -> None:
        for name, report in self.reports.items():
            tell(f"{what}, behind {name}", self._rack.front, report)
            assert_nothing_lost(report)


def by_shell(rack: Rack, version: int, *lines: str) -> int:
    """Copy a release to all machines, and roll it as the page says; return the exit status."""
    for machine in rack.servers.values():
        release(machine, version, *lines)
    done = rack.operate("bash", "-c", LOOP.replace("release=43", f"release={version}"))
    print(done.stdout)
    return done.returncode


def by_ansible(rack: Rack, version: int, *lines: str, expected: str = "") -> int:
    """Roll an archive with a release by the playbook, which expects its version; return the exit status."""
    archive = rack.folder / f"{version}.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, text in files_of(version, *lines).items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    inventory = rack.folder / "hosts.ini"
    python = "ansible_python_interpreter=/usr/bin/python3"  # rather than to look for one
    inventory.write_text("\n".join([*SERVERS, "[all:vars]", python, ""]))
    given = {"release": version, "archive": archive, "version": expected or version, "keep": 3}
    values = [word for name, value in given.items() for word in ("-e", f"sockact_{name}={value}")]
    playbook = ("-m", "ansible", "playbook", "-i", inventory, "units/ansible/roll.yml")
    done = rack.operate(
        sys.executable,
        *playbook,
        *values,
        ANSIBLE_HOME=str(rack.folder / "ansible"),
        ANSIBLE_SSH_EXECUTABLE=str(rack.folder / "bin/ssh"),
        ANSIBLE_SSH_ARGS="-o ControlMaster=auto -o ControlPersist=5s",
        ANSIBLE_SSH_TRANSFER_METHOD="piped",
        ANSIBLE_REMOTE_USER="root",
        ANSIBLE_PIPELINING="true",
        ANSIBLE_NOCOLOR="1",
    )
    print(done.stdout)
    return done.returncode


@pytest.mark.parametrize("roll", [by_shell, by_ansible])
def test_a_roll_ends_at_the_machine_that_refuses_the_release_and_goes_on_when_that_is_repaired(
    ready: Rack, lose: None, roll: Callable[..., int]
) -> None:
    loads = Loads(ready)

    def rolls(_: RackHaproxy) -> None:
        assert roll(ready, 2, NEEDS_SECRET) != 0
        wait_until(lambda: ready.versions() == ["2", "1", "1"])
        assert ready.links() == ["releases/2", "releases/1", "releases/1"]

        ready.servers["app2"].write(SECRET, "")
        assert roll(ready, 2, NEEDS_SECRET) == 0
        wait_until(lambda: ready.versions() == ["2", "2", "2"])
        assert ready.links() == ["releases/2"] * 3

    complaints = loads.run(rolls)

    loads.assert_nothing_lost(f"a roll that is refused, and another one, {roll.__name__}")
    assert complaints == [[], []]
    assert loads.versions() == [{"1", "2"}] * 2


def test_the_role_takes_back_what_fails_its_trial_or_has_another_version_and_removes_what_is_old(
    ready: Rack, pytestconfig: pytest.Config
) -> None:
    if not pytestconfig.getoption("--all-rounds"):
        pytest.skip("two minutes: only with --all-rounds")
    machine = ready.servers["app1"]
    for name in ("a", "b", "c"):
        machine.run("mkdir", f"/opt/app/releases/{name}")
        machine.run("touch", "--date=2020-01-01", f"/opt/app/releases/{name}")

    assert by_ansible(ready, 5, "x = (") != 0
    assert by_ansible(ready, 6, expected="other") != 0
    assert ready.links() == ["releases/1"] * 3
    wait_until(lambda: ready.versions() == ["1", "1", "1"])

    assert by_ansible(ready, 7) == 0
    assert ready.links() == ["releases/7"] * 3
    assert set(machine.run("ls", "/opt/app/releases").stdout.split()) >= {"1", "5", "6", "7"}
    assert not set(machine.run("ls", "/opt/app/releases").stdout.split()) & {"a", "b", "c"}


def test_the_load_would_see_a_machine_that_is_gone(ready: Rack) -> None:
    loads, way = Loads(ready), f"{address('app2')}/32"

    def lose_one(haproxy: RackHaproxy) -> None:
        ready.front.run("ip", "route", "add", "unreachable", way)
        wait_until(lambda: all(each.complaints() for each in (haproxy, Nginx(ready.front))))
        ready.front.run("ip", "route", "delete", "unreachable", way)  # for what is in flight there

    loads.run(lose_one)

    assert all(report["lost"] > 0 for report in loads.reports.values())


def test_haproxy_drains_a_machine_that_stops_and_takes_it_back(ready: Rack) -> None:
    """Told by the agent: HAProxy tries nothing twice, and a check that only connects comes too late."""
    loads, machine = Loads(ready), ready.servers["app2"]

    def stop_and_start(haproxy: RackHaproxy) -> None:
        wait_until(lambda: haproxy.status("app2") == "UP")
        machine.run("systemctl", "stop", "--no-block", *UNITS)
        for expected in ("DRAIN (agent)", "DOWN (agent)"):
            wait_until(lambda expected=expected: haproxy.status("app2") == expected)
        wait_until(lambda: not machine.run("systemctl", "list-jobs", "--no-legend").stdout)
        machine.run("systemctl", "start", "app.service")
        wait_until(lambda: haproxy.status("app2") == "UP")

    loads.run(stop_and_start)

    assert_nothing_lost(loads.reports["HAProxy"])


def test_haproxy_sends_nobody_to_a_machine_whose_workers_have_died(ready: Rack) -> None:
    machine = ready.servers["app2"]
    with ready.proxies() as haproxy:
        wait_until(lambda: haproxy.status("app2") == "UP")
        release(machine, 4, "x = (")
        machine.run("ln", "-sfT", "releases/4", "/opt/app/current")
        machine.run("pkill", "--signal=KILL", "--full", "--", "--workers=0$")

        wait_until(lambda: haproxy.status("app2") == "DOWN (agent)")
        machine.run("ln", "-sfT", "releases/1", "/opt/app/current")
        wait_until(lambda: haproxy.status("app2") == "UP")


def test_haproxy_sees_nothing_of_a_restart_of_a_machine(ready: Rack) -> None:
    """Neither a check that has failed, nor an agent that says anything but `ready`."""
    loads, machine = Loads(ready), ready.servers["app2"]

    def restart(haproxy: RackHaproxy) -> None:
        wait_until(lambda: haproxy.status("app2") == "UP")
        haproxy.say("clear counters all")
        machine.run("systemctl", "restart", "app.service")
        counts = haproxy.counts("app2")
        assert (counts["status"], counts["chkfail"], counts["chkdown"]) == ("UP", "0", "0")

    complaints = loads.run(restart)

    loads.assert_nothing_lost("a restart of one of them")
    assert complaints == [[], []]
