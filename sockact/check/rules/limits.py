"""Rules about failures: a service comes back, and its socket outlives a series of failures."""

from __future__ import annotations

from collections.abc import Iterator

from sockact.check.rule import Complaint, Cure, Severity, rule
from sockact.check.scope import Scope
from sockact.check.unit import CheckedUnit

RESTARTING = ("always", "on-failure", "on-success", "on-abnormal", "on-abort", "on-watchdog")
INTERVAL, BURST = 10.0, 5
"""The defaults of StartLimitIntervalSec= and StartLimitBurst=."""


def _restarts(unit: CheckedUnit) -> bool:
    return unit.value("Service.Restart") in RESTARTING


def _is_limited(unit: CheckedUnit) -> bool:
    """Return whether a service that fails at each start ends for good."""
    interval = unit.seconds("Unit.StartLimitIntervalSec", unit.seconds("Unit.StartLimitInterval", INTERVAL))
    burst = unit.value("Unit.StartLimitBurst", unit.value("Service.StartLimitBurst", str(BURST)))
    count = int(burst) if burst.isdecimal() else BURST
    pause = unit.seconds("Service.RestartSec", 0.1) if _restarts(unit) else 0.0
    return interval > 0 and pause * count < interval


@rule(Severity.WARNING, "systemd.unit(5), StartLimitIntervalSec=; systemd.socket(5)")
def failures_close_socket(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """Five fast failures end the service and its socket for good: connections are refused from then on."""
    if unit.server and scope.sockets_of(unit) and _is_limited(unit):
        at = unit.last("Unit.StartLimitIntervalSec")
        sure = _restarts(unit) and unit.seconds("Service.RestartSec", 0.1) >= 1
        cures = (Cure("Unit.StartLimitIntervalSec", "0"),) if sure else ()
        text = "expected StartLimitIntervalSec=0 in [Unit]"
        yield Complaint(text + ("" if sure else ", with Restart=on-failure and RestartSec=2s"), at, cures)


@rule(Severity.HINT, "systemd.unit(5), StartLimitIntervalSec=")
def failures_end_service(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """Five fast failures, while a database restarts for example, end the service for good."""
    if unit.server and not scope.sockets_of(unit) and _restarts(unit) and _is_limited(unit):
        at = unit.last("Service.RestartSec") or unit.last("Service.Restart")
        yield Complaint("expected RestartSec=2s or more, and StartLimitIntervalSec=0 in [Unit]", at)


@rule(Severity.WARNING, "systemd.service(5), RestartSec=")
def restart_without_pause(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A service that cannot start is tried ten times a second, for ever."""
    interval = unit.last("Unit.StartLimitIntervalSec")
    if _restarts(unit) and interval and unit.seconds("Unit.StartLimitIntervalSec", INTERVAL) == 0:
        if unit.seconds("Service.RestartSec", 0.1) < 0.5:
            at = unit.last("Service.RestartSec") or interval
            text = "without a start limit expected RestartSec=2s or more"
            yield Complaint(text, at, (Cure("Service.RestartSec", "2s"),))


@rule(Severity.WARNING, "systemd.service(5), Restart=")
def restart_missing(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """After a crash the service stays down until an administrator starts it."""
    if unit.server and not _restarts(unit) and not scope.sockets_of(unit) and unit.type != "oneshot":
        cures = (Cure("Service.Restart", "on-failure"), Cure("Service.RestartSec", "2s"))
        at = unit.last("Service.Restart")
        yield Complaint("expected Restart=on-failure, and RestartSec=2s", at, cures)


@rule(Severity.WARNING, "systemd.service(5), Restart=")
def restart_after_idle_exit(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A service that ends because nobody connects is started again at once, until the start limit."""
    at = unit.last("Service.Restart")
    if at and at.value == "always" and unit.setting("idle_exit") not in (None, "none"):
        text = "with --idle-exit expected Restart=on-failure"
        yield Complaint(text, at, (Cure("Service.Restart", "on-failure"),))


@rule(Severity.WARNING, "systemd.service(5), OOMPolicy=")
def memory_ends_service(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """One worker that runs out of memory stops the whole service, with the requests of the others."""
    if unit.server and unit.server.has_workers and not unit.is_alone():
        if unit.value("Service.OOMPolicy", "stop") != "continue":
            text = f"{unit.server.name} replaces its workers: expected OOMPolicy=continue"
            yield Complaint(text, unit.last("Service.OOMPolicy"), (Cure("Service.OOMPolicy", "continue"),))


@rule(Severity.WARNING, "systemd.exec(5), LimitNOFILE=")
def few_descriptors(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A connection, a file and a pipe need a descriptor each; without one, connections are not accepted."""
    at = unit.last("Service.LimitNOFILE")
    store = unit.value("Service.FileDescriptorStoreMax", "0")
    least = max(1024, int(store) if store.isdecimal() else 0)
    soft = at.value.partition(":")[0] if at else ""
    if at and unit.server and soft.isdecimal() and int(soft) < least:
        yield Complaint(f"expected {max(65536, least)}, or no limit here", at)


@rule(Severity.WARNING, "systemd.socket(5), TriggerLimitIntervalSec=", "socket")
def trigger_limit_off(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """While a condition of the service fails, systemd tries to start it without a pause, for ever."""
    at = unit.last("Socket.TriggerLimitIntervalSec") or unit.last("Socket.TriggerLimitBurst")
    conditions = ("Unit.Condition", "Unit.Assert")
    may_fail = any(each.option.startswith(conditions) for each in scope.service_of(unit).written)
    if at and may_fail and _is_unlimited(unit):
        yield Complaint("expected a limit, such as TriggerLimitBurst=200", at)


def _is_unlimited(unit: CheckedUnit) -> bool:
    """Return whether the trigger limit of a socket unit is off."""
    return (
        unit.seconds("Socket.TriggerLimitIntervalSec", 2.0) == 0
        or unit.value("Socket.TriggerLimitBurst", "20") == "0"
    )


@rule(Severity.HINT, "systemd.socket(5), TriggerLimitBurst=", "socket")
def trigger_limit_low(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A few stops in a row, while clients wait, end the socket for good, and reset who waits."""
    if unit.is_true("Socket.Accept") or _is_unlimited(unit) or scope.service_of(unit).server is None:
        return
    interval = unit.seconds("Socket.TriggerLimitIntervalSec", 2.0)
    burst = unit.value("Socket.TriggerLimitBurst", "20")
    if burst.isdecimal() and int(burst) / interval < 50:
        at = unit.last("Socket.TriggerLimitBurst") or unit.last("Socket.TriggerLimitIntervalSec")
        yield Complaint("expected TriggerLimitBurst=200", at, (Cure("Socket.TriggerLimitBurst", "200"),))
