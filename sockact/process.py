"""What every process of sockact holds from its first line to its last: signals, sockets, its manager.

It speaks sd_listen_fds(3) and sd_notify(3) to whoever started it: systemd, a supervisor, or nobody.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
from typing import NoReturn

from sockact.control import ControlServer
from sockact.errors import SockactError
from sockact.lifecycle import Conductor, Ending, Service
from sockact.notify import Notifier
from sockact.program import GENERATION, Program
from sockact.settings import Settings
from sockact.signals import EarlySignals
from sockact.sockets import Sockets

MARGIN = 5.0
"""Seconds beyond a limit of ours until we end what should have ended itself, and have said why."""

logger = logging.getLogger(__name__)


class Process:
    """This process; there is one."""

    def __init__(self) -> None:
        self.early = EarlySignals()
        self.sockets = Sockets.adopted()
        if sys.stderr is not None:
            faulthandler.enable()  # the watchdog's SIGABRT then shows where every thread hangs
        generation = os.environ.pop(GENERATION, "")
        self.generation = int(generation) if generation.isdecimal() else 1
        self.notifier = Notifier()
        self.program = Program.of_this_process(os.environ)

    def conductor(self, settings: Settings) -> Conductor:
        """Return who leads a service here; callers that were passed to this process get its word."""
        callers, self.sockets.callers = self.sockets.callers, []
        return Conductor(self.notifier, settings, callers)

    async def conduct(self, conductor: Conductor, service: Service) -> Ending:
        """Let `conductor` lead `service` through its life, and obey the control socket meanwhile."""
        control = self.sockets.control
        server = None
        if control is not None and control.sock is not None:
            server = ControlServer(control.sock, conductor.request_reload)
        try:
            return await conductor.run(service, self.early)
        finally:
            if server is not None:
                server.close()

    def fail(self, error: SockactError) -> NoReturn:
        """Say why, everywhere where somebody may look, and end."""
        logger.error("%s", error, exc_info=error.__cause__ if error.exit_status == 1 else None)
        self.notifier.failing(str(error))
        for caller in self.sockets.callers:
            caller.answer(False, f"the new code failed to start: {error}")
        raise SystemExit(error.exit_status)

    def close(self) -> None:
        """Give everything up, for a program that goes on."""
        self.sockets.close()
        self.early.restore()


def flush() -> None:
    """Write out what is still in a buffer, before the process ends without Python's help."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
