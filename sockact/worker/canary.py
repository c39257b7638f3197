"""The canary: a child that starts the app's code without serving it, before a reload trusts it.

It is a program of sockact, told by a variable that it is a trial: for a reload this very one once more,
for `sockact check-app` one that would serve. It gets no sockets, and notifies us instead of the service
manager; so systemd does not see it. READY=1 from it is the verdict; otherwise the reason it gives, or
the way it ended, says why not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable

from sockact.config.settings import Settings
from sockact.errors import ReloadRefused
from sockact.process.child import Child
from sockact.process.command import Program
from sockact.process.launch import MARGIN
from sockact.protocols.environment import TRIAL
from sockact.protocols.notify import Notification

logger = logging.getLogger(__package__)


async def rehearse(
    program: Program, chosen: Settings, ended: Callable[[int], None] = lambda _: None
) -> str:
    """Start the program as a canary, and wait for its verdict and its end.

    Args:
        program: what would serve.
        chosen: how long it may take until it is ready, and then until it has ended.
        ended: called with its PID when it has ended.

    Returns:
        What it said when it was ready.

    Raises:
        ReloadRefused: it did not get ready; says why.
    """
    program.require_command()
    try:
        canary = _Canary(program)
    except OSError as error:
        raise ReloadRefused(f"no process can be started: {error.strerror}") from error
    logger.info("pid=%d tries the new code", canary.child.pid)
    try:
        try:
            await canary.wait_ready(chosen.start_timeout + MARGIN)
            await canary.wait_ended(chosen.end_timeout + MARGIN)
        finally:
            if not canary.ended.is_set():
                with contextlib.suppress(ProcessLookupError):
                    canary.child.send(signal.SIGKILL)
            await canary.child.gone.wait()  # nobody would see to what it leaves, once the new code is here
    finally:
        canary.child.kill()
        ended(canary.child.pid)
    return canary.verdict


class _Canary:
    """A started canary, and the two events that matter."""

    def __init__(self, program: Program) -> None:
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        self.verdict = ""
        self._how = ""
        self.child = Child(
            program, [], {TRIAL: "1"}, heard=self._on_notification, ended=self._on_end, ours=True
        )

    async def wait_ready(self, timeout: float) -> None:
        events = [asyncio.ensure_future(event.wait()) for event in (self.ready, self.ended)]
        await asyncio.wait(events, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for event in events:
            event.cancel()
        if self.ready.is_set():
            return
        if self.ended.is_set():
            text = self.child.reason or f"the new code {self._how} before it was ready"
            raise ReloadRefused(text, self.child.exit_status)
        raise ReloadRefused(f"the new code was not ready within {timeout:g} s")

    async def wait_ended(self, timeout: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self.ended.wait()
            return
        logger.warning("pid=%d has started the new code but does not end: killed", self.child.pid)

    def _on_notification(self, notification: Notification) -> None:
        if notification.assignments.get("READY") == "1":
            self.verdict = notification.assignments.get("STATUS", "")
            self.ready.set()

    def _on_end(self, how: str) -> None:
        self._how = how
        self.ended.set()
