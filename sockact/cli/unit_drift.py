"""Compares the sockets that a service holds with those that its socket units list by now.

A reload of systemd (`daemon-reload`) reads units anew, but moves no socket: the service goes on with
the sockets it was passed, until the socket unit is restarted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sockact.systemd import systemctl


def differences(unit: str, sockets: Iterable[Mapping[str, str]], scope: str = "--system") -> list[str]:
    """Return a line for each socket that is held and not listed any more, or listed and not held.

    Args:
        unit: the service.
        sockets: the ones it holds; see `sockact.protocols.overview`.
        scope: the manager to ask, as systemctl's option.

    Returns:
        Nothing also where systemd does not tell which socket units the service has.
    """
    listed = systemctl.socket_addresses(unit, scope)
    if not any(listed.values()):
        return []
    held = {socket["address"] for socket in sockets if socket["address"]}
    every = {address for addresses in listed.values() for address in addresses}
    lines = [f"{address} is held, and in no socket unit any more" for address in sorted(held - every)]
    for name, addresses in listed.items():
        lines += [f"{address} is in {name}, and not held: restart {name}" for address in addresses - held]
    return lines
