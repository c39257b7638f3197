"""The trial: a child that starts the app's code without serving it, before a reload uses that code.

It runs a program of sockact, told by a variable that it is on trial: for a reload this program once more,
for `sockact check-app` one that would serve. It gets no sockets, and notifies us instead of the service
manager; so systemd does not see it. It has passed when it sends READY=1; otherwise it has failed, for the
reason that it gives, or by the way it ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable

from sockact.config.settings import Settings
from sockact.errors import ReloadRefused
from sockact.lifecycle.deadlines import KILL_MARGIN
from sockact.process import child_handle
from sockact.process.child import Child
from sockact.process.child_handle import Conditions
from sockact.process.command import Program
from sockact.protocols.environment import TRIAL
from sockact.protocols.notify import Notification
from sockact.system import loop_tasks

logger = logging.getLogger(__package__)


async def run_trial(
    program: Program, chosen: Settings, on_ended: Callable[[int], None] = lambda _: None
) -> str:
    """Start a program on trial, and wait for its result and its end.

    Args:
        program: the program that would serve.
        chosen: the limits of its start, and then of its end.
        on_ended: called with its PID when it has ended.

    Returns:
        Its status when it was ready.

    Raises:
        ReloadRefused: it did not get ready; says why.
    """
    program.require_command()
    try:
        trial = _TrialProcess(program)
    except OSError as error:
        raise ReloadRefused(f"no process can be started: {error.strerror}") from error
    logger.info("pid=%d tries the new code", trial.child.pid)
    try:
        await trial.wait_result(chosen)
    finally:
        trial.child.kill()
        on_ended(trial.child.pid)
    return trial.status


class _TrialProcess:
    """A process on trial that has started, and the two events that matter."""

    def __init__(self, program: Program) -> None:
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        self.status = ""
        self._how = ""
        handle = child_handle.spawn(program, [], {TRIAL: "1"}, Conditions(ours=True))
        self.child = Child(handle, heard=self._on_notification, ended=self._on_end)

    async def wait_result(self, chosen: Settings) -> None:
        try:
            await self._wait_ready(chosen.start_timeout + KILL_MARGIN)
            await self._wait_ended(chosen.end_timeout + KILL_MARGIN)
        finally:
            if not self.ended.is_set():
                with contextlib.suppress(ProcessLookupError):
                    self.child.send(signal.SIGKILL)
            await self.child.gone.wait()  # nobody sees to what it leaves, once the new code runs here

    async def _wait_ready(self, timeout: float) -> None:
        events = [loop_tasks.begin(event.wait()) for event in (self.ready, self.ended)]
        await asyncio.wait(events, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for event in events:
            event.cancel()
        if self.ready.is_set():
            return
        if self.ended.is_set():
            text = self.child.reason or f"the new code {self._how} before it was ready"
            raise ReloadRefused(text, self.child.exit_status)
        raise ReloadRefused(f"the new code was not ready within {timeout:g} s")

    async def _wait_ended(self, timeout: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self.ended.wait()
            return
        logger.warning("pid=%d has started the new code but does not end: killed", self.child.pid)

    def _on_notification(self, notification: Notification) -> None:
        if notification.assignments.get("READY") == "1":
            self.status = notification.assignments.get("STATUS", "")
            self.ready.set()

    def _on_end(self, how: str) -> None:
        self._how = how
        self.ended.set()
