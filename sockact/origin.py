"""Where this process imports from, for as long as it lives.

A release behind a symbolic link, `current -> releases/42`, stays the same one for a process that still
drains when the link has moved on: what it has not imported yet comes from its own release, as does all
that it imports from its virtual environment if that is part of the release.
"""

from __future__ import annotations

import os
import sys


def pin() -> None:
    """Resolve the symbolic links in Python's search path, and in those of packages that are loaded."""
    moved = {
        path: real for path in sys.path if os.path.isabs(path) and (real := os.path.realpath(path)) != path
    }
    if not moved:
        return
    sys.path[:] = [moved.get(path, path) for path in sys.path]
    for module in list(sys.modules.values()):
        places = getattr(module, "__path__", None)
        if isinstance(places, list):  # that of a namespace package follows sys.path by itself
            places[:] = [os.path.realpath(place) for place in places]
