"""The import path of this process, which stays on one release.

A release behind a symbolic link, `current -> releases/42`, stays the same one for a process that still
drains when the link has moved on: modules that it imports later come from its own release, also those of
its virtual environment, if that is part of the release.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType


def pin() -> None:
    """Resolve the symbolic links in Python's search path, and in those of packages that are loaded."""
    # Both may hold anything: a pathlib.Path, None, objects that raise when they are asked for something.
    paths = [path for path in sys.path if isinstance(path, str) and os.path.isabs(path)]
    moved = {path: real for path in paths if (real := os.path.realpath(path)) != path}
    if not moved:
        return
    sys.path[:] = [moved.get(path, path) if isinstance(path, str) else path for path in sys.path]
    for module in list(sys.modules.values()):
        if not isinstance(module, ModuleType):
            continue
        places = ModuleType.__getattribute__(module, "__dict__").get("__path__")  # loads no lazy one
        if isinstance(places, list):  # that of a namespace package follows sys.path by itself
            places[:] = [os.path.realpath(place) for place in places]
