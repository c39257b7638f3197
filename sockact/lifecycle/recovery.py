"""The end of a series of failures: systemd counts the next one as the first again.

With RestartSteps= each automatic restart comes later than the one before. Before systemd 258 only a start
by hand ended that: a service that fails once a week would wait for the longest time in the end.

Sources: RESTART_RESET=1 in sd_notify(3); RestartSteps= in systemd.service(5).
"""

from __future__ import annotations

import asyncio
import logging
import os

from sockact.protocols.worker_messages import Reporter
from sockact.systemd import unit_files

PROVEN = 10.0
"""Seconds for which a service has to live at least: one that dies earlier each time is still failing."""

logger = logging.getLogger(__package__)


class Recovery:
    """Tells systemd that the service has recovered, once it has proved itself.

    Only where the unit has RestartSteps=: elsewhere nothing depends on the count, and people look at it.

    Args:
        notifier: the notifier.
        probation: the seconds for which new code has to live, by the settings.
    """

    def __init__(self, notifier: Reporter, probation: float) -> None:
        self._notifier = notifier
        self._seconds = max(PROVEN, probation)
        self._due: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Wait for it: the start is done."""
        if self._notifier.manager_is_systemd and unit_files.restarts_slower(os.environ):
            self._due = asyncio.get_running_loop().call_later(self._seconds, self._tell)

    def end(self) -> None:
        """Wait no more: the service stops."""
        if self._due is not None:
            self._due.cancel()

    def _tell(self) -> None:
        self._notifier.restart_reset()
        logger.debug("after a failure, systemd may restart the service as fast as after the first one")
