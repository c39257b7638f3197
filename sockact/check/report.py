"""Shows findings: as text for people, as JSON for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from sockact.check.rule import REMOVED, Cure, Finding, Severity
from sockact.check.unit import CheckedUnit
from sockact.untrusted.text import visible

WIDTH = 100


def text(findings: Sequence[Finding], units: Sequence[CheckedUnit]) -> str:
    """Return the findings with their lines, and a summary."""
    parts = [_of_unit(unit, [each for each in findings if each.unit is unit]) for unit in units]
    return "\n\n".join([*filter(None, parts), _summary(findings, units)])


def _of_unit(unit: CheckedUnit, findings: Sequence[Finding]) -> str:
    path = visible(unit.files.fragment or unit.name)
    return "\n".join([path, *(_one(each) for each in findings)]) if findings else ""


def _one(finding: Finding) -> str:
    rule, (said, at, cures) = finding.rule, finding.complaint
    lines = [f"  {rule.severity} {rule.name}: {said}"]
    if at is not None:
        elsewhere = "" if at.path == finding.unit.files.fragment else f"{at.path}:"
        lines.append(f"    {elsewhere}{at.line}: {_shortened(f'{_option(at.option)}={at.value}')}")
    lines.append(f"    {rule.consequence} [{rule.source}]")
    if cures:
        lines.append(f"    --fix: {', '.join(map(written, cures))}")
    return "\n".join(map(visible, lines))


def written(cure: Cure) -> str:
    """Return a cure as it is written into a unit."""
    section, _, option = cure.option.partition(".")
    if cure.value == REMOVED:
        return f"[{section}] without {option}="
    return f"[{section}] {option}={_shortened(cure.value)}"


def _option(option: str) -> str:
    return option.partition(".")[2]


def _shortened(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."


def _summary(findings: Sequence[Finding], units: Iterable[CheckedUnit]) -> str:
    names = [unit.name for unit in units]
    where = " ".join(names) if len(names) <= 4 else f"{len(names)} units"
    counts = Counter(each.rule.severity for each in findings)
    said = [f"{counts[each]} {each}{'s' if counts[each] > 1 else ''}" for each in Severity if counts[each]]
    return visible(f"{where or 'no units'}: {', '.join(said) or 'nothing found'}")


def as_json(findings: Iterable[Finding]) -> str:
    """Return the findings as a JSON array."""
    return json.dumps([_members(each) for each in findings], indent=2).replace("\x7f", r"\u007f")


def _members(finding: Finding) -> dict[str, object]:
    rule, (said, at, cures) = finding.rule, finding.complaint
    return {
        "unit": finding.unit.name,
        "rule": rule.name,
        "severity": str(rule.severity),
        "text": said,
        "consequence": rule.consequence,
        "source": rule.source,
        "file": finding.unit.files.fragment if at is None else at.path,
        "line": None if at is None else at.line,
        "option": None if at is None else _option(at.option),
        "value": None if at is None else at.value,
        "cure": list(map(written, cures)),
    }
