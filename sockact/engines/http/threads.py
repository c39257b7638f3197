"""The threads in which WSGI apps are called; each is started when it is needed.

A thread that is woken costs two system calls, and a change of the thread that Python runs. So only one is
woken at the end of a turn of the event loop, and another one in the next turn if there is still work: apps
that answer at once need one thread, and those that wait for others soon have all.
"""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import contextvars
import threading
from collections import deque
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
        self._work: deque[Callable[[], None]] = deque()
        self._parked: list[_thread.LockType] = []  # a lock for each thread that waits, the latest one last
        self._waking = False

    def run(self, work: Callable[[], None]) -> None:
        """Run work, which raises nothing, in a thread; raises RuntimeError if none is to be had."""
        if not self._count:
            self._start()
        self._work.append(work)
        self._wake_soon()

    def _wake_soon(self) -> None:
        if not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        self._waking = False
        if not self._work:
            return
        if self._parked:
            self._parked.pop().release()
        elif self._count < self._most:
            with contextlib.suppress(RuntimeError):  # no more are to be had
                self._start()
        else:
            return  # each looks for more work when it is done
        self._wake_soon()

    def _start(self) -> None:
        threading.Thread(target=self._loop, name=f"{NAME}-{self._count}", daemon=True).start()
        self._count += 1

    def _loop(self) -> None:
        work, parked = self._work, self._parked
        lock = _thread.allocate_lock()
        lock.acquire()
        while True:
            try:
                item = work.popleft()
            except IndexError:
                parked.append(lock)
                if work and _removed(parked, lock):
                    continue  # it has come meanwhile
                lock.acquire()
            else:
                contextvars.Context().run(item)
                del item  # not to be kept while the thread waits


def _removed(parked: list[_thread.LockType], lock: _thread.LockType) -> bool:
    """Take a lock out of those that wait; return False if its thread has been woken already."""
    try:
        parked.remove(lock)
    except ValueError:
        return False
    return True
