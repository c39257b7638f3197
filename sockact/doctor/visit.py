"""A visit of `sockact doctor`: remarks about the machine and a service, as a page or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from sockact.check.rule import Finding, Severity
from sockact.doctor import machine, python, service
from sockact.doctor.facts import Facts
from sockact.doctor.remark import LOOKS, Level, Remark
from sockact.untrusted.text import visible

GROUPS = {"machine": machine, "Python": python, "service": service}
"""The modules with looks, by the headings of the page."""
SIGNS = {Level.FINE: "ok", Level.NOTE: "--", Level.TROUBLE: "!!"}


def remarks(facts: Facts, findings: Sequence[Finding]) -> dict[str, list[Remark]]:
    """Return all remarks by their headings: facts first, then troubles."""
    found = {heading: _troubles(facts, module.__name__) for heading, module in GROUPS.items()}
    found["machine"] = [*_about_machine(facts), *found["machine"]]
    found["Python"] = [*_about_python(facts), *found["Python"]]
    found["service"] = [*_about_service(facts), *found["service"]]
    found["unit"] = list(_about_unit(facts, findings))
    return {heading: group for heading, group in found.items() if group}


def _troubles(facts: Facts, module: str) -> list[Remark]:
    return [
        Remark(name, Level.TROUBLE, text, help_text)
        for name, look in LOOKS.items()
        if look.__module__ == module
        for text, help_text in look(facts)
    ]


def _about_machine(facts: Facts) -> Iterator[Remark]:
    yield Remark("versions", Level.FINE, f"systemd {facts.version}, Linux {facts.kernel}")
    somaxconn = facts.sysctls.get("net/core/somaxconn", "")
    memory = f"{facts.available >> 20} MiB available"
    yield Remark("queue", Level.FINE, f"net.core.somaxconn={somaxconn}, {memory}")
    if not facts.bus:
        yield Remark("bus", Level.NOTE, "there is no system bus: only root can ask systemd")
    if not facts.naming:
        yield Remark("nss", Level.NOTE, "dynamic users have no names here: libnss-systemd would give them")
    for since, line, use in machine.ABILITIES:
        known = facts.version is not None and facts.version >= since
        if known and facts.unit and not facts.unit.sets(f"Service.{line.partition('=')[0]}"):
            yield Remark("ability", Level.NOTE, f"{line} {use}")


def _about_python(facts: Facts) -> Iterator[Remark]:
    if facts.python and facts.python.interpreter:
        version = facts.python.packages.get("sockact", "")
        sockact = f", sockact {version}" if version else ""
        yield Remark("python", Level.FINE, f"{facts.python.folder}: {facts.python.interpreter}{sockact}")


def _about_service(facts: Facts) -> Iterator[Remark]:
    if facts.unit is None:
        return
    state, sub = facts.service.get("ActiveState", "unknown"), facts.service.get("SubState", "")
    pid = facts.service.get("MainPID")
    yield Remark("state", Level.FINE, f"{facts.name} is {state} ({sub}), main pid {pid}")
    for name, found in facts.sockets.items():
        text = f"{name} is {found.get('ActiveState')}, Backlog={found.get('Backlog')}"
        yield Remark("socket", Level.FINE, text)
    yield from _about_workers(facts)
    most = facts.number("FileDescriptorStoreMax")
    if most:
        stored = facts.number("NFileDescriptorStore")
        yield Remark("store", Level.FINE, f"systemd stores {stored} of {most} descriptors")
    for path in facts.changed:
        if path not in facts.unread:
            text = f"{path} is newer than the main process: a restart applies all of it"
            yield Remark("newer", Level.NOTE, text)


def _about_workers(facts: Facts) -> Iterator[Remark]:
    if facts.is_refused:
        yield Remark("refused", Level.NOTE, "only root, and its own user, may ask the service for more")
    if facts.overview is None:
        return
    ready = sum(each["phase"] == "ready" for each in facts.workers)
    connections = sum(each["connections"] or 0 for each in facts.workers)
    rss = sum(each["rss"] or 0 for each in facts.workers)
    yield Remark("workers", Level.FINE, f"{ready} of {len(facts.workers)} workers ready")
    limit = facts.service.get("MemoryMax", "")
    yield Remark("memory", Level.FINE, f"{rss >> 20} MiB in all workers, MemoryMax={limit}")
    if facts.descriptors:
        used, most = max(facts.descriptors.values(), key=lambda each: each[0] / each[1])
        text = f"{connections} connections; at most {used} of {most} descriptors are open in a process"
        yield Remark("descriptors", Level.FINE, text)


def _about_unit(facts: Facts, findings: Sequence[Finding]) -> Iterator[Remark]:
    if facts.unit is not None and not findings:
        yield Remark("check", Level.FINE, "`sockact check` finds nothing")
    for each in findings:
        level = Level.NOTE if each.rule.severity is Severity.HINT else Level.TROUBLE
        at = each.complaint.at
        where = f" ({at.path}:{at.line})" if at else ""
        yield Remark(each.rule.name, level, f"{each.complaint.text}{where}", each.rule.consequence)


def has_trouble(groups: dict[str, list[Remark]]) -> bool:
    """Return whether something needs a hand."""
    return any(each.level is Level.TROUBLE for group in groups.values() for each in group)


def page(groups: dict[str, list[Remark]], title: str) -> str:
    """Return the page for a terminal."""
    count = sum(each.level is Level.TROUBLE for group in groups.values() for each in group)
    verdict = "nothing needs a hand" if not count else f"{count} thing{'s' if count > 1 else ''} to look at"
    return "\n".join([f"{visible(title)}: {verdict}", *_lines(groups)])


def _lines(groups: dict[str, list[Remark]]) -> Iterable[str]:
    for heading, group in groups.items():
        yield f"\n{heading}"
        for each in group:
            name = f"{each.name}: " if each.level is Level.TROUBLE else ""
            yield visible(f"  {SIGNS[each.level]}  {name}{each.text}")
            if each.help:
                yield visible(f"      {each.help}")


def as_json(groups: dict[str, list[Remark]]) -> str:
    """Return the remarks as JSON: an array for each heading."""
    members = {heading: [each._asdict() for each in group] for heading, group in groups.items()}
    return json.dumps(members, indent=2).replace("\x7f", r"\u007f")
