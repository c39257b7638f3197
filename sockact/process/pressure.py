"""The pressure on memory, as the event loop of this process hears of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator

from sockact.system.pressure import PressureWatch

PAUSE = 10.0
"""Seconds after an event in which others are not looked at: what was done has to show its effect."""


@contextlib.contextmanager
def watched(called: Callable[[], None]) -> Iterator[None]:
    """Call this when there is pressure on memory, if systemd has asked for it, while the body runs."""
    watch = PressureWatch.opened(os.environ)
    if watch is None:
        yield
        return
    reader = PressureReader(watch, called)
    try:
        yield
    finally:
        reader.close()


class PressureReader:
    """Passes the events of a watch on, with a pause after each.

    In the pause the event loop does not wait for the watch, so that a flood of events costs nothing.

    Args:
        watch: the watch; it is closed with this reader.
        called: called at each event that counts.
        pause: the seconds between two of them.
    """

    def __init__(self, watch: PressureWatch, called: Callable[[], None], pause: float = PAUSE) -> None:
        self._watch = watch
        self._called = called
        self._pause = pause
        self._loop = asyncio.get_running_loop()
        self._later: asyncio.TimerHandle | None = None
        self._open = True
        self._wait()

    def _wait(self) -> None:
        self._later = None
        self._loop.add_reader(self._watch.fileno(), self._on_event)

    def _on_event(self) -> None:
        self._loop.remove_reader(self._watch.fileno())
        if not self._watch.go_on():
            self.close()
            return
        self._later = self._loop.call_later(self._pause, self._wait)
        self._called()

    def close(self) -> None:
        """Watch no more."""
        if not self._open:
            return
        self._open = False
        if self._later is not None:
            self._later.cancel()
        self._loop.remove_reader(self._watch.fileno())
        self._watch.close()
