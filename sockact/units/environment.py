"""The virtual environment and the folders of an app, looked at as the service will find them.

A service has another user than the one who writes its units, and does not see /home (ProtectHome=yes).
Nothing here runs a program of the virtual environment: another user may own it.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sockact.errors import UnitsError
from sockact.units.wanted import DYNAMIC, Wanted
from sockact.untrusted import files

HIDDEN = ("/home", "/root", "/run/user")
"""Folders that ProtectHome=yes hides: systemd.exec(5)."""

USUAL = (".venv", "venv")
"""Folders of an app in which its virtual environment usually is."""


@dataclass(frozen=True, slots=True)
class Reader:
    """The user of a service, as files know him; None: one who owns nothing and is in no group."""

    user: int | None
    groups: frozenset[int]

    def may(self, status: os.stat_result, wanted: int) -> bool:
        """Return whether this user has a permission, given as that of others: `stat.S_IROTH`."""
        if status.st_uid == self.user:
            return bool(status.st_mode & wanted << 6)
        if status.st_gid in self.groups:
            return bool(status.st_mode & wanted << 3)
        return bool(status.st_mode & wanted)


def find_venv(folder: str) -> str:
    """Return the virtual environment of an app: one in its folder, or else the one that runs this."""
    for name in USUAL:
        if os.path.isfile(f"{folder}/{name}/bin/sockact"):
            return f"{folder}/{name}"
    return sys.prefix


def missing(wanted: Wanted) -> list[str]:
    """Return the paths that the units name and that are not here: maybe they are on another machine."""
    paths = [f"{wanted.venv}/bin/sockact", wanted.folder, *(wanted.certificate or ())]
    return [path for path in paths if not os.path.exists(path)]


def require_reachable(wanted: Wanted) -> None:
    """Raise UnitsError if the service could not use what is here."""
    reader = _reader(wanted.user)
    if found := list(dict.fromkeys(_obstacles(wanted, reader))):
        folder = f"/opt/{wanted.name}"
        raise UnitsError(
            f"{'; '.join(found)}. Expected the app in a folder such as {folder}, and its virtual"
            f" environment made there by `/usr/bin/python3 -m venv {folder}/venv`"
        )
    for path in wanted.settings.env_file:
        for why in _unreachable(path.removeprefix("-"), reader):
            raise UnitsError(
                f"--env-file: {why}. Expected one that the service's user can read, or a --user who can"
            )


def require_user(wanted: Wanted) -> None:
    """Raise UnitsError if there is no such user here."""
    try:
        pwd.getpwnam("root" if wanted.dynamic else wanted.user)
    except KeyError:
        raise UnitsError(
            f"--user {wanted.user}: there is no such user; or dynamic, whom systemd makes"
        ) from None


def _obstacles(wanted: Wanted, reader: Reader) -> Iterator[str]:
    yield from _unreachable(wanted.folder, reader)
    if os.path.isdir(wanted.venv):
        for path in (f"{wanted.venv}/bin/python", f"{wanted.venv}/bin/sockact", *_interpreter(wanted.venv)):
            yield from _unreachable(path, reader)
        for path in _linked_packages(wanted.venv):
            yield from _unreachable(path, reader)


def _reader(user: str) -> Reader:
    if user == DYNAMIC:
        return Reader(None, frozenset())
    try:
        known = pwd.getpwnam(user)
    except KeyError:  # on another machine
        return Reader(None, frozenset())
    groups = {each.gr_gid for each in grp.getgrall() if user in each.gr_mem}
    return Reader(known.pw_uid, frozenset(groups | {known.pw_gid}))


def _unreachable(path: str, reader: Reader) -> Iterator[str]:
    """Yield why a user in the sandbox cannot read a path or what it links to; nothing if it is missing."""
    real = os.path.realpath(path)
    shown = path if real == path else f"{path} (which is {real})"
    hidden = [each for each in HIDDEN if _within(path, each) or _within(real, each)]
    if hidden:
        yield f"{shown} is in {hidden[0]}, which the service cannot see (ProtectHome=yes)"
        return
    for each in _parents(real):
        try:
            status = os.stat(each)
        except OSError:
            return
        needed = stat.S_IXOTH if stat.S_ISDIR(status.st_mode) else stat.S_IROTH
        if not reader.may(status, needed):
            mode = stat.filemode(status.st_mode)
            yield f"{shown} is out of reach for the service's user: {each} is {mode}"
            return


def _within(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder}/")


def _parents(path: str) -> list[str]:
    """Return the folders above a path, from the top, and itself."""
    parts = path.strip("/").split("/")
    return ["/", *("/" + "/".join(parts[: end + 1]) for end in range(len(parts)))]


def _interpreter(venv: str) -> Iterator[str]:
    """Yield the interpreter that `bin/sockact` names; a moved environment names that of its old place."""
    try:
        first = files.read(f"{venv}/bin/sockact").split(b"\n", 1)[0]
    except OSError:
        return
    if first.startswith(b"#!/") and b" " not in first:
        yield os.fsdecode(first[2:])


def _linked_packages(venv: str) -> Iterator[str]:
    """Yield the folders that .pth files add: of packages that are installed as editable.

    Source: the module `site` of Python.
    """
    for path in Path(venv, "lib").glob("python*/site-packages/*.pth"):
        try:
            lines = files.read(path).decode(errors="replace").splitlines()
        except OSError:
            continue
        yield from (line for line in lines if line.startswith("/"))
