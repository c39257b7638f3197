"""The reboot of a machine's userspace, which units may survive.

Source: systemd-soft-reboot.service(8), of systemd 254 and later.
"""

from __future__ import annotations

import contextlib
import subprocess

from tests.support.machine.machine import Machine, MachineError
from tests.support.machine.roots import CHECKOUT
from tests.support.machine.service import wait_until

SINCE = 254

SURVIVES = """[Unit]
DefaultDependencies=no
After=sysinit.target
Conflicts=reboot.target kexec.target poweroff.target halt.target
Before=reboot.target kexec.target poweroff.target halt.target
IgnoreOnIsolate=yes
SurviveFinalKillSignal=yes
"""
"""The drop-in of a unit that goes on, and is stopped in good order by any other end of the machine."""


ANSWER = 5.0
"""Seconds; whoever asks while the bus ends may wait for ever."""


def let_survive(machine: Machine) -> None:
    """Let the service and its socket survive from now on."""
    for unit in ("app.service", "app.socket"):
        machine.write(f"/etc/systemd/system/{unit}.d/survives.conf", SURVIVES)
    machine.run("systemctl", "daemon-reload")


def soft_reboot_now(machine: Machine) -> None:
    """Reboot the userspace, and wait until all of it is there again, and the checkout still."""
    before = _reboots(machine)
    mount = machine.run("systemd-escape", "--path", "--suffix=mount", str(CHECKOUT)).stdout.strip()
    machine.write(f"/etc/systemd/system/{mount}.d/survives.conf", "[Unit]\nDefaultDependencies=no\n")
    machine.run("systemctl", "daemon-reload")
    with contextlib.suppress(subprocess.TimeoutExpired):
        machine.run("systemctl", "soft-reboot", check=False, timeout=ANSWER)  # which may end it, too
    wait_until(lambda: _reboots(machine) == before + 1 and _booted(machine))


def _reboots(machine: Machine) -> int:
    """Return how often it was rebooted in this way; -1 while systemd does not answer."""
    try:
        shown = machine.run(
            "systemctl", "show", "--property=SoftRebootsCount", "--value", timeout=ANSWER
        ).stdout
    except (MachineError, subprocess.TimeoutExpired):
        return -1
    return int(shown)


def _booted(machine: Machine) -> bool:
    try:
        said = machine.run("systemctl", "is-system-running", check=False, timeout=ANSWER).stdout
    except subprocess.TimeoutExpired:
        return False
    return said.strip() in ("running", "degraded")
