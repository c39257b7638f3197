"""Rules about the sandbox: what it keeps the service from, and what it leaves open."""

from __future__ import annotations

from collections.abc import Iterator

from sockact.check.reachable import packages_of
from sockact.check.rule import Complaint, Cure, Severity, rule
from sockact.check.scope import Scope
from sockact.check.unit import CheckedUnit

CONFINING = (
    *("NoNewPrivileges", "ProtectSystem", "ProtectHome", "PrivateDevices", "ProtectKernelTunables"),
    *("ProtectKernelModules", "ProtectControlGroups", "RestrictAddressFamilies", "RestrictNamespaces"),
    *("CapabilityBoundingSet", "SystemCallFilter", "LockPersonality", "RestrictSUIDSGID"),
)
WRITES_CODE = (
    *("numba", "llvmlite", "jax", "jaxlib", "torch", "tensorflow", "triton"),
    *("wasmtime", "wasmer", "lupa"),
)
"""Packages that write code at run time."""


@rule(Severity.WARNING, "systemd.exec(5), User=, DynamicUser=")
def runs_as_root(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A mistake in the app, or in a library, is one of root's."""
    if unit.server and unit.is_roots:
        yield Complaint("expected DynamicUser=yes, or a User=", unit.last("Service.User"))


@rule(Severity.ERROR, "systemd.exec(5), PrivatePIDs=")
def private_pids(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """systemd passes the sockets to a number that is nobody's there, and no worker outlives a restart."""
    if unit.is_sockact and unit.is_true("Service.PrivatePIDs"):
        cures = (Cure("Service.PrivatePIDs", "no"),)
        yield Complaint("expected PrivatePIDs=no", unit.last("Service.PrivatePIDs"), cures)


@rule(Severity.HINT, "systemd.exec(5), SANDBOXING; systemd-analyze(1), security")
def exposed(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A compromised app can read and change whatever its user may, and try out the kernel."""
    if unit.server:
        missing = [name for name in CONFINING if not unit.sets(f"Service.{name}")]
        if len(missing) > len(CONFINING) // 2:
            yield Complaint(f"expected a sandbox, at least {', '.join(f'{name}=' for name in missing[:4])}")


@rule(Severity.WARNING, "systemd.exec(5), User=")
def user_nobody(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """Other services and network filesystems have the same user: they can signal and trace this one."""
    at = unit.last("Service.User")
    if at and at.value in ("nobody", "65534"):
        cures = (Cure("Service.User", ""), Cure("Service.DynamicUser", "yes"))
        yield Complaint("expected DynamicUser=yes, or a user of its own", at, cures)


@rule(Severity.ERROR, "systemd.exec(5), PrivateNetwork=", "service", "socket")
def private_network(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The server listens in a network of its own, where nobody can reach it."""
    at = unit.last(f"{unit.kind.capitalize()}.PrivateNetwork")
    if at and unit.is_true(at.option) and not scope.sockets_of(unit):
        if unit.kind == "service" and unit.server is None:
            return
        better = {"service": "a socket unit, or no such line", "socket": "it in the service"}
        yield Complaint(f"expected {better[unit.kind]}", at)


@rule(Severity.ERROR, "systemd.exec(5), RestrictAddressFamilies=; sd_notify(3)")
def notify_socket_forbidden(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The service cannot say READY=1, for which it needs a Unix socket, and its start times out."""
    every = unit.every("Service.RestrictAddressFamilies")
    allowed = unit.words("Service.RestrictAddressFamilies")
    if every and unit.type in ("notify", "notify-reload") and not every[0].value.startswith("~"):
        if "AF_UNIX" not in {word for word, _ in allowed}:
            value = f"AF_UNIX {every[-1].value}".replace(" none", "")
            cures = (Cure("Service.RestrictAddressFamilies", value),)
            yield Complaint("expected AF_UNIX too", every[-1], cures)


@rule(Severity.ERROR, "systemd.exec(5), RestrictAddressFamilies=; socket(2)")
def address_family_forbidden(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The server cannot make its listening socket, and fails; passed sockets are not concerned."""
    every, main = unit.every("Service.RestrictAddressFamilies"), unit.main
    if every and main and unit.server and not every[0].value.startswith("~") and not scope.sockets_of(unit):
        allowed = {word for word, _ in unit.words("Service.RestrictAddressFamilies")}
        address = main.option(*unit.server.binding) or ""
        if not allowed & {"AF_INET", "AF_INET6"} and not address.startswith(("unix:", "/")):
            yield Complaint("without a socket unit expected AF_INET and AF_INET6 too", every[-1])


@rule(Severity.WARNING, "systemd.exec(5), PrivateUsers=")
def proxy_user_unknown(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The proxy's user is nobody's here: its headers are never trusted, and nothing says so."""
    trusted = unit.setting("trusted_proxies") or ""
    at = unit.last("Service.PrivateUsers")
    if at and unit.is_true("Service.PrivateUsers") and "uid=" in trusted:
        text = "uid= of trusted_proxies does not match under PrivateUsers=yes: expected PrivateUsers=no"
        yield Complaint(text, at, (Cure("Service.PrivateUsers", "no"),))


@rule(Severity.WARNING, "systemd.exec(5), MemoryDenyWriteExecute=")
def code_cannot_be_written(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The app fails when it compiles its first function: this library writes code at run time."""
    at, main = unit.last("Service.MemoryDenyWriteExecute"), unit.main
    if at and main and unit.is_true("Service.MemoryDenyWriteExecute"):
        installed = set(packages_of(main)) if scope.here else set()
        found = [name for name in WRITES_CODE if name in installed]
        found += [main.path] if "pypy" in main.path or main.path.endswith("/node") else []
        if found:
            cures = (Cure("Service.MemoryDenyWriteExecute", "no"),)
            yield Complaint(f"{found[0]} writes code at run time: expected no such line", at, cures)


@rule(Severity.HINT, "systemd.resource-control(5), IPAddressDeny=")
def filter_misses_socket(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The filter is for the service's own sockets: clients of the passed ones are not filtered."""
    at = unit.last("Service.IPAddressAllow")
    if (
        at
        and unit.server
        and (sockets := scope.sockets_of(unit))
        and not any(
            socket.every("Socket.IPAddressAllow") or socket.every("Socket.IPAddressDeny")
            for socket in sockets
        )
    ):
        yield Complaint(f"to filter clients expected it in {sockets[0].name}", at)
