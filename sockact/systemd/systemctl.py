"""All questions to systemctl: for a service that runs, the sockets of a unit, and its jobs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sockact.errors import UnavailableError, UsageError

JOB_TIMEOUT = 2.0
"""Seconds that systemd may take to tell its jobs."""

_TYPES = "service|socket|target|timer|path|mount|automount|swap|slice|scope|device"
_PROPERTIES = "Id,LoadState,MainPID,RuntimeDirectory,Triggers"
_STREAM = " (Stream)"


class Located(NamedTuple):
    """A service that runs.

    Attributes:
        unit: its name.
        scope: the manager that runs it, as systemctl's option: `--system` or `--user`.
        environ: the variables that tell where its control socket is.
    """

    unit: str
    scope: str
    environ: Mapping[str, str]


class Described(NamedTuple):
    """A service, whether it runs or not.

    Attributes:
        unit: its name.
        scope: the manager that has it, as systemctl's option: `--system` or `--user`.
        properties: those that were asked for, by name.
        listen: the addresses of its socket units at which streams are accepted, by the unit's name.
    """

    unit: str
    scope: str
    properties: Mapping[str, str]
    listen: Mapping[str, Sequence[str]]


def locate(unit: str, environ: Mapping[str, str], *, user: bool = False) -> Located:
    """Find the service of a unit.

    Args:
        unit: its name; `.service` may be left out.
        environ: where $XDG_RUNTIME_DIR is.
        user: ask the user's manager alone; else it is asked if the system's does not know the unit.

    Raises:
        UsageError: there is no such unit, or it is no service; says what to ask for, if that is known.
        UnavailableError: it does not run, or systemctl does not tell.
    """
    name, scope, found = _found(unit, user=user)
    if not found["MainPID"].isdecimal() or found["MainPID"] == "0":
        raise UnavailableError(f"unit {unit} has no main process: it is not running")
    return _located(name, scope, found, environ)


def describe(unit: str, *properties: str, user: bool = False) -> Described:
    """Return properties of a service, and the addresses of its sockets; raises as `locate`, also idle."""
    name, scope, _ = _found(unit, user=user)
    shown = {each: "\n".join(_values(each, name, scope)) for each in properties}
    listen = {
        each: [
            line.removesuffix(_STREAM) for line in _values("Listen", each, scope) if line.endswith(_STREAM)
        ]
        for each in _socket_units(name, scope)
    }
    return Described(name, scope, shown, listen)


def start(unit: str, scope: str) -> None:
    """Start a unit, and wait until it has started; nothing happens to one that has.

    Raises:
        UnavailableError: it does not start, or the user may not start it.
    """
    try:
        done = _run("--no-ask-password", scope, "start", "--", unit)
    except OSError as error:
        raise UnavailableError(str(error)) from error
    if done.returncode:
        raise UnavailableError(f"systemctl start {unit}: {' '.join(done.stderr.split())}")


def _found(unit: str, *, user: bool) -> tuple[str, str, dict[str, str]]:
    """Return the whole name of a service, the manager that has it, and its properties."""
    name = _service(unit)
    scope = "--user" if user else "--system"
    found, complaint = _properties(name, scope)
    if not user and not _is_known(found):
        theirs, _ = _properties(name, "--user")
        if _is_known(theirs):
            scope, found = "--user", theirs
    if "LoadState" not in found:
        raise UnavailableError(f"systemctl does not tell where {unit} is: {complaint or 'no output'}")
    _require_service(unit, found)
    return name, scope, found


def running(scope: str, environ: Mapping[str, str]) -> list[Located]:
    """Return all services that have a main process; none where there is no such manager."""
    try:
        listed = _run("list-units", scope, "--type=service", "--plain", "--no-legend", "--full")
        names = [line.split()[0] for line in listed.stdout.splitlines() if line.strip()]
        shown = _run("show", f"--property={_PROPERTIES}", scope, "--", *names).stdout if names else ""
    except OSError:
        return []
    blocks = (block.splitlines() for block in shown.split("\n\n"))
    found = [dict(line.split("=", 1) for line in block if "=" in line) for block in blocks]
    return [
        _located(each["Id"], scope, each, environ)
        for each in found
        if "Id" in each and each.get("MainPID", "0") not in ("", "0")
    ]


def version() -> int | None:
    """Return the version of systemd; None if systemctl does not tell."""
    try:
        done = _run("--version")
    except OSError:
        return None
    match = re.match(r"systemd (\d+)", done.stdout)
    return int(match[1]) if match else None


def properties(unit: str, names: Sequence[str], scope: str = "--system") -> dict[str, str]:
    """Return properties of a unit; empty if systemctl does not tell. Of several values one is returned."""
    return _properties(unit, scope, ",".join(names))[0]


def socket_addresses(service: str, scope: str) -> dict[str, set[str]]:
    """Return the addresses that the socket units of a service list, by the unit's name.

    Only of sockets that have an address. Empty also where systemd does not tell the socket units.
    """
    return {unit: _addresses(_values("Listen", unit, scope)) for unit in _socket_units(service, scope)}


def _socket_units(service: str, scope: str) -> list[str]:
    units = [name for line in _values("TriggeredBy", service, scope) for name in line.split()]
    return [unit for unit in units if unit.endswith(".socket")]


def jobs(unit: str, scope: str) -> list[str]:
    """Return the types of a unit's jobs under way, such as `stop` or `restart`; blocks.

    Raises:
        UnavailableError: systemctl does not tell.
    """
    command = ["list-jobs", "--no-legend", "--plain", unit]
    # With KillMode=control-group systemd ends all that is in the unit's cgroup, again and again until it
    # finds nobody: also a systemctl that has just been started from there.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        done = _run(scope, *command, timeout=JOB_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(str(error)) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if done.returncode:
        raise UnavailableError(done.stderr.strip())
    lines = [line.split() for line in done.stdout.splitlines()]
    return [job[2] for job in lines if len(job) > 2 and job[1] == unit]


def _located(name: str, scope: str, found: Mapping[str, str], environ: Mapping[str, str]) -> Located:
    directories = [
        os.path.join(_runtime(scope, environ), each) for each in found.get("RuntimeDirectory", "").split()
    ]
    known = {"MAINPID": found["MainPID"], "RUNTIME_DIRECTORY": ":".join(directories)}
    return Located(name, scope, known)


def _service(unit: str) -> str:
    """Return the whole name of a unit; raises UsageError if it cannot be that of one that runs."""
    if not unit or re.search(r"[*?\[\]\s]", unit):
        raise UsageError(f"{unit!r}: expected the name of one service, like app.service")
    if re.search(rf"@(\.({_TYPES}))?$", unit):
        raise UsageError(f"{unit} is a template: expected one of its instances, like {_instance(unit)}")
    return unit if re.search(rf"\.({_TYPES})$", unit) else f"{unit}.service"


def _instance(template: str) -> str:
    name, _, kind = template.partition("@")
    return f"{name}@1{kind}"


def _properties(name: str, scope: str, properties: str = _PROPERTIES) -> tuple[dict[str, str], str]:
    """Return properties of a unit, and systemctl's complaint."""
    try:
        done = _show(properties, name, scope)
    except OSError as error:
        return {}, str(error)
    if done.returncode:
        return {}, "; ".join(done.stderr.split("\n")).strip("; ")
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {key: value for key, _, value in pairs}, ""


