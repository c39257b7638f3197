"""Compares the sockets that a service holds with those that its socket units list by now.

A reload of systemd (`daemon-reload`) reads units anew, but moves no socket: the service goes on with
what it was passed, until the socket unit is restarted.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping


def differences(unit: str, sockets: Iterable[Mapping[str, str]], scope: str = "--system") -> list[str]:
    """Say in a line for each socket what is held and not listed any more, or listed and not held.

    Args:
        unit: the service.
        sockets: what it holds; see `sockact.protocols.overview`.
        scope: whose manager is asked, as systemctl's option.

    Returns:
        Nothing also where systemd does not say which socket units the service has.
    """
    units = _show("TriggeredBy", unit, scope)
    triggers = [name for line in units for name in line.split() if name.endswith(".socket")]
    listed = {name: _addresses(_show("Listen", name, scope)) for name in triggers}
    if not any(listed.values()):
        return []
    held = {socket["address"] for socket in sockets if socket["address"]}
    every = {address for addresses in listed.values() for address in addresses}
    lines = [f"{address} is held, and in no socket unit any more" for address in sorted(held - every)]
    for name, addresses in listed.items():
        lines += [f"{address} is in {name}, and not held: restart {name}" for address in addresses - held]
    return lines


def _addresses(lines: Iterable[str]) -> set[str]:
    """Read `Listen` as systemctl shows it: `127.0.0.1:8000 (Stream)`; only of what has an address."""
    found = (re.fullmatch(r"(.*) \((?:Stream|Datagram|SequentialPacket)\)", line) for line in lines)
    return {match[1] for match in found if match}


def _show(name: str, unit: str, scope: str) -> list[str]:
    command = ["systemctl", "show", f"--property={name}", scope, "--", unit]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, errors="replace", check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    prefix = f"{name}="
    return [line.removeprefix(prefix) for line in shown.splitlines() if line.startswith(prefix)]
