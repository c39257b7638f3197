"""Tells one worker when another has ended: only workers know the app's `on_worker_exit` hooks.

    worker          supervisor
    EXITS=1                           when it first has a hook for that
                    EXITED pid        a process of the app's has ended, however it did; to one that serves
    EXIT_SEEN=pid                     the hooks have run

What has not been seen by a worker that ends is told to another one, and what happens while there is none
that wants to know waits for the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sockact.protocols.assignments import EXIT_SEEN, EXITS

MOST = 1000
"""How many ended processes are remembered, at most: it may be that nobody ever wants to know."""


class Exits:
    """The processes that have ended, and who was told.

    Args:
        tell: tells a worker of a process; returns whether that is on its way.
        serving: returns the workers that serve.
    """

    def __init__(self, tell: Callable[[int, int], bool], serving: Callable[[], Iterable[int]]) -> None:
        self._tell = tell
        self._serving = serving
        self._wanting: set[int] = set()
        self._told: dict[int, int | None] = {}

    def ended(self, pid: int) -> None:
        """Note that a process has ended."""
        self._told[pid] = None
        if len(self._told) > MOST:
            del self._told[next(iter(self._told))]
        self.pass_on()

    def started(self, pid: int) -> None:
        """Note that a process has started; one before with the same number is nobody's business now."""
        self._told.pop(pid, None)

    def heard(self, worker: int, said: Mapping[str, str]) -> None:
        """Note what a worker has said."""
        seen = said.get(EXIT_SEEN, "")
        if seen.isascii() and seen.isdecimal() and len(seen) < 20 and self._told.get(int(seen)) == worker:
            del self._told[int(seen)]
        if EXITS in said:
            self._wanting.add(worker)
            self.pass_on()

    def forget(self, worker: int) -> None:
        """Let others see what a worker that has ended has not."""
        self._wanting.discard(worker)
        for pid, told in self._told.items():
            if told == worker:
                self._told[pid] = None

    def pass_on(self) -> None:
        """Tell what waits, if there is a worker that serves and wants to know."""
        waiting = [pid for pid, told in self._told.items() if told is None]
        wanting = [worker for worker in self._serving() if worker in self._wanting] if waiting else []
        for pid in waiting if wanting else ():
            if self._tell(wanting[0], pid):
                self._told[pid] = wanting[0]
