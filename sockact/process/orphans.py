"""Reaps the children of this process that no other code in it knows.

They are orphans, where this process is PID 1 of its PID namespace, as in a container (pid_namespaces(7),
"The namespace init process"), or a subreaper (prctl(2)); and children of the program that this process
executed before this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Collection, Iterable, Iterator

from sockact.process import pid1
from sockact.system import proc


class Orphans:
    """Reaps orphans that have ended, if this process gets them, as long as its event loop runs.

    Args:
        ours: returns the children that other code here waits for; None while it does not know all of them.
        subreaper: this process gets them although it is not PID 1.
    """

    def __init__(self, ours: Callable[[], Collection[int] | None], *, subreaper: bool = False) -> None:
        self._ours = ours
        self._paused = os.getpid() != pid1.PID and not subreaper
        if not self._paused:
            asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.reap)

    def reap(self) -> None:
        """Reap all orphans that have ended."""
        if self._paused:
            return
        if (ours := self._ours()) is None:
            return
        for pid in children():
            if pid not in ours and _has_ended(pid):
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Reap nothing while other code here may have children that `ours` does not return."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before
            self.reap()


class Inherited:
    """Reaps children of the program before this one when they end.

    Args:
        pids: the children that it had.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._pidfds: dict[int, int] = {}
        for pid in pids:
            with contextlib.suppress(OSError):  # it is none any more, or no descriptor is left
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                pidfd = self._pidfds[pid] = os.pidfd_open(pid)
                self._loop.add_reader(pidfd, self._reap, pid)

    def close(self) -> None:
        """Reap no more."""
        for pidfd in self._pidfds.values():
            self._loop.remove_reader(pidfd)
            os.close(pidfd)
        self._pidfds.clear()

    def _reap(self, pid: int) -> None:
        pidfd = self._pidfds.pop(pid)
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
        with contextlib.suppress(ChildProcessError):  # the app waits for any child
            os.waitpid(pid, os.WNOHANG)


def children() -> list[int]:
    """Return the children of this process, those that have ended included. Source: proc(5)."""
    found = []
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError), open(f"/proc/self/task/{task}/children") as file:
            found += [int(pid) for pid in file.read().split()]
    return found


def _has_ended(pid: int) -> bool:
    stat = proc.stat(pid)
    return stat is not None and stat[0] == "Z"
