"""An existing service, read: a unit with its drop-ins and sockets, a Procfile, or a command line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

from sockact.errors import UsageError
from sockact.systemd.unit_files import SYSTEM, Assignments, UnitFiles
from sockact.systemd.unit_syntax import TRUE
from sockact.units import command_lines, syntax
from sockact.units.addresses import NAME
from sockact.units.carried_over import CarriedOver
from sockact.untrusted import files

READ = (
    "Service.ExecStart",
    "Service.WorkingDirectory",
    "Service.User",
    "Service.Environment",
    "Service.Sockets",
    "Unit.Description",
    "Unit.Documentation",
)
"""Options that are read, or that say nothing about what the service does."""

OWN = (
    "Type",
    "NotifyAccess",
    "ExecReload",
    "ExecStop",
    "ExecStopPost",
    "PIDFile",
    "GuessMainPID",
    "RemainAfterExit",
    "KillMode",
    "KillSignal",
    "SendSIGKILL",
    "SendSIGHUP",
    "FinalKillSignal",
    "TimeoutSec",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "WatchdogSec",
    "Restart",
    "RestartSec",
    "SuccessExitStatus",
    "ExitType",
    "OOMPolicy",
    "NonBlocking",
    "FileDescriptorStoreMax",
    "LimitNOFILE",
    "RuntimeDirectoryMode",
    "RuntimeDirectoryPreserve",
    "StartLimitIntervalSec",
    "StartLimitInterval",
    "StartLimitBurst",
    "StandardInput",
    "DynamicUser",
)
"""Options of a service for which the pair has its own value, on which its promises stand."""

_SANDBOX = re.compile(
    r"(Protect|Private|Restrict|Lock|MemoryDeny|NoNewPriv|CapabilityB|AmbientC|SystemCall|UMask|RemoveIPC)\w*"
    r"|KeyringMode|DevicePolicy|ProcSubset"
)
_LISTS = ("RuntimeDirectory", "CacheDirectory", "StateDirectory", "LogsDirectory", "ConfigurationDirectory")
_RELATIONS = ("After", "Before", "Requires", "Wants", "BindsTo", "PartOf")
_OF_SOCKETS = (
    "SocketUser",
    "SocketMode",
    "DirectoryMode",
    "BindIPv6Only",
    "BindToDevice",
    "FreeBind",
    "Mark",
)


def read(source: str, folder: str) -> tuple[str, CarriedOver]:
    """Read an existing service.

    Args:
        source: the path of a unit or a Procfile, the name of a unit of this machine, or a command line.
        folder: the folder in which a command line would run.

    Returns:
        A name for the service, "" if it has none, and what it asks for.

    Raises:
        UsageError: it is none of these, or nothing that could be served.
        UnitsError: a line of it has a quote that is never closed, or an unknown escape.
    """
    if source.endswith(".service"):
        return _unit(source)
    if os.path.isfile(source):
        return "", _procfile(source)
    if " " not in source.strip() and "/" in source:
        raise UsageError(f"--from {source}: there is no such file")
    found = CarriedOver(folder=folder)
    command_lines.read(syntax.split(source), found, {})
    return "", found


def _procfile(path: str) -> CarriedOver:
    """Read the `web` process of a Procfile, or its only one."""
    try:
        text = files.read(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--from {path}: {error}") from error
    commands = dict(re.findall(r"^([\w.-]+):[ \t]*(\S.*)$", text, re.MULTILINE))
    name = "web" if "web" in commands or len(commands) != 1 else next(iter(commands))
    if name not in commands:
        raise UsageError(f"--from {path}: expected a line like `web: gunicorn shop:app`, or a unit's name")
    found = CarriedOver(folder=os.path.dirname(os.path.abspath(path)))
    command_lines.read(syntax.split(commands[name]), found, {})
    found.left += [f"{each}: {commands[each]}: serves nothing" for each in commands if each != name]
    return found


def _unit(source: str) -> tuple[str, CarriedOver]:
    name = os.path.basename(source)
    folders = [os.path.dirname(os.path.abspath(source))] if os.path.exists(source) else SYSTEM
    unit = UnitFiles(name, folders)
    said = unit.read()
    commands = said.get("Service.ExecStart", ())
    if not commands:
        raise UsageError(f"--from {source}: there is no such unit, or it has no ExecStart=")
    stem = name.removesuffix(".service").removesuffix("@").partition("@")[0]
    found = CarriedOver(folder=_folder(said, name))
    variables = _variables(said, name)
    words = [syntax.with_specifiers(word, name) for word in syntax.split(commands[-1].lstrip("-@:+!"))]
    sockets = unit.sockets()
    _take_sockets(sockets, found)
    command_lines.read(words, found, variables)
    _take_user(said, found)
    _take_options(said, found, stem, {each.name for each in sockets})
    found.listen = [_outside(each, stem, found) for each in found.listen]
    return stem, found


def _folder(said: Assignments, name: str) -> str:
    value = ["/", *said.get("Service.WorkingDirectory", ())][-1].removeprefix("-")
    return os.path.normpath(syntax.with_specifiers(value, name))


def _variables(said: Assignments, name: str) -> dict[str, str]:
    words = [word for line in said.get("Service.Environment", ()) for word in syntax.split(line)]
    pairs = (syntax.with_specifiers(word, name).partition("=") for word in words)
    return {variable: value for variable, _, value in pairs}


def _take_user(said: Assignments, found: CarriedOver) -> None:
    user = said.get("Service.User", [""])[-1]
    if user not in ("", "root", "0"):
        found.user = user
    elif not found.user and said.get("Service.DynamicUser", [""])[-1] not in TRUE:
        found.notes.append(
            "it ran as root: now as a user without privileges, who must be able to read the app"
            " (--user NAME, --state for its data)"
        )
    if found.user and not found.user.isdecimal():
        found.notes.append(
            "everything is read-only for it, except /run, /var/cache and /var/lib (--state) of its name:"
            " ReadWritePaths= in a drop-in for other folders"
        )


def _take_sockets(sockets: Sequence[UnitFiles], found: CarriedOver) -> None:
    """Take the addresses of the socket units."""
    for unit in sockets:
        said = unit.read()
        label = ([NAME] if len(sockets) == 1 else [unit.name.removesuffix(".socket")])[-1]
        label = [label, *said.get("Socket.FileDescriptorName", ())][-1]
        prefix = "" if label == NAME else f"{label}="
        for kind, scheme in (("Stream", ""), ("Datagram", "udp:")):
            found.listen += [f"{prefix}{scheme}{each}" for each in said.get(f"Socket.Listen{kind}", ())]
        found.socket_group = [found.socket_group, *said.get("Socket.SocketGroup", ())][-1]
        for name in _OF_SOCKETS:
            for value in said.get(f"Socket.{name}", ())[-1:]:
                found.options.setdefault("Socket", []).append((name, value))


def _take_options(said: Assignments, found: CarriedOver, stem: str, sockets: Iterable[str]) -> None:
    """Sort the other options: those that stay, and those for which the pair has its own."""
    own, confining = [], []
    for option, values in said.items():
        section, _, name = option.partition(".")
        if option in READ or not values:
            continue
        if section == "Install":
            found.notes.append(
                f"{name}={' '.join(values)}: the socket is enabled; the first connection starts it"
            )
        elif name in OWN:
            own.append(f"{name}={values[-1]}")
        elif section == "Service" and _SANDBOX.fullmatch(name):
            confining.append(f"{name}={values[-1]}")
        elif section in ("Unit", "Service"):
            _keep(section, name, values, found, {stem, f"{stem}.socket", *sockets, "network.target"})
    kept = found.options.setdefault("Service", [])
    kept += [("Environment", value) for value in said.get("Service.Environment", ())]
    if any(name.startswith("Exec") for name, _ in kept):
        kept.append(("WorkingDirectory", said.get("Service.WorkingDirectory", ["/"])[-1]))
    if own:
        found.notes.append(f"{', '.join(own)}: the pair has its own")
    if confining:
        found.notes.append(f"{', '.join(confining)}: the pair has its own sandbox")


def _keep(section: str, name: str, values: Sequence[str], found: CarriedOver, own: Iterable[str]) -> None:
    """Keep an option as it is, but for words of a list that the pair has anyway."""
    if name in _LISTS or name in _RELATIONS:
        words = [word for value in values for word in value.split() if word not in own]
        values = [" ".join(words)] if words else []
    found.options.setdefault(section, []).extend((name, value) for value in values)


def _outside(listen: str, stem: str, found: CarriedOver) -> str:
    """Return an address; a Unix socket in what will be the runtime directory gets a path beside it."""
    match = re.fullmatch(rf"(.*?(?:unix:)?)(?:/var)?/run/{re.escape(stem)}/(.+)", listen)
    if match is None:
        return listen
    moved = f"{match[1]}/run/{stem}.sock"
    found.notes.append(
        f"{listen}: {moved} now, since systemd removes /run/{stem} at each stop: tell the proxy"
    )
    return moved
