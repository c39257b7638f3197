"""`sockact check`: looks for mistakes in service and socket units."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from sockact.check import examine, repair, report, targets
from sockact.check.rule import Finding, Severity
from sockact.errors import UsageError
from sockact.untrusted.text import visible_lines


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    units = "a unit's name, a file, or a folder with units; without: the units in /etc/systemd/system"
    command.add_argument("units", metavar="UNIT|FILE", nargs="*", help=units)
    command.add_argument("--user", action="store_true", help="units of the user's manager")
    here = "look for the programs, files and users that a FILE names on this machine, too"
    command.add_argument("--here", action="store_true", help=here)
    version = "the systemd that runs the units [this machine's for a UNIT; any since 252 for a FILE]"
    command.add_argument("--systemd", metavar="VERSION", help=version)
    ignore = "leave out a rule; may be repeated"
    command.add_argument("--ignore", metavar="RULE", action="append", default=[], help=ignore)
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for programs: an array of findings")
    form.add_argument("--diff", action="store_true", help="show what --fix would change")
    form.add_argument("--fix", action="store_true", help="repair what is certain, and show it")


def run(
    units: Sequence[str],
    systemd: str | None,
    ignore: Sequence[str],
    *,
    user: bool,
    here: bool,
    json: bool,
    diff: bool,
    fix: bool,
) -> int:
    """Look for mistakes in units and their drop-ins; exit status 1 if there are errors or warnings."""
    version = _version(systemd)

    def look() -> tuple[list[Finding], str]:
        chosen = targets.select(units, os.environ, user=user, here=here, version=version)
        found = examine.findings(chosen, ignore)
        return found, report.as_json(found) if json else report.text(found, [unit for _, unit in chosen])

    findings, text = look()
    if fix or diff:
        files = repair.changes(findings)
        for file in files:
            print(*visible_lines(file.difference()), sep="\n")
        if fix and files:
            for file in files:
                file.write()
            print("\nThen: systemctl daemon-reload\n")
            findings, text = look()
    print(text)
    return int(any(each.rule.severity is not Severity.HINT for each in findings))


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or len(text) > 4:
        raise UsageError(f"--systemd={text}: expected a version such as 252")
    return int(text)
