"""Rules about command lines: what systemd executes, and what it does not understand."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sockact.check.command import EXECUTED
from sockact.check.rule import Complaint, Cure, Severity, rule
from sockact.check.scope import Scope
from sockact.check.unit import CheckedUnit

SECRET = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_KEY", re.IGNORECASE)
SHELL_WORD = re.compile(r"&&|\|\|?|&|>>?|<|2>(&1)?|\$\(.*|`.*")


@rule(Severity.ERROR, "systemd.service(5), COMMAND LINES")
def shell_syntax(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The program gets these characters as its arguments: there is no shell."""
    for command in unit.commands(*EXECUTED):
        found = [word for word in command.words if SHELL_WORD.fullmatch(word)]
        if found and command.script is None:
            text = f"`{found[0]}` is an argument here: expected /bin/sh -c, with `exec` in its text"
            yield Complaint(text, command.at)


@rule(Severity.ERROR, "systemd.service(5), ExecStart=")
def several_commands(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """systemd refuses to load the unit: only Type=oneshot may have several commands."""
    every = unit.every("Service.ExecStart")
    if len(every) > 1 and unit.type != "oneshot":
        text = "a second ExecStart= adds a command: expected an empty ExecStart= before it"
        yield Complaint(text, every[-1])


@rule(Severity.ERROR, "systemd.service(5), ExecStart=")
def no_command(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """systemd refuses to load the unit."""
    if unit.files.fragment and unit.main is None and not unit.every("Service.ExecStop"):
        if unit.value("Unit.SuccessAction", "none") == "none":
            yield Complaint("there is no ExecStart=")


@rule(Severity.ERROR, "systemd.socket(5); systemd.exec(5), RestrictAddressFamilies=")
def passed_sockets_ignored(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """Clients of the socket unit wait for ever, or the server fails because its port is in use."""
    main, server = unit.main, unit.server
    sockets = scope.sockets_of(unit)
    if main and server and sockets and server.takes_sockets is not True:
        wanted = server.takes_sockets
        if wanted and any(word.startswith(wanted) or wanted in word for word in main.inner):
            return
        hint = f": expected {wanted}{'3' if wanted.endswith('//') else ' 3'}" if wanted else ""
        yield Complaint(f"{server.name} does not serve the sockets of {sockets[0].name}{hint}", main.at)


@rule(Severity.HINT, "sd_listen_fds(3)")
def address_beside_socket(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A change of this address has no effect."""
    main, server = unit.main, unit.server
    if main and server and server.name in ("sockact", "gunicorn") and (sockets := scope.sockets_of(unit)):
        option = next((name for name in server.binding if main.option(name) is not None), None)
        if option:
            text = f"{server.name} serves the sockets of {sockets[0].name}, and ignores {option}"
            yield Complaint(text, main.at)


@rule(Severity.ERROR, "systemd.exec(5), AmbientCapabilities=; capabilities(7)")
def port_needs_privilege(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The server fails with "Permission denied" when it binds its port."""
    main, server = unit.main, unit.server
    if main is None or server is None or scope.sockets_of(unit) or unit.is_roots:
        return
    port = _port(main.option(*server.binding) or "")
    capabilities = unit.words("Service.AmbientCapabilities")
    if 0 < port < 1024 and not any(word == "CAP_NET_BIND_SERVICE" for word, _ in capabilities):
        text = f"port {port} needs a privilege: expected a socket unit with ListenStream={port}"
        yield Complaint(text, main.at)


def _port(address: str) -> int:
    match = re.search(r"(?:^|:)(\d{1,5})(?:$|\?)", address)
    return int(match[1]) if match else 0


@rule(Severity.WARNING, "systemd.exec(5), Environment=")
def secret_in_unit(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """Units may be read by every user of the machine, in the file or by `systemctl show`."""
    for name, (value, at) in unit.environment.items():
        elsewhere = value.startswith(("/", "%d", "file:")) or name.endswith(("_FILE", "_PATH", "_URL"))
        if SECRET.search(name) and value and not elsewhere:
            shown = at._replace(value=f"{name}=...")  # the report may be seen by others
            yield Complaint("expected EnvironmentFile= or LoadCredential=", shown)


@rule(Severity.WARNING, "systemd.exec(5), StandardOutput=")
def output_is_lost(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """Nothing tells why a start has failed."""
    for option in ("StandardOutput", "StandardError"):
        at = unit.last(f"Service.{option}")
        lost = ("null", "syslog", "syslog+console") if option == "StandardError" else ("syslog",)
        if at and at.value in lost and unit.server:
            cures = (Cure(f"Service.{option}", "journal"),)
            yield Complaint(f"expected {option}=journal, which is the default", at, cures)
