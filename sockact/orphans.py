"""Orphans, where this process is PID 1 of its PID namespace, as in a container: nobody else reaps them.

Source: pid_namespaces(7), "The namespace init process".
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Collection, Iterator

from sockact import init


class Orphans:
    """Reaps those that have ended, if this process gets them, for as long as its event loop runs.

    Args:
        ours: returns the children for which somebody here waits.
    """

    def __init__(self, ours: Callable[[], Collection[int]]) -> None:
        self._ours = ours
        self._paused = os.getpid() != init.PID
        if not self._paused:
            asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.reap)

    def reap(self) -> None:
        """Reap all that have ended."""
        if self._paused:
            return
        ours = self._ours()
        for pid in ended():
            if pid not in ours:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Reap nothing as long as somebody here may have children of whom nobody else knows."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before
            self.reap()


def ended() -> list[int]:
    """Return the children of this process that have ended, and were not reaped. Source: proc(5)."""
    found = []
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError), open(f"/proc/self/task/{task}/children") as file:
            found += [int(pid) for pid in file.read().split() if _has_ended(pid)]
    return found


def _has_ended(pid: str) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return False
