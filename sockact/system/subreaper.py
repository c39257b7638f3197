"""Makes a process the parent of its descendants whose own parents have ended."""

from __future__ import annotations

import os

PR_SET_CHILD_SUBREAPER = 36
"""Source: prctl(2), linux/prctl.h."""


def become_subreaper() -> None:
    """Make this process the parent of such descendants, in place of PID 1; raises OSError if it may not."""
    import ctypes  # of the few processes that need it

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
