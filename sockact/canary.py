"""The canary: a child that starts the app's new code without serving it, before a reload trusts it.

It is this program once more, told by a variable that it is a trial. It gets no sockets, and
notifies us instead of the service manager; so systemd does not see it. READY=1 from it is the
verdict; otherwise its last STATUS= or the way it ended says why not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal

from sockact import fds
from sockact.errors import ReloadRefused
from sockact.notify import NotifySocket
from sockact.program import Program

VARIABLE = "SOCKACT_CANARY"

logger = logging.getLogger(__name__)


async def rehearse(program: Program, *, start_timeout: float, end_timeout: float) -> None:
    """Start the program as a canary, and wait for its verdict and its end.

    Args:
        program: this one.
        start_timeout: seconds until it must be ready.
        end_timeout: seconds it may then take to end, before it is killed.

    Raises:
        ReloadRefused: it did not get ready; says why.
    """
    program.require_command()
    with NotifySocket() as manager:
        environ = {**program.environ, "NOTIFY_SOCKET": manager.address, VARIABLE: "1"}
        try:
            pid = fds.spawn(program.argv, [], environ, directory=program.directory)
        except OSError as error:
            raise ReloadRefused(f"no process can be started: {error.strerror}") from error
        logger.info("pid=%d tries the new code", pid)
        child = _Child(pid, manager)
        try:
            await child.wait_ready(start_timeout)
            await child.wait_ended(end_timeout)
        finally:
            child.close()


class _Child:
    """A started canary: what it says, and how it ends."""

    def __init__(self, pid: int, manager: NotifySocket) -> None:
        self._pid = pid
        self._manager = manager
        self._loop = asyncio.get_running_loop()
        self._pidfd = os.pidfd_open(pid)
        self._ready = asyncio.Event()
        self._ended = asyncio.Event()
        self._status = ""
        self._how = ""
        self._loop.add_reader(manager.fileno(), self._listen)
        self._loop.add_reader(self._pidfd, self._reap)

    async def wait_ready(self, timeout: float) -> None:
        events = [self._loop.create_task(event.wait()) for event in (self._ready, self._ended)]
        await asyncio.wait(events, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for event in events:
            event.cancel()
        if self._ready.is_set():
            return
        if self._ended.is_set():
            raise ReloadRefused(self._status or f"the new code {self._how} before it was ready")
        raise ReloadRefused(f"the new code was not ready within {timeout:g} s")

    async def wait_ended(self, timeout: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._ended.wait()
            return
        logger.warning("pid=%d has started the new code but does not end: killed", self._pid)

    def close(self) -> None:
        """Leave no process behind."""
        self._loop.remove_reader(self._manager.fileno())
        if not self._ended.is_set():
            self._loop.remove_reader(self._pidfd)
            os.killpg(self._pid, signal.SIGKILL)  # it leads a group of its own, see fds.spawn
            _reaped(self._pid)
        os.close(self._pidfd)

    def _listen(self) -> None:
        while notification := self._manager.receive():
            if notification.pid != self._pid:
                continue  # anyone may write to the socket
            self._status = notification.assignments.get("STATUS", self._status)
            if notification.assignments.get("READY") == "1":
                self._ready.set()

    def _reap(self) -> None:
        self._listen()  # what it said last may still be unread
        self._loop.remove_reader(self._pidfd)
        self._how = _reaped(self._pid)
        self._ended.set()


def _reaped(pid: int) -> str:
    """Reap an ended child, and say how it ended."""
    try:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return "ended"  # an app that waits for any child, or ignores SIGCHLD, was faster
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"
