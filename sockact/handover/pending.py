"""A connection in an envelope, on its way to another process."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from sockact.handover.envelope import Carried, seal

SEAL_RETRY_INTERVAL = 0.1
SEAL_RETRIES = 50
"""Seconds between tries to seal a connection when descriptors have run out, and the number of tries; each
connection that has moved frees two descriptors."""

logger = logging.getLogger(__package__)


async def sealed(fileno: Callable[[], int], carried: Carried) -> socket.socket | None:
    """Return a connection sealed in an envelope; None if no descriptors are left, or if it was closed.

    Args:
        fileno: returns its descriptor; negative once it is closed.
        carried: the state that it carries.
    """
    for _ in range(SEAL_RETRIES):
        fd = fileno()
        if fd < 0:
            return None
        try:
            return seal(fd, carried)
        except OSError as error:
            logger.debug("a connection cannot be handed over yet: %s", error)
            await asyncio.sleep(SEAL_RETRY_INTERVAL)
    return None


class PendingHandover:
    """A connection on its way to another process, sealed in an envelope; see `transfer.Movable`.

    Args:
        envelope: the connection with its state; closed by the caller.

    Attributes:
        outcome: whether another process has the connection.
    """

    def __init__(self, envelope: socket.socket) -> None:
        self._envelope = envelope
        self.outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def fileno(self) -> int:
        """Return the descriptor; negative once nothing waits for the outcome."""
        return self._envelope.fileno()

    def on_moved(self) -> None:
        """Called when another process has the connection."""
        self._settle(True)

    def on_refused(self) -> None:
        """Called when no process has taken the connection."""
        self._settle(False)

    def _settle(self, moved: bool) -> None:
        if not self.outcome.done():  # it is done if the drain was aborted first
            self.outcome.set_result(moved)
