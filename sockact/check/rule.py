"""A rule of `sockact check`: a function that looks at one unit, and the finding that it makes.

The function's name is the rule's, and its docstring says what happens if the unit is left as it is.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sockact.systemd.unit_syntax import Assignment

if TYPE_CHECKING:
    from sockact.check.scope import Scope
    from sockact.check.unit import CheckedUnit


class Severity(enum.StrEnum):
    """A finding's weight; a hint leaves the exit status at 0."""

    ERROR = "error"
    WARNING = "warning"
    HINT = "hint"


class Cure(NamedTuple):
    """An assignment that is certainly right: `Service.KillMode` and its value."""

    option: str
    value: str


REMOVED = "\0"
"""The value of a cure that takes the line out of its file."""


class Complaint(NamedTuple):
    """A mistake that a rule has found.

    Attributes:
        text: the mistake, and how to write it better.
        at: the assignment with the mistake; None if one is missing.
        cures: the assignments that repair it; none if that is not certain.
    """

    text: str
    at: Assignment | None = None
    cures: tuple[Cure, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule.

    Attributes:
        name: `reuse-port`.
        severity: the weight of its findings.
        source: the man page that describes the option.
        consequence: the harm that follows if a finding is left.
        kinds: the kinds of units that it looks at: `service`, `socket`.
        look: the function.
    """

    name: str
    severity: Severity
    source: str
    consequence: str
    kinds: tuple[str, ...]
    look: Callable[[CheckedUnit, Scope], Iterable[Complaint]]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a rule found in one unit."""

    rule: Rule
    unit: CheckedUnit
    complaint: Complaint


RULES: dict[str, Rule] = {}
"""All rules, by their names; `sockact.check.rules` declares them."""

Look = Callable[["CheckedUnit", "Scope"], Iterable[Complaint]]


def rule(severity: Severity, source: str, *kinds: str) -> Callable[[Look], Look]:
    """Declare a function to be a rule; of services, unless other kinds of units are named."""

    def declare(look: Look) -> Look:
        name = getattr(look, "__name__", "").replace("_", "-")
        consequence = " ".join((look.__doc__ or "").split())
        RULES[name] = Rule(name, severity, source, consequence, kinds or ("service",), look)
        return look

    return declare
