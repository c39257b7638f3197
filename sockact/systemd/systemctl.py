"""Where the service of a unit can be asked, as systemctl tells: for the system's manager or the user's."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from sockact.errors import UnavailableError, UsageError

_TYPES = "service|socket|target|timer|path|mount|automount|swap|slice|scope|device"
_PROPERTIES = "Id,LoadState,MainPID,RuntimeDirectory,Triggers"


@dataclass(frozen=True, slots=True)
class Located:
    """A service that runs.

    Attributes:
        unit: its name.
        scope: whose manager it is, as systemctl's option.
        environ: what tells its processes where its control socket is.
    """

    unit: str
    scope: str
    environ: Mapping[str, str]


def locate(unit: str, environ: Mapping[str, str], *, user: bool = False) -> Located:
    """Find the service of a unit.

    Args:
        unit: its name; `.service` may be left out.
        environ: where $XDG_RUNTIME_DIR is.
        user: whether only the user's manager is asked; else it is, if the system's does not know the unit.

    Raises:
        UsageError: there is no such unit, or it is no service; says what to ask for, if something is known.
        UnavailableError: it does not run, or systemctl does not tell.
    """
    name = _service(unit)
    scope = "--user" if user else "--system"
    found, complaint = _asked(name, scope)
    if not user and not _is_known(found):
        theirs, _ = _asked(name, "--user")
        if _is_known(theirs):
            scope, found = "--user", theirs
    if "LoadState" not in found:
        raise UnavailableError(f"systemctl does not tell where {unit} is: {complaint or 'it says nothing'}")
    _require_service(unit, found)
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


def _asked(name: str, scope: str) -> tuple[dict[str, str], str]:
    """Return the properties of a unit, and what systemctl complains of."""
    command = ["systemctl", "show", f"--property={_PROPERTIES}", scope, "--", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        return {}, str(error)
    if done.returncode:
        return {}, "; ".join(done.stderr.split("\n")).strip("; ")
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {key: value for key, _, value in pairs}, ""


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
    if not found["MainPID"].isdecimal() or found["MainPID"] == "0":
        raise UnavailableError(f"unit {unit} has no main process: it is not running")


def _runtime(scope: str, environ: Mapping[str, str]) -> str:
    """Return where the manager makes runtime directories. Source: systemd.exec(5), RuntimeDirectory=."""
    if scope == "--system":
        return "/run"
    return environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
