"""Libraries that a distribution's package of sockact brings along, for the distribution's are too old.

They are in a folder of this package, which a wheel does not have (units/debian/rules fills it), and are
found before others of their names, by processes of sockact alone. Not by sys.path, which an app reads and
changes, nor by a .pth file, which every Python of the system would execute.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

FOLDER = os.path.join(os.path.dirname(os.path.dirname(__file__)), "bundled")


class BundledFinder:
    """Finds the packages in a folder, and nothing else. Source: importlib.abc.MetaPathFinder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._names = frozenset(os.listdir(folder))

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        """Return where a package of the folder is; None for all others, and for modules within packages."""
        if path is not None or name not in self._names:
            return None
        return PathFinder.find_spec(name, [self._folder], target)


def find() -> None:
    """Find the libraries from now on, if this package has brought any."""
    if os.path.isdir(FOLDER):
        sys.meta_path.insert(0, BundledFinder(FOLDER))
