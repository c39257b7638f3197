"""Rules about the start of a service: systemd has to learn when it serves, and from the right process."""

from __future__ import annotations

from collections.abc import Iterator

from sockact.check.command import SHELLS
from sockact.check.rule import Complaint, Cure, Severity, rule
from sockact.check.scope import Scope
from sockact.check.unit import CheckedUnit

NOTIFYING = ("notify", "notify-reload")


@rule(Severity.WARNING, "systemd.service(5), Type=")
def readiness_not_told(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """`systemctl start` returns before the service answers, and a start that fails counts as a success."""
    server = unit.server
    if server and server.tells_ready and unit.type not in (*NOTIFYING, "oneshot", "forking"):
        cures = (Cure("Service.Type", "notify"),) if unit.is_sockact else ()
        text = f"{server.name} sends READY=1, and Type={unit.type} does not wait: expected Type=notify"
        yield Complaint(text, unit.last("Service.Type"), cures)


@rule(Severity.ERROR, "systemd.service(5), Type=")
def readiness_never_told(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """Each start waits for READY=1 until TimeoutStartSec= is over, and fails then."""
    server = unit.server
    at = unit.last("Service.Type")
    if server and unit.type in NOTIFYING and not server.tells_ready:
        yield Complaint(f"{server.name} does not send READY=1: expected Type=exec", at)
    if server and unit.type == "oneshot":
        yield Complaint(f"{server.name} does not end, and Type=oneshot waits for its end", at)
    if server and unit.type == "forking" and unit.main and unit.main.option(*server.daemonizing) is None:
        yield Complaint(f"{server.name} stays in the foreground, and Type=forking waits for its end", at)


@rule(Severity.HINT, "systemd.service(5), Type=")
def start_always_succeeds(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A program that cannot be executed, or a user that does not exist, does not fail `systemctl start`."""
    if unit.server and not unit.server.tells_ready and unit.type == "simple":
        text = "Type=simple counts as started before the program is executed: Type=exec waits for that"
        yield Complaint(text, unit.last("Service.Type"), (Cure("Service.Type", "exec"),))


@rule(Severity.ERROR, "systemd.service(5), Type=")
def main_process_leaves(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """systemd takes the end of the first process for that of the service, and ends the rest."""
    server, main = unit.server, unit.main
    if server and main and server.daemonizing and unit.type != "forking":
        if main.option(*server.daemonizing) is not None:
            text = f"{'/'.join(server.daemonizing)} lets the main process leave: start it in the foreground"
            yield Complaint(text, main.at)


@rule(Severity.WARNING, "systemd.service(5), NotifyAccess=; sd_listen_fds(3)")
def shell_without_exec(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The shell may be the main process: READY=1, sockets and SIGTERM then miss the server."""
    main = unit.main
    if main and unit.server and main.script is not None and main.stays in SHELLS:
        # Some shells replace themselves for the last command of a script: bash, and dash since 0.5.11.
        text = f"{main.stays} runs {unit.server.name}, and may stay: expected `exec` before that command"
        yield Complaint(text, main.at)


@rule(Severity.ERROR, "systemd.service(5), NotifyAccess=; sd_listen_fds(3)")
def wrapper_stays(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The wrapper, not the program, is the main process: READY=1 and sockets miss the program."""
    main = unit.main
    if main and unit.server and main.stays and main.stays not in SHELLS:
        access = unit.value("Service.NotifyAccess", "main")
        if unit.type in NOTIFYING and access not in ("all", "exec"):
            lost = "its READY=1 is ignored (NotifyAccess=main)"
        elif scope.sockets_of(unit):
            lost = "the sockets are passed to the wrapper"
        else:
            return
        text = f"{main.stays} stays as the parent of {unit.server.name}, and {lost}: start it directly"
        yield Complaint(text, main.at)


@rule(Severity.WARNING, "systemd.service(5), NotifyAccess=")
def notify_access_none(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """systemd ignores the service's status, watchdog pings and descriptors."""
    at = unit.last("Service.NotifyAccess")
    if at and at.value == "none" and unit.server and unit.server.tells_ready:
        text = f"{unit.server.name} has something to say: expected NotifyAccess=main"
        yield Complaint(text, at, (Cure("Service.NotifyAccess", "main"),))


@rule(Severity.HINT, "systemd.service(5), NotifyAccess=")
def notify_access_all(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """Any process of a compromised app can tell systemd that the service is ready, or stops."""
    at = unit.last("Service.NotifyAccess")
    if at and at.value == "all" and unit.main and unit.server and not unit.main.stays:
        text = f"the main process of {unit.server.name} speaks for it: NotifyAccess=main is enough"
        yield Complaint(text, at, (Cure("Service.NotifyAccess", "main"),))


@rule(Severity.ERROR, "systemd.service(5), WatchdogSec=")
def watchdog_without_pings(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """systemd aborts the service, with its requests, each time the interval is over."""
    at = unit.last("Service.WatchdogSec")
    if at and unit.seconds("Service.WatchdogSec", 0) and unit.server and not unit.server.pings:
        text = f"{unit.server.name} does not send WATCHDOG=1: expected no WatchdogSec="
        yield Complaint(text, at, (Cure("Service.WatchdogSec", "0"),))


@rule(Severity.WARNING, "systemd.service(5), WatchdogSec=")
def watchdog_during_start(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A start that takes longer, of an app with many imports, is aborted again and again."""
    at = unit.last("Service.WatchdogSec")
    if at and unit.seconds("Service.WatchdogSec", 0) and unit.server and unit.server.pings:
        if unit.type not in NOTIFYING:
            text = f"with Type={unit.type} it counts before the app is imported: expected Type=notify"
            yield Complaint(text, at, (Cure("Service.Type", "notify"),))
        elif unit.seconds("Service.WatchdogSec", 0) < 2:
            text = "a garbage collection or a busy machine takes as long: expected 10s or more"
            yield Complaint(text, at)
