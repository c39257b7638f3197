"""Rules about lines that systemd ignores: it complains when it loads the unit, and goes on without them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator

from sockact.check.options import BOOLEANS, GONE, SECTIONS, SINCE, SPANS
from sockact.check.rule import REMOVED, Complaint, Cure, Severity, rule
from sockact.check.scope import Scope
from sockact.check.unit import CheckedUnit
from sockact.systemd import unit_syntax

NEWEST = 262
"""The systemd whose options are all known here."""

OBSOLETE = {
    "Service.MemoryLimit": "MemoryMax=",
    "Service.CPUShares": "CPUWeight=",
    "Service.BlockIOWeight": "IOWeight=",
    "Service.PermissionsStartOnly": "the prefix + in ExecStartPre=",
    "Service.StartLimitInterval": "StartLimitIntervalSec= in [Unit]",
    "Service.StartLimitBurst": "StartLimitBurst= in [Unit]",
}


def sections_of(unit: CheckedUnit) -> tuple[str, ...]:
    """Return the sections that a unit of this kind has."""
    return ("Unit", unit.kind.capitalize(), "Install")


@rule(Severity.WARNING, "systemd.unit(5); systemd.syntax(7)", "service", "socket")
def wrong_section(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """systemd ignores the line."""
    for at in unit.written:
        section, _, option = at.option.partition(".")
        right = [name for name in sections_of(unit) if option in SECTIONS[name]]
        if section in sections_of(unit) and right and section not in right:
            moved = f"{right[0]}.{option}"
            cures = () if unit.sets(moved) else (Cure(at.option, REMOVED), Cure(moved, at.value))
            yield Complaint(f"expected {option}= in [{right[0]}]", at, cures)


@rule(Severity.WARNING, "systemd.directives(7)", "service", "socket")
def unknown_option(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """systemd ignores the line."""
    known = frozenset().union(*(SECTIONS[name] for name in sections_of(unit)))
    for at in unit.written:
        section, _, option = at.option.partition(".")
        if section in sections_of(unit) and option not in known and not option.startswith(("X-", "-")):
            close = difflib.get_close_matches(option, known, 1, 0.8)
            if close or not scope.version or scope.version <= NEWEST:
                yield Complaint(f"there is no {option}=" + (f": expected {close[0]}=" if close else ""), at)


@rule(Severity.WARNING, "systemd.unit(5); systemd.syntax(7)", "service", "socket")
def unknown_section(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """systemd ignores all lines below it."""
    first = {at.option.partition(".")[0]: at for at in reversed(unit.written)}
    for section, at in first.items():
        if section not in sections_of(unit) and not section.startswith("X-"):
            where = f"no section [{section}]" if section else "no section above this line"
            yield Complaint(
                f"a {unit.kind} has {where}: expected [Unit], [{unit.kind.capitalize()}] or [Install]", at
            )


@rule(Severity.WARNING, "systemd.directives(7)", "service", "socket")
def option_too_new(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """systemd ignores the line."""
    for at in unit.written:
        since = SINCE.get(at.option.partition(".")[2])
        if since and scope.version and scope.version < since:
            yield Complaint(f"systemd {scope.version} does not know it, but {since} and later", at)


@rule(Severity.ERROR, "systemd.service(5), Type=")
def type_too_new(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """systemd takes the service for Type=simple: readiness is not awaited, and a reload is refused."""
    at = unit.last("Service.Type")
    if at and unit.type == "notify-reload" and scope.may_be_before(253):
        yield Complaint("systemd before 253 does not know notify-reload: expected Type=notify", at)


@rule(Severity.HINT, "systemd.directives(7)")
def obsolete_option(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """systemd complains when it loads the unit, or a later version ignores the line."""
    for at in unit.written:
        if new := OBSOLETE.get(at.option):
            yield Complaint(f"expected {new}", at)
        elif (scope.version or 0) >= NEWEST and at.option.partition(".")[2] in GONE:
            yield Complaint(f"systemd {NEWEST} ignores it: expected no such line", at)


@rule(Severity.WARNING, "systemd.unit(5), SPECIFIERS")
def percent_sign(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """The program gets a machine ID or a path in place of a part of a date."""
    for at in unit.written:
        if at.option.startswith("Service.Exec") and re.search(r"\+[\"']?%[A-Za-z]", at.value):
            cure = Cure(at.option, re.sub(r"(?<!%)%(?!%)", "%%", at.value))
            only = len(unit.every(at.option)) == 1 and "%%" not in at.value
            yield Complaint("% begins a specifier: expected %% for date(1)", at, (cure,) if only else ())


def _one_of(*words: str) -> tuple[Callable[[str], bool], str]:
    return words.__contains__, f"{', '.join(words[:-1])} or {words[-1]}"


FORMS: dict[str, tuple[Callable[[str], bool], str]] = {
    **{
        name: (lambda text: unit_syntax.seconds(text) is not None, "a time span like 30s") for name in SPANS
    },
    **{
        name: (lambda text: text.lower() in (*unit_syntax.TRUE, *unit_syntax.FALSE), "yes or no")
        for name in BOOLEANS
    },
    "Type": _one_of("simple", "exec", "notify", "notify-reload", "forking", "oneshot", "dbus", "idle"),
    "Restart": _one_of(
        *("no", "always", "on-failure", "on-success", "on-abnormal", "on-abort", "on-watchdog")
    ),
    "KillMode": _one_of("control-group", "mixed", "process", "none"),
    "NotifyAccess": _one_of("none", "main", "exec", "all"),
    "OOMPolicy": _one_of("continue", "stop", "kill"),
    "ExitType": _one_of("main", "cgroup"),
}
"""The options whose values are looked at: a test of the value, and its forms."""


@rule(Severity.WARNING, "systemd.syntax(7); systemd.time(7)", "service", "socket")
def value_not_understood(unit: CheckedUnit, scope: Scope) -> Iterator[Complaint]:
    """systemd ignores the line, and takes the default."""
    for at in unit.written:
        understood, wanted = FORMS.get(at.option.partition(".")[2], (None, ""))
        if understood and at.value and "%" not in at.value and not understood(at.value):
            yield Complaint(f"{at.value!r} is not understood: expected {wanted}", at)
