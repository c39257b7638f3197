"""What a child leaves in its process group when it ends: SIGTERM, a moment to take it, and SIGKILL.

Among it are an app's own children, which would pile up over reloads, and Python's resource tracker, which
removes shared memory when its process has gone. Meanwhile the child is not reaped, so that the number of
the group stays its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable

from sockact.system import proc

PATIENCE = 2.0
"""Seconds that they have to end by themselves."""


class Leftovers:
    """The processes that are left of a group whose leader has ended, and is not reaped.

    Args:
        group: the group.
        seconds: until they are killed.
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
        """Let them end; if there are none, that is done at once."""
        if self._terminate():
            self._timer = self._loop.call_later(self._seconds, self.kill)
        else:
            self.kill()

    def kill(self) -> None:
        """Kill what is left."""
        kill_group(self._group)
        if self._timer is not None:
            self._timer.cancel()
        for pidfd in self._watched.values():
            self._forget(pidfd)
        self._watched.clear()
        self._gone()

    def _terminate(self) -> bool:
        """Let those end who have not been told to; return whether there are any at all."""
        left = members(self._group)
        for pid in left:
            # One that has no descriptor any more is not watched; the time is up for it all the same.
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


def members(group: int) -> list[int]:
    """Return the processes of a group but for its leader, and for those that have ended."""
    others = (int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != group)
    return [pid for pid in others if _is_member(pid, group)]


def _is_member(pid: int, group: int) -> bool:
    stat = proc.stat(pid)
    return stat is not None and int(stat[2]) == group and stat[0] not in ("Z", "X")


def kill_group(group: int) -> None:
    """Kill a process group, if there is anything in it that this process may kill."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
