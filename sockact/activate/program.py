"""One run of the program that the parent keeps: its start, its main process, its end.

The main process is the one that was started, until MAINPID= names another. For that one to be a child of
this process when its own parent has gone, this process is a subreaper: prctl(2).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence

from sockact.process.child import exit_code
from sockact.process.parent_death import Lifeline, tie
from sockact.process.process_group import TERM_TIMEOUT, Leftovers, kill_group
from sockact.sockets import fds
from sockact.sockets.fds import Listener
from sockact.system import proc

SCRIPT = 'read -r LISTEN_PIDFDID; [ -z "$LISTEN_PIDFDID" ] || export LISTEN_PIDFDID; exec "$@" </dev/null'
"""Waits for the number that only the parent can tell, once the process exists."""


class ActivatedProgram:
    """A program that runs; it leads a process group.

    Args:
        pid: its process.
        lifeline: sends it SIGTERM when this process is killed.

    Attributes:
        pid: its main process.
        group: its process group, which is the process that was started.
    """

    def __init__(self, pid: int, lifeline: Lifeline) -> None:
        self.pid = self.group = pid
        self._lifeline = lifeline
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._pidfd = -1
        self._watch(os.pidfd_open(pid))

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        listeners: Sequence[Listener],
        environ: Mapping[str, str],
        blocked: Iterable[signal.Signals] = (),
    ) -> ActivatedProgram:
        """Start a program, as systemd would: passed sockets, and no standard input.

        Args:
            argv: the program and its arguments.
            listeners: the descriptors to pass.
            environ: its environment.
            blocked: signals that it starts with blocked.

        Raises:
            OSError: no process can be started.
        """
        ours, theirs = Lifeline.new()
        answer, ask = os.pipe()
        try:
            pid = fds.spawn(
                ["/bin/sh", "-c", SCRIPT, "sh", *argv],
                listeners,
                environ,
                inherited=[theirs.fileno()],
                blocked=blocked,
                standard_input=answer,
            )
            tie(theirs, pid)
            os.write(ask, f"{pidfd_id(pid)}\n".encode())
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(answer)
            os.close(ask)
        return cls(pid, ours)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the main process, if it has not ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """Kill the main process, and the process group."""
        self.send(signal.SIGKILL)
        kill_group(self.group)

    def follow(self, pid: int) -> bool:
        """Take another process for the main process; return whether it is one of the program's."""
        try:
            pidfd = os.pidfd_open(pid)
        except (OSError, OverflowError):
            return False
        if not _descends(pid, os.getpid()):
            os.close(pidfd)
            return False
        self._unwatch()
        self._ended.clear()
        self.pid = pid
        self._watch(pidfd)
        return True

    async def wait(self, listen: Callable[[], None]) -> int | None:
        """Wait for the end of the main process.

        Args:
            listen: reads its last notifications; there may be a MAINPID= among them.

        Returns:
            As `exit_code`: its exit status, or minus the signal; None if nobody can know it.
        """
        while True:
            await self._ended.wait()
            listen()
            if self._ended.is_set():
                return exit_code(self.pid)

    async def end(self) -> None:
        """End what is left of its process group, and reap everything."""
        self._unwatch()
        self._lifeline.close()  # SIGTERM for the process that was started, if it still runs
        await _wait_ended(self.group, TERM_TIMEOUT)
        gone = asyncio.Event()
        Leftovers(self.group, TERM_TIMEOUT, gone.set).end()
        await gone.wait()
        for pid in {self.group, self.pid}:
            _reap(pid)

    def _watch(self, pidfd: int) -> None:
        self._pidfd = pidfd
        self._loop.add_reader(pidfd, self._ended.set)

    def _unwatch(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)


def pidfd_id(pid: int) -> int | str:
    """Return the number that identifies a process for ever, for LISTEN_PIDFDID; '' before Linux 6.9.

    It is the inode of its pidfd, where these have inodes of their own. Source: pidfd_open(2),
    sd_listen_fds(3).
    """
    found = []
    for each in (pid, os.getpid()):
        pidfd = os.pidfd_open(each)
        found.append(os.fstat(pidfd).st_ino)
        os.close(pidfd)
    return found[0] if found[0] != found[1] else ""


def _descends(pid: int, ancestor: int) -> bool:
    while pid > 1 and (stat := proc.stat(pid)) is not None:
        pid = int(stat[1])
        if pid == ancestor:
            return True
    return False


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # the main process may be the child of another
        os.waitpid(pid, 0)


async def _wait_ended(pid: int, seconds: float) -> None:
    """Wait until a child has ended, though not reaped, but no longer than that."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    pidfd = os.pidfd_open(pid)
    loop.add_reader(pidfd, ended.set)
    try:
        async with asyncio.timeout(seconds):
            await ended.wait()
    except TimeoutError:
        pass
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
