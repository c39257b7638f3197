"""Rules about the end of a service: requests are answered first, and it does end."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sockact.check.rule import Complaint, Cure, Severity, rule
from sockact.check.rules.readiness import NOTIFYING
from sockact.check.rules.reloading import sends_signal, signal_sent
from sockact.check.scope import Scope
from sockact.check.unit import CheckedUnit
from sockact.config import values
from sockact.systemd import unit_syntax


@rule(Severity.ERROR, "systemd.service(5), TimeoutStopSec=")
def stop_timeout_below_drain(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """systemd kills the service while it still answers requests, and the unit counts as failed."""
    drain, stop = _drain(unit), _stop_timeout(unit)
    if unit.is_sockact and _is_heard(unit):
        return  # it asks for more time while it drains: sd_notify(3), EXTEND_TIMEOUT_USEC=
    if unit.server and drain is not None and stop <= drain < math.inf:
        at = unit.last("Service.TimeoutStopSec") or unit.last("Service.TimeoutSec")
        wanted = f"expected TimeoutStopSec={drain + 30:g}s or more"
        text = f"the drain may take {unit.server.drain}, {drain:g} s: {wanted}"
        yield Complaint(text, at, (Cure("Service.TimeoutStopSec", f"{drain + 30:g}s"),))


@rule(Severity.HINT, "systemd.service(5), TimeoutStopSec=")
def drain_without_limit(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """One client with an endless response holds up each stop until systemd kills the service."""
    if unit.server and unit.main and _drain(unit) == math.inf:
        stop = _stop_timeout(unit)
        limit = "expected" if stop == math.inf else f"expected less than TimeoutStopSec=, {stop:g} s, for"
        yield Complaint(f"the drain has no limit: {limit} {unit.server.drain}", unit.main.at)


@rule(Severity.WARNING, "systemd.service(5), TimeoutStopSec=")
def stop_without_limit(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A process that hangs holds up each stop, each restart, and the machine's shutdown, for ever."""
    if unit.server and _stop_timeout(unit) == math.inf:
        at = unit.last("Service.TimeoutStopSec") or unit.last("Service.TimeoutSec")
        yield Complaint("expected a limit, such as 60s", at)


