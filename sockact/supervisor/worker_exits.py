"""Tells one worker when another has ended: only workers know the app's `on_worker_exit` hooks.

    worker          supervisor
    EXITS=1                           when it first has a hook for that
                    EXITED pid        a process of the app's has ended, however it did; to one that serves
    EXIT_SEEN=pid                     the hooks have run

An exit that a worker has not confirmed before its own end is told to another one, and exits while no worker
has such a hook wait for the first that has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sockact.protocols.worker_messages import WorkerMessage

MAX_REMEMBERED = 1000
"""Ended processes that are remembered, at most: there may never be a hook for them."""


class Exits:
    """The processes that have ended, and which worker was told of each.

    Args:
        tell: tells a worker of a process; returns whether that is on its way.
        serving: returns the workers that serve.
    """

    def __init__(self, tell: Callable[[int, int], bool], serving: Callable[[], Iterable[int]]) -> None:
        self._tell = tell
        self._serving = serving
        self._watching: set[int] = set()
        self._told: dict[int, int | None] = {}

    def ended(self, pid: int) -> None:
        """Note that a process has ended."""
        self._told[pid] = None
        if len(self._told) > MAX_REMEMBERED:
            del self._told[next(iter(self._told))]
        self.pass_on()

    def started(self, pid: int) -> None:
        """Note that a process has started; an earlier one with the same PID is not told of any more."""
        self._told.pop(pid, None)

    def heard(self, worker: int, message: WorkerMessage) -> None:
        """Note a worker's message."""
        if message.exit_seen is not None and self._told.get(message.exit_seen) == worker:
            del self._told[message.exit_seen]
        if message.watches_exits:
            self._watching.add(worker)
            self.pass_on()

    def forget(self, worker: int) -> None:
        """Note that a worker has ended: others are to be told what it has not confirmed."""
        self._watching.discard(worker)
        for pid, told in self._told.items():
            if told == worker:
                self._told[pid] = None

    def pass_on(self) -> None:
        """Tell of the exits that wait, if a worker that serves has asked for them."""
        waiting = [pid for pid, told in self._told.items() if told is None]
        watching = [worker for worker in self._serving() if worker in self._watching] if waiting else []
        for pid in waiting if watching else ():
            if self._tell(watching[0], pid):
                self._told[pid] = watching[0]
