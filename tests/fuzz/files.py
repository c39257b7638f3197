"""A folder for the files of an input."""

from __future__ import annotations

import os
from tempfile import TemporaryDirectory

MEMORY = "/dev/shm"


def folder() -> TemporaryDirectory[str]:
    """Return a new folder, in memory if there is such a place: there are thousands of inputs."""
    return TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None)
