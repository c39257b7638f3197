"""Rules about the folders of a service: systemd makes and removes them."""

from __future__ import annotations

from collections.abc import Iterator

from sockact.check.rule import Complaint, Cure, Severity, rule
from sockact.check.scope import Scope
from sockact.check.unit import CheckedUnit
from sockact.systemd.unit_syntax import TRUE


@rule(Severity.ERROR, "systemd.exec(5), RuntimeDirectory=")
def shared_runtime_directory(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The end of one service removes the files of the other, such as its control socket."""
    own = dict(unit.words("Service.RuntimeDirectory"))
    for other in scope.others("service") if own else ():
        kept = other.value("Service.RuntimeDirectoryPreserve") in TRUE
        theirs = dict(other.words("Service.RuntimeDirectory"))
        for name in () if kept or unit.is_same(other) else sorted(own.keys() & theirs.keys()):
            yield Complaint(f"{other.name} has the same: expected RuntimeDirectory=%N", own[name])


@rule(Severity.ERROR, "systemd.exec(5), RuntimeDirectory=")
def instances_share_directory(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The end of one instance removes the files of all others."""
    for at in unit.every("Service.RuntimeDirectory") if "@" in unit.name else ():
        if not any(specifier in at.value for specifier in ("%i", "%I", "%n", "%N", "%j")):
            yield Complaint("all instances have the same: expected a name with %i", at)


@rule(Severity.WARNING, "systemd.exec(5), PrivateTmp=")
def private_tmp_keeps_port(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A restart of the socket unit fails now and then: a process that removes /tmp holds the port."""
    at = unit.last("Service.PrivateTmp")
    if at and unit.is_true("Service.PrivateTmp") and scope.may_be_since(254):
        for socket in scope.sockets_of(unit):
            if any("/" not in each.value for each in socket.every("Socket.ListenStream")):
                text = "expected no such line: TMPDIR in a CacheDirectory= does as well"
                yield Complaint(text, at)
                return


@rule(Severity.HINT, "systemd.unit(5); file-hierarchy(7)", "service", "socket")
def legacy_path(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """systemd takes the path in /run, and later versions complain when they load the unit."""
    for option in ("Service.PIDFile", "Socket.ListenStream", "Socket.ListenDatagram"):
        for at in unit.every(option):
            if at.value.startswith("/var/run/"):
                path = at.value.removeprefix("/var")
                cures = (Cure(option, path),) if len(unit.every(option)) == 1 else ()
                yield Complaint(f"expected {path}", at, cures)


@rule(Severity.ERROR, "systemd.exec(5), WorkingDirectory=")
def working_directory_relative(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """systemd refuses to load the unit."""
    at = unit.last("Service.WorkingDirectory")
    if at and not at.value.lstrip("-").startswith(("/", "~", "%")):
        yield Complaint("expected an absolute path", at)


@rule(Severity.ERROR, "systemd.exec(5), ProtectSystem=, ReadWritePaths=")
def file_in_read_only_folder(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The server cannot write the file, and fails."""
    main, server = unit.main, unit.server
    if main is None or server is None or unit.value("Service.ProtectSystem") != "strict":
        return
    made = [(root, name) for root, option in MADE for name, _ in unit.words(option)]
    writable = [f"{root}/{name.partition(':')[0]}" for root, name in made]
    writable += [path.lstrip("-+") for path, _ in unit.words("Service.ReadWritePaths", "Service.BindPaths")]
    writable += ["/tmp", "/var/tmp", "/dev", "/proc"]
    for option in ("--pid", "--pid-file", "--pidfile", "--access-logfile", "--error-logfile", "--log-file"):
        path = main.option(option) or ""
        if path.startswith("/") and not any(path.startswith(f"{folder}/") for folder in writable):
            yield Complaint(f"{path} cannot be written under ProtectSystem=strict", main.at)


MADE = (
    ("/run", "Service.RuntimeDirectory"),
    ("/var/lib", "Service.StateDirectory"),
    ("/var/cache", "Service.CacheDirectory"),
    ("/var/log", "Service.LogsDirectory"),
)
"""The folders that systemd makes for a service, and their options."""
