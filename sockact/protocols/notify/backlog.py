"""The backlog: notifications that wait for room in the manager's queue, in order."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable

QUEUE_TIMEOUT = 1.0
"""Seconds in which a manager should make room in its queue: notifications with descriptors wait no longer,
nor does the end of this process, and after that the log says that the manager does not read."""

RETRY_PAUSE = 0.02
"""Seconds until the next try to send what has found no room. Not poll(2): it wakes for a queue that others
have filled again."""

BACKLOG_LIMIT = 256
"""Notifications that wait for room, at most."""


class Backlog:
    """The waiting notifications, and the thread that sends them; there is none while nothing waits.

    Args:
        send: sends a notification; returns whether there was room.
        stuck: called when there has been no room for long.
    """

    def __init__(self, send: Callable[[str], bool], stuck: Callable[[], None]) -> None:
        self._send = send
        self._stuck = stuck
        self._waiting: list[str] = []
        self._changed = threading.Condition()
        self._begun = False

    def send(self, state: str, *, must: bool) -> None:
        """Send now if there is room, and nothing waits; else later if it must be, or not at all."""
        with self._changed:
            if not self._waiting and self._send(state):
                return
            # A notification that repeats the last one, such as a ping, needs to wait only once.
            if must and len(self._waiting) < BACKLOG_LIMIT and self._waiting[-1:] != [state]:
                self._waiting.append(state)
                if len(self._waiting) == 1:
                    self._begin()

    def wait_sent(self, timeout: float) -> bool:
        """Wait until nothing waits any more; return whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout)

    def _begin(self) -> None:
        try:
            threading.Thread(target=self._work, name="notify", daemon=True).start()
        except RuntimeError:  # no thread is to be had
            time.sleep(QUEUE_TIMEOUT)
            self._send_waiting()
            self._waiting.clear()
        if not self._begun:
            self._begun = True
            atexit.register(self.wait_sent, QUEUE_TIMEOUT)

    def _work(self) -> None:
        told, limit = False, time.monotonic() + QUEUE_TIMEOUT
        while not self._send_waiting():
            if not told and time.monotonic() > limit:
                told = True
                self._stuck()
            time.sleep(10 * RETRY_PAUSE if told else RETRY_PAUSE)

    def _send_waiting(self) -> bool:
        """Send as many as there is room for; return whether these were all."""
        with self._changed:
            while self._waiting and self._send(self._waiting[0]):
                del self._waiting[0]
            self._changed.notify_all()
            return not self._waiting
