"""The files of this machine, as a service would find them: programs, interpreters, packages, permissions.

Access control lists are not read, nor what a mount namespace hides, but for ProtectHome=.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os.path import basename, dirname
from pathlib import Path

from sockact.check.command import PYTHON, CommandLine
from sockact.check.unit import CheckedUnit
from sockact.untrusted import files

SEARCHED = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Where systemd looks for a program without a path: systemd.exec(5), ExecSearchPath=."""
HOMES = ("/home", "/root", "/run/user")
"""The folders of ProtectHome=."""
_READ, _EXECUTE = 4, 1
_DYNAMIC = 61184
"""The first user id of a dynamic user: systemd.exec(5)."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The user and groups of a process."""

    uid: int
    gids: frozenset[int]

    def may(self, path: str, right: int) -> bool:
        """Return whether the mode of a file, links followed, gives a right; True if there is none."""
        try:
            found = os.stat(path)
        except OSError:
            return True
        if self.uid == 0:
            return True
        if found.st_uid == self.uid:
            return bool(found.st_mode >> 6 & right)
        return bool(found.st_mode >> (3 if found.st_gid in self.gids else 0) & right)


def credentials_of(unit: CheckedUnit) -> Credentials | None:
    """Return the user and groups of a service; None if they do not exist here."""
    groups = [name for name, _ in unit.words("Service.SupplementaryGroups")]
    if unit.is_true("Service.DynamicUser"):
        user, main = _DYNAMIC, _DYNAMIC
        name = unit.value("Service.User")
        if name and (known := user_named(name)):
            user, main = known.pw_uid, known.pw_gid
    else:
        found = user_named(unit.value("Service.User", "root"))
        if found is None:
            return None
        user, main = found.pw_uid, found.pw_gid
        groups += [each.gr_name for each in grp.getgrall() if found.pw_name in each.gr_mem]
    if named := unit.value("Service.Group"):
        groups.append(named)
    ids = (group_named(name) for name in groups)
    return Credentials(user, frozenset([main, *(each.gr_gid for each in ids if each)]))


def user_named(name: str) -> pwd.struct_passwd | None:
    """Return a user, by name or number."""
    try:
        return pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        return None


def group_named(name: str) -> grp.struct_group | None:
    """Return a group, by name or number."""
    try:
        return grp.getgrgid(int(name)) if name.isdecimal() else grp.getgrnam(name)
    except KeyError:
        return None


def located(program: str) -> str:
    """Return the path of a program; '' if there is none that can be executed."""
    paths = [program] if "/" in program else [f"{folder}/{program}" for folder in SEARCHED]
    return next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), "")


def interpreter(program: str) -> str:
    """Return the program that a script names in its first line; '' if it is no script."""
    try:
        with open(os.open(program, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            first = file.readline(256)
    except OSError:
        return ""
    words = os.fsdecode(first[2:]).split() if first.startswith(b"#!") else []
    return words[0] if words else ""


def chain(path: str) -> Iterator[str]:
    """Yield a path and the folders above it, and the same for each link on the way, the outermost first."""
    todo = [os.path.normpath(path)]
    seen: set[str] = set()
    while todo and len(seen) < 40:
        current = todo.pop()
        if current in seen:
            continue
        seen.add(current)
        parts = [str(each) for each in (*reversed(Path(current).parents), Path(current))]
        for part in parts:
            yield part
            if os.path.islink(part):
                target = os.path.join(dirname(part), os.readlink(part)) + current[len(part) :]
                todo.append(os.path.normpath(target))
                break


def obstacle(unit: CheckedUnit, path: str, right: int = _READ) -> str:
    """Return the reason why a service cannot reach an existing path; '' if it can."""
    home = unit.value("Service.ProtectHome")
    hidden = home in ("yes", "true", "1", "on", "tmpfs")
    who = credentials_of(unit)
    passed = list(chain(path))
    for part in passed:
        top = next((each for each in HOMES if part == each or part.startswith(f"{each}/")), "")
        if hidden and top:
            return f"{part} is hidden by ProtectHome={home}"
        if who and os.path.isdir(part) and part != path and not who.may(part, _EXECUTE):
            return f"{part} is closed to the service's user"
    return "" if who is None or who.may(path, right) else f"{path} is closed to the service's user"


def executable_obstacle(unit: CheckedUnit, path: str) -> str:
    """Return the reason why a service cannot execute a program, or its interpreter; '' if it can."""
    found = obstacle(unit, path, _EXECUTE)
    script = interpreter(path)
    return found or (obstacle(unit, script, _EXECUTE) if script and os.path.exists(script) else "")


def foreign_writer(path: str) -> str:
    """Return who may change a path besides root, in words; '' if nobody may."""
    for part in chain(path):
        try:
            found = os.lstat(part)
        except OSError:
            return ""
        if found.st_uid != 0:
            owner = user_named(str(found.st_uid))
            return f"{part} belongs to {owner.pw_name if owner else found.st_uid}"
        if stat.S_ISLNK(found.st_mode) or (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
            continue  # a link's mode says nothing; in a sticky folder each name is its owner's
        if found.st_mode & stat.S_IWOTH:
            return f"{part} may be written by everybody"
        if found.st_mode & stat.S_IWGRP and found.st_gid != 0:
            group = group_named(str(found.st_gid))
            return f"{part} may be written by the group {group.gr_name if group else found.st_gid}"
    return ""


def packages_of(command: CommandLine) -> Sequence[str]:
    """Return the names in the folder of packages of a command's virtual environment."""
    return [
        path.name.removesuffix(".py")
        for folder in package_folders(command)
        for path in sorted(folder.iterdir())
    ]


def package_folders(command: CommandLine) -> list[Path]:
    """Return the folders of packages of a command's virtual environment."""
    program = command.inner[0] if command.inner else ""
    if not program.startswith("/"):
        return []
    script = interpreter(program)
    python = script if PYTHON.fullmatch(basename(script)) else program
    return [
        each for each in Path(dirname(python)).parent.glob("lib/python3*/site-packages") if each.is_dir()
    ]


def text_of(path: str) -> str | None:
    """Return the text of a small regular file; None if it cannot be read."""
    try:
        return files.read(path).decode("utf-8", "replace")
    except OSError:
        return None
