"""Distributes handed-over connections among the serving workers of a supervisor (see `transfer`).

The supervisor keeps a copy of each connection until a worker has confirmed that it has arrived: one that a
worker had no descriptor for, or did not live to receive, goes to another worker.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
import socket
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from sockact.handover.admission import Given, inspect
from sockact.handover.store import Store
from sockact.handover.supply import Supply
from sockact.handover.transfer import DATAGRAM_CAPACITY, RETRY_PAUSE
from sockact.protocols.worker_messages import KEEP, SHED, SupervisorOrder
from sockact.untrusted import ancillary

RECOVERY = 1.0
"""Seconds until workers that have run out of descriptors are offered connections again."""

STUCK_TIMEOUT = 1.0
"""Seconds for which waiting connections may not be sent to any worker before no others are taken."""

logger = logging.getLogger(__package__)


class WorkerLoad(NamedTuple):
    """The load of one worker.

    Attributes:
        connections: how many it has, or is about to receive.
        share: its share of the load; 1 for a usual worker's.
    """

    connections: int
    share: float = 1.0


class Exchange:
    """Distributes connections among a supervisor's workers; those that no worker takes yet wait here.

    Args:
        serving: returns the workers that are to have them.
        unassigned: the connections that wait from the beginning; they come from the store.
        share: returns how many a worker can hand over in its drain: no more than it may have descriptors.
        holding: returns a worker's load; None if it does not tell: only what it got here is known.
        store: has copies of the connections that wait while no worker serves; None for no store.

    Attributes:
        unassigned: the connections that wait.
        room: how many may wait.
        keeps: whether connections are kept for the next process.
        taken: how many were taken from workers in all.
    """

    def __init__(
        self,
        serving: Callable[[], Sequence[int]],
        unassigned: Sequence[int] = (),
        share: Callable[[int], float] = lambda _: math.inf,
        holding: Callable[[int], WorkerLoad | None] = lambda _: None,
        store: Store | None = None,
    ) -> None:
        self.unassigned = list(unassigned)
        self.room: float = math.inf
        self.keeps = False
        self.taken = 0
        self._serving = serving
        self._share = share
        self._holding = holding
        self._supplies: dict[int, Supply] = {}
        self._crowded = False
        self._stuck_since: float | None = None
        self._ending = False
        self._store = store
        self._stored = len(self.unassigned)  # so many of the first that wait are in the store
        self._later: asyncio.TimerHandle | None = None

    def supply(self, worker: int, ours: socket.socket | None = None) -> Supply:
        """Return the supply of a new worker, or of a left-over one, whose supply has the end `ours`."""
        supply = self._supplies[worker] = Supply(self._arrived, self._lost, ours)
        return supply

    def supply_of(self, worker: int) -> Supply | None:
        """Return the supply of a worker, if it has one."""
        return self._supplies.get(worker)

    def take(self, descriptors: Sequence[int], sender: int, *, sender_exited: bool = False) -> None:
        """Take the connections that a worker has offered, and pass them on.

        Args:
            descriptors: copies of the connections; the worker reads nothing from them until it is answered.
            sender: the worker.
            sender_exited: it has ended, so that nobody else has them and nobody waits for the answer.

        There are none if they could not be received: this process has run out of descriptors. None are
        taken while the workers that serve have run out of them, or the kernel lets none be sent to them
        (ETOOMANYREFS, unix(7)): the sender serves its own better. Nor is anything taken from the first
        descriptor on that is no connection.
        """
        supply = self._supplies.get(sender)
        found = self._admitted(descriptors, sender, supply)
        answered = supply is not None and supply.answer(len(found))
        if not (answered or sender_exited):
            found = []
        for fd, given in zip(descriptors, found, strict=False):
            if given is Given.CONNECTION:
                self.unassigned.append(fd)
            else:
                ancillary.close([fd])
        self.taken += len(found)
        if supply is not None:
            ordered = min(supply.owed, len(found))
            supply.owed -= ordered
            supply.taken += len(found) - ordered
        close_all(descriptors[len(found) :])  # copies: the worker keeps them
        self.pass_on()

    def _admitted(self, descriptors: Sequence[int], sender: int, supply: Supply | None) -> list[Given]:
        """Return what the first descriptors are, as many as can be taken."""
        full = self._ending or self._crowded or self._is_stuck()
        room = 0 if full else self.room - len(self.unassigned)
        if supply is not None:
            room = min(room, self._share(sender) - supply.taken + supply.owed)
        found = [inspect(fd) for fd in descriptors[: int(max(min(len(descriptors), room), 0))]]
        if Given.OTHER in found:
            if supply is not None and not supply.suspect:
                supply.suspect = True
                logger.warning("worker=%d hands over a descriptor that is no connection: refused", sender)
            del found[found.index(Given.OTHER) :]
        return found

    def pass_on(self) -> None:
        """Send the waiting connections to the workers that serve, so that each has as many in the end.

        Most come one by one, at the end of a response, and a rolling reload has one worker to take them
        at first: the connections that a worker has already count. Where a worker does not tell, those that
        it got before do, and so do those it had no descriptors for.
        """
        if self._later is not None:
            self._later.cancel()
            self._later = None
        serving = self._serving() if self.unassigned else ()
        self._share_out([number for number in serving if number in self._supplies])
        if self.unassigned and serving:
            self._pass_on_later(RETRY_PAUSE)
        elif self.unassigned and self._ending:
            self.refuse()
        elif self.unassigned:
            self._secure()

    def _secure(self, *, must: bool = False) -> None:
        """Store copies of those that wait: this process may be killed before a worker serves.

        Args:
            must: wait a moment for room in the manager's queue.
        """
        if self._store is not None:
            room = max(self._store.capacity - self._stored, 0)
            new = self.unassigned[self._stored : self._stored + room]
            left = self._store.put(new, must=must)
            not_stored = set(left)
            stored = [fd for fd in new if fd not in not_stored]
            self.unassigned[self._stored : self._stored + len(new)] = [*stored, *left]
            self._stored += len(stored)

    def _release(self) -> None:
        """Remove the copies: nobody else is to have what a worker gets, or what is closed."""
        if self._store is not None and self._stored:
            self._store.clear()
        self._stored = 0

    def _share_out(self, workers: Sequence[int]) -> None:
        """Send the waiting connections to these workers; those that cannot be sent go on waiting."""
        if not workers:
            self._stuck_since = None
            return
        self._release()
        while workers and self.unassigned:
            failed = self._share_among(workers)
            if not failed:
                break
            # One may have ended, and its end is not known yet.
            workers = [worker for worker in workers if worker not in failed]
        self._note_stuck()

    def _share_among(self, workers: Sequence[int]) -> set[int]:
        """Send each of these workers its part; return those to which something could not be sent."""
        waiting, self.unassigned = self.unassigned, []
        parts: list[list[int]] = [[] for _ in workers]
        loads = [self._load(worker) for worker in workers]
        least = [((load.connections + 1) / load.share, index) for index, load in enumerate(loads)]
        heapq.heapify(least)
        for fd in waiting:
            cost, index = least[0]
            parts[index].append(fd)
            heapq.heapreplace(least, (cost + 1 / loads[index].share, index))
        failed = set()
        for worker, part in zip(workers, parts, strict=True):
            for start in range(0, len(part), DATAGRAM_CAPACITY):
                batch = part[start : start + DATAGRAM_CAPACITY]
                if not self._supplies[worker].pass_on(batch):
                    self.unassigned += batch
                    failed.add(worker)
        return failed

    def _note_stuck(self) -> None:
        """Note whether workers were there, but connections could not be sent to them."""
        if not self.unassigned:
            self._stuck_since = None
        elif self._stuck_since is None:
            self._stuck_since = asyncio.get_running_loop().time()
            logger.debug("%d connections cannot be sent to workers yet", len(self.unassigned))

    def _is_stuck(self) -> bool:
        since = self._stuck_since
        return since is not None and asyncio.get_running_loop().time() - since >= STUCK_TIMEOUT

    def _load(self, worker: int) -> WorkerLoad:
        return self._holding(worker) or WorkerLoad(self._supplies[worker].passed)

    def under_way(self, worker: int, received: int) -> int:
        """Return how many connections have been sent to a worker which has `received` so many."""
        supply = self._supplies.get(worker)
        return 0 if supply is None else max(supply.expected - received, 0)

    def shed(self, worker: int, count: int) -> bool:
        """Order a worker to hand over connections; return whether the order is on its way."""
        supply = self._supplies.get(worker)
        if supply is None or not supply.order(SupervisorOrder(SHED, count)):
            return False
        supply.owed = count
        return True

    def retire(self, worker: int) -> None:
        """Tell a worker that is about to be stopped that it is replaced."""
        if supply := self._supplies.get(worker):
            supply.retire()

    def take_orders(self, worker: int) -> bool:
        """Note that a worker takes orders; return whether that is new."""
        supply = self._supplies.get(worker)
        return supply is not None and supply.take_orders()

    def order(self, worker: int, order: SupervisorOrder) -> bool:
        """Send a worker an order; return whether it is on its way. If not, there are signals."""
        supply = self._supplies.get(worker)
        return supply is not None and supply.order(order)

    def end(self, spared: Collection[int] = (), *, able: Collection[int] | None = None) -> None:
        """Take no more connections: nobody will be there to receive them.

        Where no worker is spared, those that wait go to workers that drain, which serve a request that has
        come already; else they go on waiting, for the next supervisor.

        Args:
            spared: the workers from which connections are taken all the same.
            able: those that can serve; one that still starts ends without having served anything. None for
                all.
        """
        if not spared:
            self._share_out([worker for worker in self._supplies if able is None or worker in able])
        for worker, supply in self._supplies.items():
            if worker not in spared:
                supply.end()
        if not spared:
            self.refuse()

    def let_go(self) -> None:
        """Leave all supplies, and what waits, to the next supervisor."""
        for supply in self._supplies.values():
            supply.let_go()
        self._secure(must=True)

    def keep(self, room: int) -> None:
        """Keep connections for the next process from now on: no worker of this one will serve them.

        They wait here, to be passed on after all if no process follows; the store gets copies as they come.

        Args:
            room: how many may wait.
        """
        self.room, self.keeps = room, True
        self.pass_on()

    def call_off(self, able: Callable[[], Sequence[int]]) -> None:
        """Keep none any more, and take none: no process follows after all.

        Args:
            able: returns the workers that still drain; they serve what was kept.
        """
        self.keeps = False
        self._serving, self._ending = able, True
        for supply in self._supplies.values():
            supply.order(SupervisorOrder(KEEP))  # they tell their clients so, and go on receiving
        self.pass_on()

    def leave(self) -> None:
        """Leave those that wait to the next process, by the store; without room they go on waiting."""
        self._secure(must=True)
        close_all(self.unassigned[: self._stored])
        del self.unassigned[: self._stored]
        self._stored = 0

    def refuse(self) -> None:
        """Close the waiting connections, and keep none from now on."""
        self._release()
        self.room = 0
        close_all(self.unassigned)
        self.unassigned = []

    def forget(self, worker: int) -> None:
        """Close the supply of a worker that has ended; what it has not received waits again."""
        if (supply := self._supplies.pop(worker, None)) is not None:
            supply.close()

    def _arrived(self, missing: list[int]) -> None:
        """Keep the connections that a worker had no descriptors for, until it may have some again."""
        if missing and not self._crowded:
            logger.warning("workers have run out of descriptors; handed-over connections wait")
        self._crowded = bool(missing)
        self._wait(missing, RECOVERY)

    def _lost(self, batch: list[int]) -> None:
        """Send the connections that a worker has not received before its end to another one."""
        self._wait(batch, 0)

    def _wait(self, descriptors: list[int], seconds: float) -> None:
        if not self.room:
            close_all(descriptors)
        elif descriptors:
            self.unassigned += descriptors
            self._pass_on_later(seconds)

    def _pass_on_later(self, seconds: float) -> None:
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(seconds, self.pass_on)


def close_all(descriptors: Sequence[int]) -> None:
    """Close descriptors that this process has passed on, or does not keep."""
    ancillary.close(descriptors)
