"""Finds out that sockets should have been passed to this process, and why they were not.

systemd passes sockets by the environment of the process that it starts: a wrapper that runs on beside
sockact keeps them, and one that cleans the environment loses them. A socket unit that is not active passes
none, nor does one whose address has changed since it was started. In all these cases clients connect to the
socket unit's address: to listen anywhere else would only hide that.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sockact.errors import ActivationError, SockactError, UnavailableError
from sockact.sockets import fds
from sockact.sockets.fds import Listener
from sockact.system import proc
from sockact.systemd import unit_files
from sockact.systemd.unit_files import UnitFiles

STARTED = "SYSTEMD_EXEC_PID"
"""The variable with the PID of the process that systemd has started: systemd.exec(5), since 248."""

FIRST_PID = 1

EXEC = "Write `exec` before the command, or start sockact without a wrapper"


class Clue(NamedTuple):
    """The environment at the start of a process to which nothing was passed.

    Attributes:
        owner: the process that LISTEN_PID names, if that is another one.
        loose: whether there is a listening socket at the first descriptor of passed ones.
        listen_fds: LISTEN_FDS.
    """

    owner: str | None = None
    loose: bool = False
    listen_fds: str = ""

    @classmethod
    def here(cls, environ: Mapping[str, str]) -> Clue:
        """Collect it, before this process opens a descriptor."""
        owner = fds.meant_for_another(environ, os.getpid())
        return cls(owner, _listens(fds.FIRST), environ.get("LISTEN_FDS", ""))

    def explain(self) -> SockactError | None:
        """Return what a wrapper did to sockets that were passed to it; None if that is not known."""
        passed = self.listen_fds not in ("", "0")
        # If there were none, a service manager such as ours sets LISTEN_PID alone.
        if self.owner and (passed or self.loose) and self.owner in (found := ancestors(os.getpid())):
            return ActivationError(
                f"LISTEN_PID={self.owner} is {found[self.owner]}, which has started this process: the"
                f" sockets were passed to it. {EXEC}; for another server within a service, unset LISTEN_PID"
            )
        if self.owner is None and self.loose and passed:
            return ActivationError(
                f"LISTEN_FDS={self.listen_fds} without LISTEN_PID: a wrapper has dropped it from the"
                " environment"
            )
        return None


def obstacle(clue: Clue, environ: Mapping[str, str], *, told: bool) -> SockactError | None:
    """Return why this process, to which nothing was passed, must not listen on anything else.

    Args:
        clue: the environment at its start.
        environ: its environment now.
        told: whether its settings tell where to listen.

    Returns:
        None if it may: on a laptop, in a container, under systemd without a socket unit.
    """
    if reason := clue.explain():
        return reason
    service = unit_files.of_this_process(environ)
    main = _is_main(environ)
    if service is None or not (main or (not told and _is_wrapped(environ))):
        return None
    if service.fragment is None:
        return _unknown(service) if main and not told else None
    units = [unit for unit in service.sockets() if not told or service.wants(unit)]
    return _missing(service, units, clue) if units else None


def misnumbered(environ: Mapping[str, str]) -> SockactError | None:
    """Return why this process must not serve as number 1 of a PID namespace that systemd has made for it.

    Seen with 257: LISTEN_PID and WATCHDOG_PID are numbers outside it, and name nobody here. And all
    processes of a namespace end with its first one, also the workers that are to go on in a restart.

    Source: systemd.exec(5), PrivatePIDs=; pid_namespaces(7).
    """
    if os.getpid() != FIRST_PID or STARTED not in environ or "container" in environ:
        return None
    return ActivationError(
        "PrivatePIDs=yes makes this process number 1 of a PID namespace, where systemd passes it no socket"
        f" (LISTEN_PID={environ.get('LISTEN_PID', '')}), and where no worker outlives it: expected"
        " PrivatePIDs=no"
    )


def unheard(environ: Mapping[str, str], notify_socket: str) -> str:
    """Return why systemd ignores this process's notifications; empty if it does not, as far as known."""
    started = environ.get(STARTED)
    if not notify_socket.endswith("/systemd/notify") or started in (None, str(os.getpid())):
        return ""
    found = ancestors(os.getpid())
    service = unit_files.of_this_process(environ)
    if service is None or started not in found:
        return ""
    access = service.read().get("Service.NotifyAccess", ())
    if service.fragment is None or access[-1:] in (["all"], ["exec"]):
        return ""
    return (
        f"systemd has started pid {started} ({found[started]}), and ignores the notifications of others"
        f" (NotifyAccess=main): it does not learn that this process is ready. {EXEC}"
    )


