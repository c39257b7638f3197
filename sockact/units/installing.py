"""Unit files on this machine: compared with those that are there, and written."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sockact.errors import UnavailableError
from sockact.units.additions import SETTLE
from sockact.units.unit_text import UnitText
from sockact.units.wanted import Wanted

SYSTEM = "/etc/systemd/system"
"""The folder for the administrator's own units: systemd.unit(5)."""

CONTAINERS = "/etc/containers/systemd"
"""The folder for the administrator's own containers: podman-systemd.unit(5)."""

SCRIPT = Path(__file__).with_name("settle")
"""The script that waits for the end of a deploy."""


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file to be written.

    Attributes:
        path: where.
        new: its content.
        mode: its permissions.
        old: the content of the file that is there; None if there is none.
    """

    path: Path
    new: str
    mode: int
    old: str | None

    @property
    def state(self) -> str:
        """One of `new`, `unchanged` and `changed`."""
        return "new" if self.old is None else "unchanged" if self.old == self.new else "changed"

    def diff(self) -> str:
        """Return the difference, in the form of `diff -u`."""
        old = (self.old or "").splitlines(keepends=True)
        new = self.new.splitlines(keepends=True)
        return "".join(difflib.unified_diff(old, new, str(self.path), f"{self.path} (new)"))


def changes(texts: Iterable[UnitText], folder: str) -> list[FileChange]:
    """Return the files to be written.

    Raises:
        UnavailableError: a file that is there cannot be read.
    """
    found = [_change(path_of(each, folder), each.text(), 0o644) for each in texts]
    if any(change.path.name.endswith("-deploy.path") for change in found) and folder == SYSTEM:
        found.append(_change(Path(SETTLE), SCRIPT.read_text(encoding="utf-8"), 0o755))
    return found


def folder_of(wanted: Wanted) -> str:
    """Return the folder for the units of the administrator, or of the user who asks: systemd.unit(5)."""
    if not wanted.of_user:
        return SYSTEM
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return f"{config}/systemd/user"


def path_of(text: UnitText, folder: str) -> Path:
    """Return the path of a file; podman has a folder of its own."""
    ours = folder == SYSTEM and text.name.endswith(".container")
    return Path(CONTAINERS if ours else folder, text.name)


def write(files: Iterable[FileChange]) -> None:
    """Write files that are new or have changed, each in one step.

    Raises:
        UnavailableError: a file cannot be written.
    """
    for each in files:
        if each.state != "unchanged":
            try:
                _replace(each)
            except OSError as error:
                hint = ": expected root" if isinstance(error, PermissionError) else ""
                raise UnavailableError(f"cannot write {each.path}: {error.strerror}{hint}") from error


def _change(path: Path, new: str, mode: int) -> FileChange:
    try:
        old = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return FileChange(path, new, mode, None)
    except OSError as error:
        raise UnavailableError(f"cannot read {path}: {error.strerror}") from error
    return FileChange(path, new, mode, old)


def _replace(each: FileChange) -> None:
    each.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(prefix=".sockact-", dir=each.path.parent)
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(each.new)
            os.fchmod(fd, each.mode)
        os.replace(name, each.path)
    except BaseException:
        os.unlink(name)
        raise
