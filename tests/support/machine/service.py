"""The example's service, as the tests deploy it, ask it, and look at it through systemd."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from subprocess import CompletedProcess, Popen
from typing import Any

from tests.support.machine.machine import Machine
from tests.support.machine.roots import CHECKOUT

LIMIT = 60.0
PAUSE = 0.05
ALONE = "Environment=SOCKACT_WORKERS=0\nKillMode=mixed\n"
"""In the unit of a service without workers, whose main process serves."""

LOAD_APP = (CHECKOUT / "tests" / "apps" / "load_app.py").read_text()


def get(machine: Machine, path: str = "/", timeout: float = LIMIT) -> Any:
    """Ask the service once, from inside, and return its JSON."""
    url = f"http://127.0.0.1:8000{path}"
    script = f"import urllib.request as u; print(u.urlopen({url!r}, timeout={timeout}).read().decode())"
    return json.loads(machine.run("python3", "-c", script, timeout=timeout + 10).stdout)


def wheels(machine: Machine) -> str:
    """Return the folder of the wheels for a machine's Python."""
    script = "import sys; print('cp%d%d' % sys.version_info[:2])"
    return f"{CHECKOUT}/.wheels/{machine.run('/usr/bin/python3', '-c', script).stdout.strip()}"


def load_app(version: int | str, *lines: str) -> str:
    """Return the code of the load app in a version, with lines at its end."""
    return "\n".join([LOAD_APP.replace('VERSION = "1"', f'VERSION = "{version}"'), *lines, ""])


def install(machine: Machine, version: int | str, *lines: str) -> None:
    """Put a version of the load app in place; `lines` are added to its end."""
    machine.write("/opt/app/app.py", load_app(version, *lines))


def configure(machine: Machine, *options: str, service: str = "") -> None:
    """Add options to the command line of the service, and lines to its unit."""
    command = f"/opt/app/venv/bin/sockact run --chdir /opt/app {' '.join(options)} app:app"
    text = f"[Service]\nExecStart=\nExecStart={command}\n{service}\n"
    machine.write("/etc/systemd/system/app.service.d/test.conf", text)
    machine.run("systemctl", "daemon-reload")


def start_as(role: str, machine: Machine) -> None:
    """Start the service, `alone` or `supervised`, with two workers."""
    if role == "alone":
        configure(machine, service=ALONE)
    else:
        configure(machine, "--workers=2", "--probation=0.1s")
    machine.run("systemctl", "start", "app.socket", "app.service")


def main_pid(machine: Machine) -> int:
    return int(machine.show("app.service", "MainPID")["MainPID"])


def wait_until(true: Callable[[], bool]) -> None:
    """Ask again and again; with a pause, for each question is a process or more on the same two cores."""
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(PAUSE)


def wait_for(machine: Machine, what: str) -> dict[str, str]:
    """Wait until `systemctl show` of app.service has a property of that value, as `Name=value`."""
    name, _, value = what.partition("=")
    deadline = time.monotonic() + LIMIT
    while (shown := machine.show("app.service", name, "ActiveState", "Result"))[name] != value:
        assert time.monotonic() < deadline, f"{what}: {shown}"
        time.sleep(PAUSE)
    return shown


def reload(machine: Machine, *, check: bool = True) -> CompletedProcess[str]:
    """Reload once the service runs: a reload that comes during a start systemd takes for a part of that."""
    wait_for(machine, "ActiveState=active")  # its worker may have answered somebody a moment before
    return machine.run("systemctl", "reload", "app.service", check=check)


def assert_reload_refused(machine: Machine, reason: str) -> None:
    """Reload into broken code: `systemctl` fails, `reason` (a pattern) is told, all else is as before."""
    pid = main_pid(machine)
    before = time.time()
    refused = reload(machine, check=False)

    assert refused.returncode != 0
    assert "Job for app.service failed" in refused.stderr
    journal = machine.journal("app.service", since=before)
    assert re.search(rf"sockact\[\d+\]: reload failed: .*{reason}", journal), journal
    shown = machine.show(
        "app.service", "ActiveState", "SubState", "MainPID", "StatusText", "ReloadResult", "NRestarts"
    )
    assert re.match(rf"reload failed: .*{reason}", shown.pop("StatusText"))
    assert shown == {
        "ActiveState": "active",
        "SubState": "running",
        "MainPID": str(pid),
        "ReloadResult": "exit-code",
        "NRestarts": "0",
    }
    assert get(machine)["version"] == "1"


def client(machine: Machine, path: str = "/") -> Popen[str]:
    """Start a client that waits for its answer as long as it takes, and prints it."""
    script = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000{path}').read().decode())"
    return machine.popen("python3", "-c", script)


def stop_each(machine: Machine, *units: str) -> None:
    """Stop units one by one, for some may not exist: of several systemd 262 then stops none."""
    for unit in units:
        machine.run("systemctl", "stop", unit, check=False)


def stored(machine: Machine) -> int:
    """Return how many descriptors of the service systemd has stored."""
    return int(machine.show("app.service", "NFileDescriptorStore")["NFileDescriptorStore"])


def processes(machine: Machine) -> set[int]:
    """Return the PIDs of all processes of the service; none when it has ended."""
    group = "/sys/fs/cgroup/system.slice/app.service/cgroup.procs"
    return set(map(int, machine.run("cat", group, check=False).stdout.split()))


def tell(what: str, machine: Machine, report: dict[str, Any]) -> None:
    """Print the figures for the closing note; pytest shows them with -s or -rP."""
    total = report["total"]
    print(
        f"{machine.name}: {what}: {total['requests']} requests, {total['lost']} lost, "
        f"{total['connections']} connections, {total['restarts']} orderly WebSocket ends, "
        f"longest stall {total['stall']:.2f} s"
    )