def fleeting(listeners: Iterable[Listener], environ: Mapping[str, str]) -> list[str]:
    """Return a line for each passed Unix socket whose path does not outlive a restart of the service.

    Source: systemd.exec(5), RuntimeDirectory= and RuntimeDirectoryPreserve=.
    """
    folders = [folder for folder in environ.get("RUNTIME_DIRECTORY", "").split(":") if folder]
    below = [
        each
        for each in listeners
        if each.address.startswith("/")
        if any(_contains(folder, each.address) for folder in folders)
    ]
    service = unit_files.of_this_process(environ) if below else None
    kept = () if service is None else service.read().get("Service.RuntimeDirectoryPreserve", ())
    return [
        f"{each.name}={each.address} is in RUNTIME_DIRECTORY, which systemd removes when the service stops,"
        " and the socket's path with it: nobody can connect any more. Expected a path elsewhere, as in /run"
        + (
            ""
            if os.path.exists(each.address)
            else "; it is gone already: stop the service, and restart the socket unit"
        )
        for each in below
        if kept[-1:] not in (["yes"], ["true"], ["1"], ["on"]) or not os.path.exists(each.address)
    ]


def _contains(folder: str, path: str) -> bool:
    folder, path = os.path.realpath(folder), os.path.realpath(os.path.dirname(path))
    return f"{path}/".startswith(f"{folder}/")


def ancestors(pid: int) -> dict[str, str]:
    """Return the ancestors of a process, as far as they can be seen: their names by their PIDs."""
    found: dict[str, str] = {}
    while (stat := proc.stat(pid)) is not None:
        pid = int(stat[1])
        if not pid:
            break
        found[str(pid)] = proc.name_of(pid)
    return found


def _missing(service: UnitFiles, units: list[UnitFiles], clue: Clue) -> SockactError:
    names = " ".join(unit.name for unit in units)
    if clue.loose:
        return ActivationError(
            f"LISTEN_FDS is unset, and descriptor {fds.FIRST} is a listening socket, maybe of {names}:"
            f" a wrapper has cleaned the environment. {EXEC}"
        )
    restart = f"systemctl restart {names}"
    if not all(service.wants(unit) for unit in units):  # systemd opens none for a service that runs
        restart = f"systemctl stop {service.name}; {restart}; systemctl start {service.name}"
    return UnavailableError(
        f"{service.name} was passed no socket, though there is {names}: it is not active, or its addresses"
        f" have changed since it was started. `{restart}` repairs both;"
        " to listen elsewhere, mask it and say --listen"
    )


def _unknown(service: UnitFiles) -> SockactError:
    return UnavailableError(
        f"{service.name} was passed no socket, and whether it has a socket unit cannot be seen from here"
        " (its unit file is out of reach): expected a socket, or --listen"
    )


def _is_main(environ: Mapping[str, str]) -> bool:
    """Return whether systemd has started this very process."""
    return environ.get(STARTED) == str(os.getpid())


def _is_wrapped(environ: Mapping[str, str]) -> bool:
    """Return whether systemd has started a wrapper of this process; not if there is a terminal.

    Without that variable a wrapper is a single process between this one and its service's cgroup.
    """
    stat = proc.stat(os.getpid())
    if stat is None or stat[4] != "0":
        return False
    above = ancestors(os.getpid())
    if STARTED in environ:
        return environ[STARTED] in above
    own = unit_files.cgroup_of(os.getpid())
    return sum(unit_files.cgroup_of(int(pid)) == own for pid in above) <= 1


def _listens(fd: int) -> bool:
    try:
        sock = socket.socket(fileno=os.dup(fd))
    except OSError:
        return False
    with sock:
        try:
            return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        except OSError:
            return False
