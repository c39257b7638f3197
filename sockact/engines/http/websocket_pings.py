"""Pings to the client of a WebSocket."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable


class Pings:
    """Pings that a client has to answer in time.

    Args:
        interval: seconds between an answer and the next ping; None for no pings.
        timeout: seconds that an answer may take; None for no limit.
        send: sends a ping with these bytes.
        unanswered: called when an answer takes too long.
    """

    def __init__(
        self,
        interval: float | None,
        timeout: float | None,
        send: Callable[[bytes], None],
        unanswered: Callable[[], None],
    ) -> None:
        self._interval = interval
        self._timeout = timeout
        self._send = send
        self._unanswered = unanswered
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._awaited = b""

    def begin(self) -> None:
        """Send the next ping when the interval is over."""
        if self._interval is not None:
            self._timer = self._loop.call_later(self._interval, self._ping)

    def on_pong(self, data: bytes) -> None:
        """Note an answer, or a pong that nobody has asked for."""
        if self._awaited and data == self._awaited:
            self._awaited = b""
            if self._timeout is not None:
                self.stop()
                self.begin()

    def stop(self) -> None:
        """Send no more, and wait for no answer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ping(self) -> None:
        self._awaited = os.urandom(4)
        self._send(self._awaited)
        if self._timeout is None:
            self.begin()
        else:
            self._timer = self._loop.call_later(self._timeout, self._unanswered)
