"""Applies the rules to units."""

from __future__ import annotations

from collections.abc import Iterable

from sockact.check import rules
from sockact.check.rule import RULES, Finding, Severity
from sockact.check.scope import Scope
from sockact.check.unit import CheckedUnit
from sockact.errors import UsageError

ORDER = list(Severity)


def findings(units: Iterable[tuple[Scope, CheckedUnit]], ignored: Iterable[str] = ()) -> list[Finding]:
    """Return the findings of all rules, those of a unit in the order of its lines.

    Raises:
        UsageError: a rule that is to be ignored does not exist.
    """
    assert rules.SUBJECTS
    left_out = set(ignored)
    if unknown := sorted(left_out - RULES.keys()):
        raise UsageError(f"--ignore={unknown[0]}: there is no such rule; docs/check.md lists them")
    return [
        finding
        for scope, unit in units
        for finding in sorted(_of_unit(scope, unit, left_out), key=_position)
    ]


def _of_unit(scope: Scope, unit: CheckedUnit, left_out: set[str]) -> list[Finding]:
    chosen = [each for name, each in RULES.items() if unit.kind in each.kinds and name not in left_out]
    return [Finding(rule, unit, complaint) for rule in chosen for complaint in rule.look(unit, scope)]


def _position(finding: Finding) -> tuple[bool, str, int, int]:
    at = finding.complaint.at
    where = (True, "", 0) if at is None else (False, at.path, at.line)
    return (*where, ORDER.index(finding.rule.severity))