def _values(name: str, unit: str, scope: str) -> list[str]:
    """Return all values of a property; none if systemctl does not tell."""
    try:
        done = _show(name, unit, scope)
    except OSError:
        return []
    lines = [] if done.returncode else done.stdout.splitlines()
    return [line.removeprefix(f"{name}=") for line in lines if line.startswith(f"{name}=")]


def _addresses(lines: Sequence[str]) -> set[str]:
    """Read `Listen` as systemctl shows it: `127.0.0.1:8000 (Stream)`."""
    found = (re.fullmatch(r"(.*) \((?:Stream|Datagram|SequentialPacket)\)", line) for line in lines)
    return {match[1] for match in found if match}


def _show(properties: str, unit: str, scope: str) -> subprocess.CompletedProcess[str]:
    return _run("show", f"--property={properties}", scope, "--", unit)


def _run(*words: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemctl", *words],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )


def _is_known(found: Mapping[str, str]) -> bool:
    return found.get("LoadState", "not-found") != "not-found"


def _require_service(unit: str, found: Mapping[str, str]) -> None:
    if found["LoadState"] != "loaded":
        raise UsageError(f"unit {unit} is {found['LoadState']}")
    if "MainPID" not in found:
        triggered = ", ".join(
            each for each in found.get("Triggers", "").split() if each.endswith(".service")
        )
        hint = f"ask for {triggered}, which it triggers" if triggered else "expected the name of a service"
        raise UsageError(f"{found.get('Id', unit)} is no service: {hint}")


def _runtime(scope: str, environ: Mapping[str, str]) -> str:
    """Return where the manager makes runtime directories. Source: systemd.exec(5), RuntimeDirectory=."""
    if scope == "--system":
        return "/run"
    return environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
