"""Watched files: their changes, in bursts.

watchfiles does it, by inotify(7). It is an extra of sockact, and imported by no process that serves.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from sockact.errors import UnavailableError, UsageError

VIRTUAL_ENVIRONMENT = "pyvenv.cfg"
"""The file by which a folder is known as a virtual environment, whatever its name: PEP 405."""


@dataclass(frozen=True, slots=True)
class FileWatch:
    """The files to watch.

    Attributes:
        paths: files, and folders with all that is below them, except caches, repositories and virtual
            environments.
        patterns: names of the files in folders that count; none for all.

    Raises:
        UsageError: a path does not exist.
        UnavailableError: watchfiles is not installed.
    """

    paths: Sequence[str]
    patterns: Sequence[str] = ()

    def __post_init__(self) -> None:
        for path in self.paths:
            if not os.path.exists(path):
                raise UsageError(f"{path}: expected a file or a folder to watch, found none")
        try:
            import watchfiles  # noqa: F401 - that it is missing is to be known at the start
        except ImportError as error:
            raise UnavailableError(
                f"files cannot be watched ({error}): pip install 'sockact[dev]'"
            ) from error

    async def run(self, changed: Callable[[Sequence[str]], None]) -> None:
        """Watch until it is cancelled.

        Args:
            changed: called with the paths of each burst of changes, sorted.

        Raises:
            UnavailableError: the kernel watches no more files.
        """
        names, folders = self._names(), self._folders()
        places = {name.rpartition("/")[0] or "/" for name in names}
        await asyncio.gather(
            _watch(places, lambda _, path: path in names, changed, recursive=False),
            _watch(folders, self._filter(folders), changed, recursive=True),
        )

    def _names(self) -> set[str]:
        """Return files and links, to be watched by their folders: editors and deploys replace them."""
        named = [path for path in self.paths if os.path.islink(path) or not os.path.isdir(path)]
        places = ((os.path.realpath(os.path.dirname(path)), os.path.basename(path)) for path in named)
        return {os.path.join(*place) for place in places}

    def _folders(self) -> set[str]:
        return {os.path.realpath(path) for path in self.paths if os.path.isdir(path)}

    def _filter(self, folders: Collection[str]) -> Callable[[Any, str], bool]:
        """Return whether a change in a watched folder counts: a function for watchfiles."""
        from watchfiles import DefaultFilter

        counts = DefaultFilter()

        def wanted(change: Any, path: str) -> bool:
            name = os.path.basename(path)
            if self.patterns and not any(fnmatch(name, pattern) for pattern in self.patterns):
                return False
            folder = max((each for each in folders if path.startswith(each)), key=len, default="/")
            below = os.path.relpath(path, folder)
            return counts(change, below) and not _in_virtual_environment(folder, below)

        return wanted


async def _watch(
    paths: Collection[str],
    wanted: Callable[[Any, str], bool],
    changed: Callable[[Sequence[str]], None],
    *,
    recursive: bool,
) -> None:
    from watchfiles import awatch

    if not paths:
        return
    try:
        async for found in awatch(
            *paths, watch_filter=wanted, recursive=recursive, ignore_permission_denied=True
        ):
            changed(_sorted(path for _, path in found))
    except OSError as error:
        raise UnavailableError(f"files cannot be watched: {error}") from error


def _sorted(paths: Iterable[str]) -> list[str]:
    return sorted({os.path.relpath(path) for path in paths})


def _in_virtual_environment(folder: str, below: str) -> bool:
    parts = below.split(os.sep)[:-1]
    places = (os.path.join(folder, *parts[:count]) for count in range(1, len(parts) + 1))
    return any(os.path.exists(f"{place}/{VIRTUAL_ENVIRONMENT}") for place in places)


def summary(paths: Sequence[str]) -> str:
    """Return the names of files that have changed, in a few words."""
    shown = ", ".join(paths[:3])
    return f"{shown} and {len(paths) - 3} more" if len(paths) > 3 else shown
