"""The threads in which WSGI apps are called; each is started when it is needed."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable

NAME = "wsgi"
"""The beginning of the threads' names."""


class Threads:
    """Runs work in threads. Only the event loop's thread calls this.

    A thread lives as long as the process, so that an app may keep things in `threading.local`. Each piece
    of work has a context of its own: what it sets in a `contextvars.ContextVar` ends with it.

    Args:
        most: how many threads there may be.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._busy = 0
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def run(self, work: Callable[[], None]) -> None:
        """Run work, which raises nothing, in a thread; call `done` when it has ended."""
        self._busy += 1
        if self._busy > self._count and self._count < self._most:
            self._start()
        self._work.put(work)

    def done(self) -> None:
        """Note that a piece of work has ended."""
        self._busy -= 1

    def _start(self) -> None:
        thread = threading.Thread(target=self._loop, name=f"{NAME}-{self._count}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread is to be had
            if not self._count:
                raise
        else:
            self._count += 1

    def _loop(self) -> None:
        take = self._work.get
        while True:
            contextvars.Context().run(take())
