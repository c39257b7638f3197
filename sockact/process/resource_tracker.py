"""The resource tracker of multiprocessing: a child that removes shared memory which is left."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from typing import Any

TRACKER_TIMEOUT = 2.0
"""Seconds for multiprocessing's resource tracker to end, when all of its users should have."""


def wait_for_end() -> None:
    """Wait for the end of multiprocessing's resource tracker, up to `TRACKER_TIMEOUT`.

    It removes shared memory that is left, and systemd would kill it with the end of the main process.
    """
    own = tracker()
    fd, pid = getattr(own, "_fd", None), getattr(own, "_pid", None)
    if fd is None or pid is None:
        return
    with contextlib.suppress(OSError):  # it has ended
        own._fd = None  # noqa: SLF001 - Python has no function for it before 3.14
        os.close(fd)
        pidfd = os.pidfd_open(pid)
        ended = select.poll()
        ended.register(pidfd, select.POLLIN)
        ended.poll(1000 * TRACKER_TIMEOUT)
        os.close(pidfd)


def tracker() -> Any:
    """Return the tracker of this process; None if multiprocessing has not loaded it."""
    return getattr(sys.modules.get("multiprocessing.resource_tracker"), "_resource_tracker", None)
