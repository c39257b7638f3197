"""Rules about a service and its socket unit: which starts which, and which outlives which."""

from __future__ import annotations

from collections.abc import Iterator

from sockact.check.rule import Complaint, Cure, Severity, rule
from sockact.check.scope import Scope
from sockact.check.unit import CheckedUnit

REQUIRING = ("Unit.Requires", "Unit.BindsTo", "Unit.Requisite")
BOOT = {"multi-user.target", "default.target", "graphical.target"}
PULLING = (*REQUIRING, "Unit.Wants", "Unit.Upholds")


@rule(Severity.WARNING, "systemd.unit(5), Requires=; systemd.socket(5)")
def socket_not_required(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """`systemctl restart` of the socket unit fails, and the next start of the service has no socket."""
    required = {name for name, _ in unit.units(*REQUIRING)}
    for socket in scope.sockets_of(unit) if unit.server else ():
        if socket.name not in required:
            at = next((at for name, at in unit.units("Unit.Wants") if name == socket.name), None)
            written = _written(socket.name, unit)
            cures = () if at else (Cure("Unit.Requires", written), Cure("Unit.After", written))
            yield Complaint(f"expected Requires={written}", at, cures)


def _written(name: str, unit: CheckedUnit) -> str:
    """Return a socket unit's name as a template writes it."""
    return name.replace("@.", "@%i.") if "@." in unit.name else name


@rule(Severity.WARNING, "systemd.unit(5), Before=, After=")
def order_missing(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """Both are started at the same time: the service may fail at boot, now and then."""
    ordered = {name for name, _ in unit.units("Unit.After", "Service.Sockets")}
    ordered |= {socket.name for socket in scope.sockets_of(unit)}  # by systemd itself: systemd.socket(5)
    for name, at in unit.units(*REQUIRING, "Unit.Wants"):
        # Wanted units may start at the same time, or fail; other targets are groups.
        awaited = name == "network-online.target" or (
            at.option != "Unit.Wants" and not name.endswith(".target")
        )
        if awaited and name not in ordered and not name.endswith((".slice", ".scope")):
            text = f"{name} is started with it, not before it: expected After={name} too"
            yield Complaint(text, at, (Cure("Unit.After", name),))


@rule(Severity.HINT, "systemd.special(7), network-online.target")
def network_not_awaited(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The line has no effect unless another unit happens to pull the target in."""
    wanted = {name for name, _ in unit.units(*PULLING)}
    for name, at in unit.units("Unit.After"):
        if name == "network-online.target" and name not in wanted:
            text = "nothing starts the target: expected Wants=network-online.target too"
            yield Complaint(text, at, (Cure("Unit.Wants", name),))


@rule(Severity.WARNING, "systemd.unit(5), Also=")
def also_missing(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """`systemctl enable` of the service leaves the socket unit behind: after a boot nothing listens."""
    installed = unit.every("Install.WantedBy") or unit.every("Install.RequiredBy")
    linked = {name for name, _ in unit.units("Install.Also", *PULLING)}
    for socket in scope.sockets_of(unit):
        if installed and unit.server and socket.name not in linked:
            written = _written(socket.name, unit)
            yield Complaint(f"expected Also={written}", installed[-1], (Cure("Install.Also", written),))


@rule(Severity.HINT, "systemd.unit(5), WantedBy=")
def wanted_beside_socket(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The service is started at boot although nobody connects; to disable the socket is not enough."""
    at = unit.last("Install.WantedBy")
    if at and unit.server and (sockets := scope.sockets_of(unit)):
        if BOOT & {name for name, _ in unit.words(at.option)}:
            text = f"{sockets[0].name} starts it: this line is needed only to start it at boot"
            yield Complaint(text, at)


@rule(Severity.ERROR, "systemd.unit(5), StopWhenUnneeded=")
def stopped_when_unneeded(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """systemd stops the service once it has started: a socket unit starts it, and does not need it."""
    at = unit.last("Unit.StopWhenUnneeded")
    if at and unit.is_true("Unit.StopWhenUnneeded") and (sockets := scope.sockets_of(unit)):
        text = f"{sockets[0].name} does not count as a unit that needs it: expected no such line"
        yield Complaint(text, at, (Cure("Unit.StopWhenUnneeded", "no"),))


@rule(Severity.HINT, "systemd.unit(5), [Install]")
def service_not_installed(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """`systemctl enable` does nothing: after a boot the service is not started."""
    stem = unit.name.removesuffix(".service")
    triggered = any(scope.exists(f"{stem}.{kind}") for kind in ("socket", "path", "timer"))
    if unit.server and not triggered and not scope.sockets_of(unit) and unit.type != "oneshot":
        if not unit.has_section("Install") and not unit.files.enabled:
            text = "expected [Install] with WantedBy=multi-user.target"
            yield Complaint(text, None, (Cure("Install.WantedBy", "multi-user.target"),))


@rule(Severity.WARNING, "systemd.unit(5), [Install]; systemd.special(7), sockets.target", "socket")
def socket_not_installed(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """`systemctl enable` does nothing: after a boot nothing listens."""
    service = scope.service_of(unit)
    pulled = service.has_section("Install") and unit.name in {name for name, _ in service.units(*PULLING)}
    if service.server and not unit.has_section("Install") and not unit.files.enabled and not pulled:
        text = "expected [Install] with WantedBy=sockets.target"
        yield Complaint(text, None, (Cure("Install.WantedBy", "sockets.target"),))


@rule(Severity.ERROR, "systemd.socket(5), Service=", "socket")
def service_of_socket_missing(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The socket unit cannot be started, or each connection fails."""
    service = scope.service_of(unit)
    if unit.files.fragment and not scope.exists(service.name):
        at = unit.last("Socket.Service") or unit.last("Socket.Accept")
        yield Complaint(f"there is no {service.name}", at)


@rule(Severity.ERROR, "systemd.socket(5), Accept=", "socket")
def accepted_for_a_server(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """Each connection starts a server of its own, which finds no listening socket and fails."""
    at = unit.last("Socket.Accept")
    if at and unit.is_true("Socket.Accept"):
        stem = unit.name.removesuffix(".socket")
        services = [scope.unit(f"{stem}@.service"), scope.unit(f"{stem}.service")]
        server = next((each.server for each in services if each.server), None)
        if server:
            text = f"{server.name} accepts by itself: expected Accept=no"
            yield Complaint(text, at, (Cure("Socket.Accept", "no"),))
