"""Ends the processes that a child leaves in its process group: SIGTERM, a moment to obey, and SIGKILL.

Among them are an app's own children, which would pile up over reloads, and Python's resource tracker, which
removes shared memory when its process has gone. Meanwhile the child is not reaped, so that the number of
the group stays its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import time
from collections.abc import Callable

from sockact.system import proc

TERM_TIMEOUT = 2.0
"""Seconds from SIGTERM to SIGKILL."""


class Leftovers:
    """The other processes of a group whose leader has ended, and is not reaped.

    Args:
        group: the group.
        seconds: the time until they are killed.
        gone: called once, when none is left or all were killed.
    """

    def __init__(self, group: int, seconds: float, gone: Callable[[], None]) -> None:
        self._group = group
        self._gone = gone
        self._watched: dict[int, int] = {}
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def end(self) -> None:
        """Terminate them, and call `gone` when that is done; at once, if there are none."""
        if self._terminate():
            self._timer = self._loop.call_later(self._seconds, self.kill)
        else:
            self.kill()

    def kill(self) -> None:
        """Kill those that are left."""
        kill_group(self._group)
        if self._timer is not None:
            self._timer.cancel()
        for pidfd in self._watched.values():
            self._forget(pidfd)
        self._watched.clear()
        self._gone()

    def _terminate(self) -> bool:
        """Send SIGTERM to those that have not got it; return whether there are any at all."""
        left = members(self._group)
        for pid in left:
            # Without a free descriptor a process is not watched; it is killed at the timeout all the same.
            with contextlib.suppress(OSError):
                if pid not in self._watched:
                    pidfd = self._watched[pid] = os.pidfd_open(pid)
                    self._loop.add_reader(pidfd, self._ended, pid)
                    signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        return bool(left)

    def _ended(self, pid: int) -> None:
        self._forget(self._watched.pop(pid))
        if not self._watched and not self._terminate():
            self.kill()

    def _forget(self, pidfd: int) -> None:
        self._loop.remove_reader(pidfd)
        os.close(pidfd)


def end_others(group: int) -> None:
    """End the other processes of this process's own group: SIGTERM, a moment to obey, and SIGKILL."""
    poller = select.poll()
    watched = set()
    for pid in members(group):
        with contextlib.suppress(OSError):  # it has ended
            if pid != os.getpid():
                pidfd = os.pidfd_open(pid)
                watched.add(pidfd)
                poller.register(pidfd, select.POLLIN)
                signal.pidfd_send_signal(pidfd, signal.SIGTERM)
    deadline = time.monotonic() + TERM_TIMEOUT
    while watched and (left := deadline - time.monotonic()) > 0:
        for pidfd, _ in poller.poll(left * 1000):
            poller.unregister(pidfd)
            watched.remove(pidfd)
    for pidfd in watched:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def members(group: int) -> list[int]:
    """Return the processes of a group without its leader, and without those that have ended."""
    others = (int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != group)
    return [pid for pid in others if _is_member(pid, group)]


def _is_member(pid: int, group: int) -> bool:
    stat = proc.stat(pid)
    return stat is not None and int(stat[2]) == group and stat[0] not in ("Z", "X")


def kill_group(group: int) -> None:
    """Kill a process group, if there is anything in it that this process may kill."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
