"""Rules about reloads: they should return when the new code serves, and fail if it does not start."""

from __future__ import annotations

import re
from collections.abc import Iterator
from os.path import basename, dirname

from sockact.check.command import CommandLine, read
from sockact.check.rule import Complaint, Cure, Severity, rule
from sockact.check.scope import Scope
from sockact.check.unit import CheckedUnit
from sockact.systemd.unit_syntax import Assignment

NUMBERS = {"1": "HUP", "2": "INT", "3": "QUIT", "9": "KILL", "15": "TERM"}


@rule(Severity.WARNING, "systemd.service(5), ExecReload=")
def reload_by_signal(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """`systemctl reload` returns before the new code serves, and succeeds if it does not start."""
    for command in unit.commands("ExecReload"):
        if sends_signal(command) and unit.is_sockact:
            cures = (Cure("Service.ExecReload", _reload_command(unit)),)
            yield Complaint("expected `sockact reload`, which waits for the new code", command.at, cures)


@rule(Severity.HINT, "systemd.service(5), ExecReload=")
def reload_unconfirmed(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A deploy that reloads into broken code is reported as done."""
    for command in unit.commands("ExecReload"):
        server = unit.server
        if sends_signal(command) and server and server.name != "sockact" and not _kills(unit, command):
            yield Complaint("kill(1) returns at once: look at the service after a reload", command.at)


@rule(Severity.ERROR, "systemd.service(5), ExecReload=; signal(7)")
def reload_kills(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The reload ends the service, and that counts as a clean end: Restart=on-failure does not start it."""
    for command in unit.commands("ExecReload"):
        if unit.server and _kills(unit, command):
            yield Complaint(f"{unit.server.name} ends on SIGHUP: expected no ExecReload=", command.at)
    at = unit.last("Service.Type")
    if at and unit.server and unit.type == "notify-reload" and not unit.server.reloads_on_hangup:
        yield Complaint(f"{unit.server.name} ends on SIGHUP, which Type=notify-reload sends", at)


@rule(Severity.HINT, "systemd.service(5), ExecReload=")
def reload_missing(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """`systemctl reload` is refused, so that each deploy needs a restart."""
    server = unit.server
    if server and server.reloads_on_hangup and unit.type != "notify-reload":
        if not unit.every("Service.ExecReload"):
            cures = (Cure("Service.ExecReload", _reload_command(unit)),) if server.name == "sockact" else ()
            how = cures[0].value if cures else "/bin/kill -s HUP $MAINPID"
            yield Complaint(
                f"{server.name} can reload: expected ExecReload={how}",
                unit.last("Service.ExecStart"),
                cures,
            )


@rule(Severity.WARNING, "systemd.service(5), Type=")
def reload_twice(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """Each `systemctl reload` reloads twice."""
    # systemd 259 and later send no SIGHUP where RELOADING=1 comes before ExecReload= has ended. kill(1) has
    # mostly ended by then; on 262 always, where the service took 0.2 s to say it.
    if unit.type != "notify-reload" or not (every := unit.every("Service.ExecReload")):
        return
    if scope.may_be_before(259) or any(map(sends_signal, unit.commands("ExecReload"))):
        yield Complaint("Type=notify-reload sends SIGHUP as well: expected Type=notify", every[-1])


@rule(Severity.HINT, "systemd.service(5), Type=")
def reload_cannot_fail(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """`systemctl reload` succeeds although the new code was refused: no notification says so."""
    if unit.is_sockact and unit.type == "notify-reload":
        cures = (Cure("Service.Type", "notify"), Cure("Service.ExecReload", _reload_command(unit)))
        text = "expected Type=notify, with ExecReload= and `sockact reload`"
        yield Complaint(text, unit.last("Service.Type"), () if unit.every("Service.ExecReload") else cures)


@rule(Severity.HINT, "systemd.service(5), ExecReload=; env(1)")
def stop_fails_during_reload(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A stop in the first moment of a reload ends this command, and the unit counts as failed."""
    for command in unit.commands("ExecReload"):
        if command.script is None and basename(command.path) == "sockact" and "reload" in command.words:
            cure = (Cure("Service.ExecReload", f"/usr/bin/env --block-signal=TERM {command.at.value}"),)
            cures = cure if not command.prefix and len(unit.every("Service.ExecReload")) == 1 else ()
            yield Complaint("expected `/usr/bin/env --block-signal=TERM` before it", command.at, cures)


@rule(Severity.HINT, "systemd.exec(5), LoadCredential=, RefreshOnReload=")
def credentials_not_reloaded(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A reload sees the credentials of the start: a renewed certificate or password waits for a restart."""
    refreshed = "credentials" in unit.value("Service.RefreshOnReload")
    reloads = unit.every("Service.ExecReload") or unit.type == "notify-reload"
    if reloads and unit.server and not (refreshed and not scope.may_be_before(260)):
        for at in (*unit.every("Service.LoadCredential"), *unit.every("Service.LoadCredentialEncrypted"))[
            :1
        ]:
            text = "a reload does not read it anew, before systemd 260 with RefreshOnReload=credentials"
            yield Complaint(text, at)


@rule(Severity.HINT, "systemd.exec(5), EnvironmentFile=")
def environment_not_reloaded(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A reload goes on with the variables of the start."""
    if unit.is_sockact and unit.every("Service.ExecReload"):
        for at in unit.every("Service.EnvironmentFile")[:1]:
            yield Complaint(f"expected --env-file={at.value}, which each reload reads", at)


def sends_signal(command: CommandLine) -> bool:
    """Return whether a command is kill(1) with the main process."""
    return basename(command.path) == "kill" and any("MAINPID" in word for word in command.words)


def signal_sent(command: CommandLine) -> str:
    """Return the signal that kill(1) sends, as SIGTERM."""
    words = [word for word in command.words[1:] if "MAINPID" not in word and word not in ("-s", "--signal")]
    name = re.sub(r"^(--signal=|-s|-)?(SIG)?", "", words[0]) if words else "TERM"
    return f"SIG{NUMBERS.get(name, name)}"


def _kills(unit: CheckedUnit, command: CommandLine) -> bool:
    server, main = unit.server, unit.main
    if server is None or main is None or server.reloads_on_hangup or server.name == "puma":
        return False
    if server.name == "uvicorn" and main.option("--workers") not in (None, "", "1"):
        return False  # uvicorn's own supervisor replaces its workers
    return sends_signal(command) and signal_sent(command) == "SIGHUP"


def _reload_command(unit: CheckedUnit) -> str:
    """Return the line for ExecReload=, with the sockact of ExecStart=."""
    at = unit.last("Service.ExecStart")
    inner = "".join(command_as_written(at).inner[:1]) if at else ""
    path = inner if basename(inner) == "sockact" else f"{dirname(inner) or '/usr/bin'}/sockact"
    return f"/usr/bin/env --block-signal=TERM {_requoted(path)} reload"


def command_as_written(at: Assignment) -> CommandLine:
    """Return a command line with its specifiers, for another line of the same unit."""
    return read(at, lambda word: word)


def _requoted(path: str) -> str:
    return f'"{path}"' if re.search(r"\s", path) else path
