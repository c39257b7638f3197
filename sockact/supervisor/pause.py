"""The pause of all workers: each is told, and answers when none of its requests is in flight.

No worker is started meanwhile: it would serve at once, and there is nothing to do for it. So a worker that
ends in a pause is replaced after it, and one that is to be recycled serves until then.
"""

from __future__ import annotations

from collections.abc import Callable

from sockact.errors import PauseFailed
from sockact.lifecycle.pausing import Pausing
from sockact.protocols.counters import count
from sockact.protocols.worker_messages import PAUSE, SupervisorOrder, WorkerMessage
from sockact.supervisor.fleet import Fleet
from sockact.supervisor.links import WorkerLinks

OUTLASTS = 1.0
"""Seconds by which a worker's own pause is longer: it is told of the end, if anybody is left to tell it."""


class FleetPause:
    """The pause of a supervisor's workers.

    Args:
        fleet: the workers.
        links: the links to them.
        now: returns the time by the fleet's clock.

    Attributes:
        pausing: the pause.
    """

    def __init__(self, fleet: Fleet, links: WorkerLinks, now: Callable[[], float]) -> None:
        self._fleet = fleet
        self._links = links
        self._now = now
        self._unfinished: dict[int, int | None] = {}
        self.pausing = Pausing(self._hold, self._release)

    def begin_orders(self, number: int) -> None:
        """Tell a worker that takes orders from now on: its start was under way when the pause began."""
        if self.pausing.paused:
            self._tell(number, self.pausing.left)

    def heard(self, number: int, message: WorkerMessage) -> None:
        """Note what a worker has in flight."""
        if message.paused is not None and number in self._unfinished:
            self._unfinished[number] = message.paused
            self._note()

    def forget(self, number: int) -> None:
        """Forget a worker that has ended."""
        if number in self._unfinished:
            del self._unfinished[number]
            self._note()

    def allow(self, number: int) -> None:
        """Give a worker that starts after the pause more time for it."""
        if left := self.pausing.left:
            self._fleet.extended(number, left + self._fleet.rules.start_timeout, self._now())

    def _hold(self, seconds: float) -> None:
        self._links.children.hold()
        self._unfinished = dict.fromkeys(self._fleet.workers)
        for number, worker in self._fleet.workers.items():
            if worker.starts:
                self.allow(number)
            if not self._tell(number, seconds) and not worker.starts:
                raise PauseFailed(f"worker={number} takes no such order: it is another program, or older")
        self._note()

    def _release(self) -> None:
        self._unfinished.clear()
        for number in self._fleet.workers:
            self._tell(number, 0.0)
        self._links.children.release()

    def _tell(self, number: int, seconds: float) -> bool:
        milliseconds = round((seconds + OUTLASTS) * 1000) if seconds else 0
        return self._links.exchange.order(number, SupervisorOrder(PAUSE, milliseconds))

    def _note(self) -> None:
        drain = {number for number in self._unfinished if self._fleet.workers[number].drains}
        silent = {number for number, left in self._unfinished.items() if left is None} - drain
        unfinished = sum(left or 0 for left in self._unfinished.values())
        found = [f"worker={number} drains" for number in drain]
        found += [f"worker={number} has not answered" for number in silent]
        found += [f"{count(unfinished, 'request')} in flight"] if unfinished else []
        self.pausing.note(", ".join(found))
