"""Rules about socket units: their queues, their options, and their addresses."""

from __future__ import annotations

import os.path
from collections.abc import Iterator

from sockact.check.rule import Complaint, Cure, Severity, rule
from sockact.check.scope import Scope
from sockact.check.unit import CheckedUnit
from sockact.systemd.unit_syntax import TRUE, Assignment

LISTEN = ("Socket.ListenStream", "Socket.ListenDatagram", "Socket.ListenSequentialPacket")

ANSWERED = ("health", "agent", "metrics")
"""Names of sockets on which sockact itself answers: `sockets.fds.ANSWERED`."""


def _is_path(address: str) -> bool:
    """Return whether an address is a Unix socket's, abstract ones included."""
    return address.startswith(("/", "@"))


@rule(Severity.WARNING, "systemd.socket(5), ReusePort=; socket(7), SO_REUSEPORT", "socket")
def reuse_port(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """Each such socket has a queue of its own, and connections in the queue of a closed one are reset."""
    at = unit.last("Socket.ReusePort")
    if at and unit.is_true("Socket.ReusePort"):
        text = "workers share the one socket of systemd: expected ReusePort=no"
        yield Complaint(text, at, (Cure("Socket.ReusePort", "no"),))


@rule(Severity.WARNING, "systemd.socket(5), Backlog=; listen(2)", "socket")
def backlog_low(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """Clients that come during a restart wait in this queue; those that find it full wait for seconds."""
    at = unit.last("Socket.Backlog")
    if at and at.value.isdecimal() and int(at.value) < 1024 and not unit.is_true("Socket.Accept"):
        yield Complaint("expected 4096, or no such line", at, (Cure("Socket.Backlog", "4096"),))


@rule(Severity.WARNING, "systemd.socket(5), FlushPending=", "socket")
def queue_flushed(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """Clients that came while the service stopped are reset when it starts again."""
    at = unit.last("Socket.FlushPending")
    if at and unit.is_true("Socket.FlushPending"):
        yield Complaint("expected FlushPending=no", at, (Cure("Socket.FlushPending", "no"),))


@rule(Severity.HINT, "systemd.socket(5), NoDelay=, KeepAlive=; tcp(7)", "socket")
def tcp_option_on_unix_socket(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """systemd complains at each start of the socket, and the line does nothing."""
    addresses = unit.words(*LISTEN)
    if addresses and all(_is_path(address) for address, _ in addresses):
        for option in ("Socket.NoDelay", "Socket.DeferAcceptSec"):
            at = unit.last(option)
            if at and at.value not in ("0", "no"):
                name = option.removeprefix("Socket.")
                text = f"{name}= is for TCP, and {addresses[0][0]} is a Unix socket"
                yield Complaint(text, at)


@rule(Severity.HINT, "systemd.socket(5), SocketMode=", "socket")
def socket_open_to_all(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """Every user and every service of the machine can send requests past the proxy, with any header."""
    mode = unit.value("Socket.SocketMode", "0666")
    paths = [at for address, at in unit.words("Socket.ListenStream") if address.startswith("/")]
    if paths and scope.service_of(unit).server and mode.isdigit() and mode.endswith(("6", "7", "2", "3")):
        at = unit.last("Socket.SocketMode") or paths[0]
        yield Complaint("expected SocketMode=0660, and the proxy's group as SocketGroup=", at)


@rule(Severity.ERROR, "systemd.socket(5), ListenStream=; bind(2)", "socket")
def address_of_two_sockets(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The second of both fails with "Address already in use"; which one that is depends on the boot."""
    if unit.is_true("Socket.ReusePort"):
        return
    own = _addresses(unit)
    for other in scope.others("socket"):
        # One of two that is not enabled may be meant as a substitute.
        if not unit.is_same(other) and other.files.enabled == unit.files.enabled:
            for address in own.keys() & _addresses(other).keys():
                yield Complaint(f"{other.name} listens on {address} too", own[address])


def _addresses(unit: CheckedUnit) -> dict[str, Assignment]:
    """Return the addresses that are known completely, each with its protocol."""
    return {
        f"{address} ({at.option.removeprefix('Socket.Listen')})": at
        for address, at in unit.words(*LISTEN)
        if "%" not in address
    }


@rule(Severity.ERROR, "systemd.socket(5)", "socket")
def no_address(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """systemd refuses to load the unit."""
    if unit.files.fragment and not any(each.option.startswith("Socket.Listen") for each in unit.written):
        yield Complaint("there is no ListenStream=, nor another Listen...=")


@rule(Severity.ERROR, "systemd.socket(5), FileDescriptorName=", "socket")
def no_socket_for_app(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """sockact itself answers on sockets of this name: the app has none, and the service does not start."""
    at, service = unit.last("Socket.FileDescriptorName"), scope.service_of(unit)
    if at and at.value in ANSWERED and service.is_sockact:
        others = [socket.value("Socket.FileDescriptorName") for socket in scope.sockets_of(service)]
        if all(name in ANSWERED for name in others):
            yield Complaint(f"expected another name, or another socket unit for {service.name}", at)


@rule(Severity.ERROR, "systemd.exec(5), RuntimeDirectory=; systemd.socket(5)", "socket")
def socket_in_runtime_directory(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The folder is removed when the service stops, and the socket's path with it: nobody can connect."""
    service = scope.service_of(unit)
    if service.value("Service.RuntimeDirectoryPreserve") in TRUE:
        return
    folders = [f"/run/{name.partition(':')[0]}" for name, _ in service.words("Service.RuntimeDirectory")]
    for path, at in unit.words(*LISTEN):
        for folder in folders:
            if os.path.normpath(path).startswith(f"{folder}/"):
                owner = f"a RuntimeDirectory= of {service.name}"
                text = f"{folder} is {owner}: expected a path elsewhere in /run"
                yield Complaint(text, at)
