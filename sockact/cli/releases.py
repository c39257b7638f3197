"""Releases behind a link, `current -> releases/43` (docs/deploy.md): which one was before, and the switch.

Rule of this file: root never does here what the owner of the folder could not do. Everything happens as
that owner, and no folder on the way may be a link or a third user's: it could lead root elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from sockact.errors import UsageError

_DIGITS = re.compile(r"([0-9]+)")


class Releases:
    """The link to the release that is served, and the releases beside that.

    Args:
        link: the absolute path of the link.

    Attributes:
        link: the same.

    Raises:
        UsageError: there is no such link, it is not this user's, or it does not lead to a release.
    """

    def __init__(self, link: str) -> None:
        path = PurePosixPath(link)
        if not path.is_absolute() or ".." in path.parts or len(path.parts) < 3:
            raise UsageError(f"{link}: expected the absolute path of a link, such as /opt/app/current")
        self.link = link
        self._name = path.name
        self._folder, self._owner, self._group = _opened(path.parent)
        user = os.geteuid()
        if user not in (0, self._owner):
            raise UsageError(
                f"{path.parent} belongs to uid {self._owner}: only that user and root may switch"
            )

    def close(self) -> None:
        """Close the folder."""
        os.close(self._folder)

    def target(self) -> str:
        """Return what is written in the link, `releases/43`."""
        with self._as_owner():
            try:
                target = os.readlink(self._name, dir_fd=self._folder)
            except OSError as error:
                raise UsageError(f"{self.link}: expected a link to a release: {error.strerror}") from None
        if PurePosixPath(target).name in ("", ".", ".."):
            raise UsageError(f"{self.link} leads to {target}: expected a folder among others")
        return target

    def before(self, chosen: str | None) -> str:
        """Return the target of the link for the release before the present one, or for the `chosen` one.

        Raises:
            UsageError: there is none; or names do not tell, says which there are.
        """
        target = PurePosixPath(self.target())
        found = self._beside(target)
        others = [name for name in found if name != target.name]
        shown = f"{target.parent} has {', '.join(sorted(others)) or 'no other one'}"
        if chosen is not None:
            if chosen not in others:
                raise UsageError(f"{chosen} is no other release than {target.name}: {shown}")
            return str(target.parent / chosen)
        if not others:
            raise UsageError(f"there is no release before {target.name}: {shown}")
        if (previous := predecessor(target.name, others)) is None:
            raise UsageError(
                f"there is no release before {target.name} by its name: {shown}; choose one by --to"
            )
        return str(target.parent / previous)

    def switch(self, expected: str, target: str) -> None:
        """Switch the link, in one step, so that no process finds none.

        Raises:
            UsageError: it does not lead to `expected` any more, or cannot be switched.
        """
        new = f".{self._name}.sockact-{os.getpid()}"
        if (found := self.target()) != expected:
            raise UsageError(
                f"{self.link} leads to {found} by now: expected {expected}, so it is left alone"
            )
        with self._as_owner():
            try:
                os.symlink(target, new, dir_fd=self._folder)
                try:
                    os.rename(new, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
                except OSError:
                    os.unlink(new, dir_fd=self._folder)
                    raise
            except OSError as error:
                raise UsageError(f"{self.link} cannot be switched to {target}: {error.strerror}") from error

    def _beside(self, target: PurePosixPath) -> list[str]:
        """Return the names of all releases in the folder of the present one."""
        with self._as_owner():
            try:
                folder = os.open(
                    target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._folder
                )
            except OSError as error:
                raise UsageError(f"{self.link} leads to {target}: {error.strerror}") from None
            try:
                with os.scandir(folder) as entries:
                    return [each.name for each in entries if each.is_dir(follow_symlinks=False)]
            finally:
                os.close(folder)

    @contextlib.contextmanager
    def _as_owner(self) -> Iterator[None]:
        """Act as the folder's owner, with none of root's groups."""
        if os.geteuid() or not self._owner:
            yield
            return
        groups, group = os.getgroups(), os.getegid()
        os.setgroups([])
        os.setegid(self._group)
        os.seteuid(self._owner)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(group)
            os.setgroups(groups)


def predecessor(name: str, others: Sequence[str]) -> str | None:
    """Return which of the names comes last before `name`; None if there is none, or they do not tell.

    Names tell if they differ in their numbers alone: 42 and 43, v1.9 and v1.10, 2026-11-29 and 2026-11-30.
    Not by the times of folders: an archive brings its own, and a cache that Python writes renews them.
    """
    form, numbers = _split(name)
    known = [(_split(each)[1], each) for each in others if _split(each)[0] == form]
    earlier = [(found, each) for found, each in known if found < numbers]
    return max(earlier)[1] if numbers and earlier else None


def _split(name: str) -> tuple[list[str], list[int]]:
    """Return a name without its numbers, and these."""
    parts = _DIGITS.split(name)
    return parts[::2], [int(each) for each in parts[1::2]]


def _opened(folder: PurePosixPath) -> tuple[int, int, int]:
    """Open a folder, and return its descriptor, owner and group."""
    fd, owners = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), list[int]()
    try:
        for part in folder.parts[1:]:
            flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            inner = os.open(part, flags, dir_fd=fd)
            os.close(fd)
            fd = inner
            found = os.fstat(fd)
            owners.append(found.st_uid)
            if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
                raise UsageError(f"{folder}: any user may change {part}")
    except OSError as error:
        os.close(fd)
        raise UsageError(f"{folder}: expected folders, and no links: {error.strerror}") from None
    except UsageError:
        os.close(fd)
        raise
    if strangers := set(owners) - {0, owners[-1]}:
        os.close(fd)
        raise UsageError(
            f"{folder}: expected folders of its owner and of root, found one of uid {min(strangers)}"
        )
    return fd, found.st_uid, found.st_gid