@rule(Severity.WARNING, "systemd.kill(5), KillMode=")
def kill_mode_control_group(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A stop sends SIGTERM to the app's own child processes too: requests that wait for them fail."""
    server = unit.server
    if server and server.has_workers and unit.value("Service.KillMode", "control-group") == "control-group":
        mode = "process" if unit.is_sockact and not unit.is_alone() else "mixed"
        cures = (Cure("Service.KillMode", "mixed"),) if mode == "mixed" else ()
        yield Complaint(f"expected KillMode={mode}", unit.last("Service.KillMode"), cures)


@rule(Severity.ERROR, "systemd.kill(5), KillMode=")
def kill_mode_leaves_processes(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """Processes live on after a stop, keep the port, and meet those of the next start."""
    at = unit.last("Service.KillMode")
    if at is None or unit.server is None:
        return
    if at.value == "none":
        cures = (Cure("Service.KillMode", "mixed"),)
        yield Complaint("KillMode=none ends nothing, and is obsolete: expected mixed", at, cures)
    elif at.value == "process" and not _leaves_workers(unit):
        who = "sockact without workers" if unit.is_alone() else unit.server.name
        cures = (Cure("Service.KillMode", "mixed"),)
        text = f"{who} does not take over the processes of the one before: expected mixed"
        yield Complaint(text, at, cures)


def _leaves_workers(unit: CheckedUnit) -> bool:
    """Return whether it is a sockact whose workers are to go on in a restart."""
    return unit.is_sockact and unit.value("Service.KillMode") == "process" and not unit.is_alone()


@rule(Severity.ERROR, "systemd.service(5), NonBlocking=")
def listener_becomes_blocking(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """systemd makes the sockets blocking at each start, for workers that serve on too: they may hang."""
    if _leaves_workers(unit) and not unit.is_true("Service.NonBlocking"):
        at = unit.last("Service.NonBlocking") or unit.last("Service.KillMode")
        text = "workers go on while the next process starts: expected NonBlocking=yes"
        yield Complaint(text, at, (Cure("Service.NonBlocking", "yes"),))


@rule(Severity.WARNING, "systemd.service(5), ExitType=")
def exit_type_waits(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A restart waits for the end of the workers that are to go on."""
    at = unit.last("Service.ExitType")
    if at and at.value == "cgroup" and _leaves_workers(unit):
        yield Complaint("expected ExitType=main", at, (Cure("Service.ExitType", "main"),))


@rule(Severity.WARNING, "systemd.service(5), ExecStop=")
def restart_not_told(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """sockact takes a restart for a stop, and drains: clients wait until the next process has started."""
    if _leaves_workers(unit) and not unit.every("Service.ExecStop"):
        if unit.is_true("Service.DynamicUser"):  # the system bus tells all other users
            yield Complaint("no ExecStop= tells a restart: expected that of units/app.service")


@rule(Severity.WARNING, "systemd.service(5), ExecStopPost=")
def processes_after_stop(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """Processes that the app has forgotten live on after a stop."""
    if _leaves_workers(unit) and not unit.every("Service.ExecStopPost"):
        at = unit.last("Service.KillMode")
        yield Complaint("with KillMode=process expected the ExecStopPost= of units/app.service", at)


@rule(Severity.ERROR, "systemd.kill(5), KillSignal=")
def kill_signal_cuts(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A stop and a restart end the requests in flight."""
    at = unit.last("Service.KillSignal")
    if at and unit.server:
        name = at.value if at.value.startswith("SIG") else f"SIG{at.value}"
        if name in (*unit.server.cutting, "SIGKILL", "SIG9"):
            text = f"{unit.server.name} does not drain on {name}: expected SIGTERM"
            yield Complaint(text, at, (Cure("Service.KillSignal", "SIGTERM"),))
    for command in unit.commands("ExecStop"):
        if unit.server and sends_signal(command):
            if (name := signal_sent(command)) in (*unit.server.cutting, "SIGKILL"):
                text = f"{unit.server.name} does not drain on {name}: expected no ExecStop="
                only = len(unit.every("Service.ExecStop")) == 1
                yield Complaint(text, command.at, (Cure("Service.ExecStop", ""),) if only else ())


@rule(Severity.WARNING, "systemd.service(5), ExecStop=")
def stop_by_signal(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """kill(1) returns at once, so that systemd sends a second SIGTERM, which may end the drain."""
    for command in unit.commands("ExecStop"):
        if unit.server and sends_signal(command) and signal_sent(command) == "SIGTERM":
            only = len(unit.every("Service.ExecStop")) == 1
            text = "expected no ExecStop=: systemd sends KillSignal= by itself"
            yield Complaint(text, command.at, (Cure("Service.ExecStop", ""),) if only else ())


def _drain(unit: CheckedUnit) -> float | None:
    """Return how long the server drains: infinity without a limit, None if that is not known."""
    server, main = unit.server, unit.main
    if server is None or main is None or not server.drain:
        return None
    if unit.is_sockact:
        return _limit_of(unit, "drain_timeout", 30.0)
    given = unit_syntax.seconds(main.option(server.drain) or "")
    default = math.inf if server.drain_limit is None else server.drain_limit
    return default if given is None else given


def _limit_of(unit: CheckedUnit, setting: str, default: float) -> float:
    """Return a time span among sockact's settings; infinity for `none`."""
    text = unit.setting(setting)
    try:
        found = default if text is None else values.seconds_or_none(text)
    except ValueError:
        return default
    return math.inf if found is None else found


def _is_heard(unit: CheckedUnit) -> bool:
    """Return whether systemd takes notice of the service's notifications."""
    default = "main" if unit.type in NOTIFYING else "none"
    return unit.value("Service.NotifyAccess", default) != "none" or unit.type in NOTIFYING


def _stop_timeout(unit: CheckedUnit) -> float:
    """Return the limit of a stop; systemd takes 0 for none."""
    given = unit.seconds("Service.TimeoutStopSec", unit.seconds("Service.TimeoutSec", 90.0))
    return given or math.inf
