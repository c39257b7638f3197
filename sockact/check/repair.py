"""Writes the cures of findings into unit files, or into a drop-in where the file is a package's."""

from __future__ import annotations

import difflib
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from os.path import dirname

from sockact.check.rule import REMOVED, Cure, Finding
from sockact.check.unit import CheckedUnit
from sockact.errors import UnavailableError
from sockact.systemd import unit_syntax
from sockact.systemd.unit_syntax import Assignment

OF_PACKAGES = ("/usr/", "/lib/")
"""Folders whose files a package replaces."""
DROP_IN = "/etc/systemd/{manager}/{name}.d/50-sockact-check.conf"
LISTS = (
    *(
        "Unit.After",
        "Unit.Requires",
        "Unit.Wants",
        "Install.Also",
        "Install.WantedBy",
        "Service.Environment",
    ),
    *("Service.ExecReload", "Service.ExecStop"),
)
"""Options with several values: a cure adds one, if it does not replace the line that was found."""


@dataclass
class ChangedFile:
    """A file with changes that are not written yet.

    Args:
        path: the file; it may not exist.
    """

    path: str
    before: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        try:
            with open(self.path, encoding="utf-8", errors="surrogateescape") as file:
                self.before = file.read().split("\n")
        except FileNotFoundError:
            self.before = [""]
        except OSError as error:
            raise UnavailableError(f"{self.path}: {error.strerror}") from error
        self.lines = list(self.before)

    def replace(self, at: Assignment, line: str | None) -> None:
        """Replace an assignment, or remove it; line numbers are those of now."""
        self.lines[at.line - 1 : at.end] = [] if line is None else [line]

    def add(self, section: str, line: str) -> None:
        """Add a line to the end of a section, which is made if there is none."""
        heads = [n for n, each in enumerate(self.lines) if each.strip() == f"[{section}]"]
        if not heads:
            while self.lines and not self.lines[-1].strip():
                self.lines.pop()
            self.lines += [*([""] if self.lines else []), f"[{section}]", line, ""]
            return
        self.lines.insert(_end_of_section(self.lines, heads[0]), line)

    def assignments(self) -> list[Assignment]:
        """Return the assignments as they are by now."""
        return list(unit_syntax.parse("\n".join(self.lines), self.path))

    def difference(self) -> str:
        """Return the changes as a unified diff."""
        lines = difflib.unified_diff(self.before, self.lines, self.path, self.path, lineterm="", n=1)
        return "\n".join(lines)

    def write(self) -> None:
        """Write the file in one step, with the mode and owner that it had."""
        path = os.path.realpath(self.path)
        try:
            os.makedirs(dirname(path), exist_ok=True)
            fd, temporary = tempfile.mkstemp(dir=dirname(path), prefix=".sockact-")
            try:
                with open(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
                    file.write("\n".join(self.lines))
                _give_mode_and_owner(temporary, path)
                os.replace(temporary, path)
            except OSError:
                os.unlink(temporary)
                raise
        except OSError as error:
            raise UnavailableError(f"{self.path} cannot be written: {error.strerror}") from error


def _give_mode_and_owner(temporary: str, path: str) -> None:
    if not os.path.exists(path):
        os.chmod(temporary, 0o644)
        return
    shutil.copymode(path, temporary)
    found = os.stat(path)
    os.chown(temporary, found.st_uid, found.st_gid)


def _end_of_section(lines: Sequence[str], head: int) -> int:
    """Return where a line is added to a section: comments above the next one belong to that."""
    end = next((n for n in range(head + 1, len(lines)) if _is_head(lines[n])), len(lines))
    while end > head + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith(("#", ";"))):
        end -= 1
    return end


def _is_head(line: str) -> bool:
    return line.strip().startswith("[") and line.strip().endswith("]")


def changes(findings: Iterable[Finding]) -> list[ChangedFile]:
    """Return the files as the cures leave them; nothing is written."""
    files: dict[str, ChangedFile] = {}
    done: set[tuple[str, str]] = set()
    for finding in findings:
        unit, cures = finding.unit, finding.complaint.cures
        keys = {(unit.name, cure.option if cure.option not in LISTS else f"{cure}") for cure in cures}
        # A second cure of the same option waits for the next run.
        if unit.files.fragment and not keys & done:
            done |= keys
            for cure in cures:
                _apply(files, unit, cure, finding.complaint.at)
    return [file for file in files.values() if file.lines != file.before]


def _apply(files: dict[str, ChangedFile], unit: CheckedUnit, cure: Cure, found: Assignment | None) -> None:
    section, _, option = cure.option.partition(".")
    replaced = found if found and found.option == cure.option else None
    if replaced is None and cure.option not in LISTS:
        replaced = unit.last(cure.option)
    path = replaced.path if replaced else str(unit.files.fragment)
    line = None if cure.value in (REMOVED, "") else f"{option}={cure.value}"
    if path.startswith(OF_PACKAGES):
        _add_to_drop_in(files, _drop_in(path, unit.name), cure, replaced)
        return
    file = files.setdefault(path, ChangedFile(path))
    current = None if replaced is None else _same(file.assignments(), replaced)
    if current:
        file.replace(current, line)
    elif line:
        file.add(section, line)


def _same(assignments: Sequence[Assignment], one: Assignment) -> Assignment | None:
    """Return an assignment at the line where it is by now."""
    return next((each for each in assignments if each[:2] == one[:2]), None)


def _drop_in(path: str, name: str) -> str:
    """Return the drop-in of a package's unit: the system's manager or the users' reads it."""
    return DROP_IN.format(manager="user" if "/systemd/user/" in path else "system", name=name)


def _add_to_drop_in(
    files: dict[str, ChangedFile], path: str, cure: Cure, replaced: Assignment | None
) -> None:
    section, _, option = cure.option.partition(".")
    file = files.setdefault(path, ChangedFile(path))
    if cure.value != REMOVED:
        if cure.option in LISTS and replaced and cure.value:
            file.add(section, f"{option}=")
        file.add(section, f"{option}={cure.value}")
