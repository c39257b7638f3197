"""Rules about memory, and the descriptor store, in which connections and workers outlive a process."""

from __future__ import annotations

from collections.abc import Iterator

from sockact.check.rule import Complaint, Cure, Severity, rule
from sockact.check.scope import Scope
from sockact.check.unit import CheckedUnit


def _room(unit: CheckedUnit) -> int:
    text = unit.value("Service.FileDescriptorStoreMax", "0")
    return int(text) if text.isdecimal() else 0


@rule(Severity.WARNING, "systemd.service(5), FileDescriptorStoreMax=")
def no_descriptor_store(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A restart closes open connections, and clients wait for the next process."""
    if unit.is_sockact and not _room(unit) and unit.setting("handover") != "no":
        cures = [Cure("Service.FileDescriptorStoreMax", "4096")]
        if scope.may_be_before(254) and "FDSTORE" not in unit.environment:
            cures.append(Cure("Service.Environment", "FDSTORE=4096"))
        at = unit.last("Service.FileDescriptorStoreMax")
        yield Complaint("expected FileDescriptorStoreMax=4096", at, tuple(cures))


@rule(Severity.WARNING, "systemd.exec(5), $FDSTORE")
def store_not_told(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """systemd before 254 does not tell the service that there is a store, so that it is not used."""
    if unit.is_sockact and _room(unit) and scope.may_be_before(254):
        if "FDSTORE" not in unit.environment:
            cures = (Cure("Service.Environment", f"FDSTORE={_room(unit)}"),)
            text = f"expected Environment=FDSTORE={_room(unit)} beside it"
            yield Complaint(text, unit.last("Service.FileDescriptorStoreMax"), cures)


@rule(Severity.WARNING, "systemd.exec(5), $FDSTORE")
def store_numbers_differ(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The service stores more than systemd keeps, and the rest is lost; or less than there is room for."""
    said, at = unit.environment.get("FDSTORE", ("", None))
    if unit.server and at and said != str(_room(unit)) and (said not in ("", "0") or _room(unit)):
        text = f"FDSTORE={said}, but FileDescriptorStoreMax={_room(unit)}: expected the same number"
        yield Complaint(text, at)


@rule(Severity.WARNING, "systemd.exec(5), RuntimeDirectoryPreserve=")
def runtime_directory_not_kept(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """A restart removes the folder under workers that go on, with the app's files in it."""
    stays = unit.is_sockact and unit.value("Service.KillMode") == "process"
    if stays and not unit.is_alone() and (at := unit.last("Service.RuntimeDirectory")):
        if unit.value("Service.RuntimeDirectoryPreserve", "no") in ("no", "false", "0", "off"):
            text = "expected RuntimeDirectoryPreserve=restart"
            yield Complaint(text, at, (Cure("Service.RuntimeDirectoryPreserve", "restart"),))


@rule(Severity.HINT, "systemd.resource-control(5), MemoryMax=, MemoryHigh=")
def memory_high_not_below_max(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The kernel kills a process at once, where it could slow the service down and free memory first."""
    limit, soft = unit.last("Service.MemoryMax"), unit.last("Service.MemoryHigh")
    if limit and soft and _size(limit.value) and _size(soft.value) >= _size(limit.value):
        yield Complaint(f"expected less than MemoryMax={limit.value}", soft)


@rule(Severity.WARNING, "systemd.resource-control(5), MemoryMax=")
def worker_limit_above_unit_limit(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The kernel kills a worker before sockact replaces it."""
    own, limit = _size(unit.setting("max_worker_memory") or ""), unit.last("Service.MemoryMax")
    if limit and own and (most := _size(limit.value)) and own >= most:
        text = "--max-worker-memory of a worker is not below MemoryMax= of the whole service"
        yield Complaint(text, limit)


def _size(text: str) -> int:
    """Return a number of bytes; 0 if it is none."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in ("K", "M", "G", "T") else (text, " ")
    return int(number) << 10 * " KMGT".index(unit) if number.isdecimal() else 0
