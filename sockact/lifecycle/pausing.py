"""A pause of a service: until it is over no connection is accepted, no request read, and no code reloaded.

New connections wait in the kernel's queue, requests on open ones in their sockets: no client is refused,
and none loses its connection. What is in flight goes on; WebSockets and conversations do so to the end.

A pause ends by itself, whatever has become of who asked for it. A stop and a restart end it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable

from sockact.errors import PauseFailed, ReloadRefused

OVER = "its time is over"

logger = logging.getLogger(__package__)


class Pausing:
    """The pause of a service, or of one of its workers.

    Args:
        hold: called with the seconds when a pause begins, or gets another end; raises PauseFailed if there
            can be none.
        release: called when it is over.
        level: the level of its log lines.
    """

    def __init__(
        self, hold: Callable[[float], None], release: Callable[[], None], level: int = logging.INFO
    ) -> None:
        self._hold = hold
        self._release = release
        self._level = level
        self._timer: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._unfinished = ""
        self._reason = ""
        self._changed = asyncio.Event()

    @property
    def paused(self) -> bool:
        """True while there is a pause."""
        return self._timer is not None

    @property
    def left(self) -> float:
        """Seconds to the end of the pause; 0 if there is none."""
        return 0.0 if self._timer is None else max(self._timer.when() - _now(), 0.0)

    def begin(self, seconds: float) -> None:
        """Pause for so long from now on; raises PauseFailed, and goes on then."""
        if self._timer is None:
            self._began = _now()
        else:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.end, OVER)
        try:
            self._hold(seconds)
        except PauseFailed as error:
            self.end(str(error))
            raise
        logger.log(self._level, "paused for %g s", seconds)

    def end(self, reason: str) -> bool:
        """End the pause, and go on; return whether there was one."""
        if not self.close(reason):
            return False
        self._release()
        return True

    def close(self, reason: str) -> bool:
        """End the pause, while what was held stays so; return whether there was one."""
        if self._timer is None:
            return False
        self._timer.cancel()
        self._timer = None
        self._reason = reason
        self._changed.set()
        logger.log(self._level, "the pause ends after %.1f s: %s", _now() - self._began, reason)
        return True

    def note(self, unfinished: str) -> None:
        """Note what is in flight, in words; empty for nothing."""
        self._unfinished = unfinished
        self._changed.set()

    async def finish(self) -> None:
        """Wait until nothing is in flight any more; raises PauseFailed if the pause ends before."""
        while self.paused and self._unfinished:
            await self._change()
        if not self.left:  # this process was stopped for a while: others have gone on already
            self.end(OVER)
        if not self.paused:
            left = f" before all was done: {self._unfinished}" if self._unfinished else ""
            raise PauseFailed(f"the pause has ended{left}: {self._reason}")

    async def over(self) -> None:
        """Wait for the end of the pause."""
        while self.paused:
            await self._change()

    def refuse_reload(self) -> None:
        """Raise ReloadRefused in a pause: the new code would serve at once."""
        if self.paused:
            left = math.ceil(self.left)
            raise ReloadRefused(
                f"the service is paused for another {left} s: expected `sockact resume` before"
            )

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def _now() -> float:
    return asyncio.get_running_loop().time()
