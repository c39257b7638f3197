"""A supervisor's exchange: what its workers give away goes to those that serve (see `handover`).

The supervisor keeps a copy of each connection until a worker has said that it has arrived: what a worker
had no descriptor for, or did not live to receive, goes to another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import math
import socket
from collections import deque
from collections.abc import Callable, Sequence

from sockact.handover.admission import Given, inspect
from sockact.handover.transfer import AGAIN, ARRIVING, BATCH, KEEP, LISTENING, RETIRE
from sockact.untrusted import ancillary

RECOVERY = 1.0
"""Seconds until workers that have run out of descriptors are offered connections again."""

logger = logging.getLogger(__package__)


class Supply:
    """The supervisor's end of what one worker receives connections from; closed with the worker.

    Args:
        arrived: called when the worker has said what it has of a batch, with what is missing.
        lost: called with each batch of which it will say nothing any more.

    Attributes:
        passed: how many connections were sent over it.
        given: how many of its worker were taken.
        suspect: whether that has given something else, too.
    """

    def __init__(self, arrived: Callable[[list[int]], None], lost: Callable[[list[int]], None]) -> None:
        self._arrived = arrived
        self._lost = lost
        self.passed = 0
        self._takes_orders = False
        self._kept = False
        self.given = 0
        self.suspect = False
        self._sent: deque[list[int]] = deque()
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)
        ancillary.refuse_descriptors(self._ours)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._ours.fileno(), self._hear)

    def pass_on(self, descriptors: Sequence[int]) -> bool:
        """Return whether these are on their way; they belong to this supply until the worker has them."""
        if self._kept:
            return False
        try:
            socket.send_fds(self._ours, [bytes([ARRIVING])], list(descriptors))
        except OSError:
            return False
        self._sent.append(list(descriptors))
        self.passed += len(descriptors)
        return True

    def retire(self) -> None:
        """Tell the worker that it is replaced."""
        with contextlib.suppress(OSError):
            self._ours.send(bytes([RETIRE]))

    def take_orders(self) -> bool:
        """Note that the worker takes orders, and tell it that it gets some; return whether that is new."""
        new, self._takes_orders = not self._takes_orders, True
        return new and self.order(LISTENING)

    def order(self, text: str) -> bool:
        """Return whether an order is on its way: an older worker takes none, nor does one at its end."""
        if not self._takes_orders:
            return False
        try:
            self._ours.send(bytes([RETIRE]) + text.encode())
        except OSError:
            return False
        return True

    def answer(self, taken: int) -> bool:
        """Return whether the worker learns how many of its connections were taken; if not, it keeps all."""
        if self._kept:
            return False
        try:
            self._ours.send(bytes([taken]))
        except OSError:
            self.end()
            return False
        return True

    def end(self) -> None:
        """Tell the worker that nobody takes what it would give away."""
        self._kept = True
        if self.order(KEEP):
            return  # there may be more orders
        with contextlib.suppress(OSError):
            self._ours.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Give both ends up, and take back what has not arrived.

        A worker that was killed may have said of more than one batch that it has it: what it has read from
        those, nobody else can answer, and their clients are to learn that it is gone.
        """
        while self._sent and self._hear():
            pass
        self._leave()
        self.end()  # now, for a worker that lives on; closing may take time
        ancillary.close_socket(self._ours)
        self.theirs.close()

    def _hear(self) -> bool:
        """Read how many connections of the oldest batch have arrived; return whether it was said."""
        try:
            data = ancillary.read(self._ours, 1)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data or not self._sent:
            self._leave()
            return False
        batch = self._sent.popleft()
        close_all(batch[: data[0]])
        self._arrived(batch[data[0] :])
        return True

    def _leave(self) -> None:
        self._loop.remove_reader(self._ours.fileno())
        while self._sent:
            self._lost(self._sent.popleft())


class Exchange:
    """Spreads connections over a supervisor's workers; those that nobody takes yet wait here.

    Args:
        serving: tells which workers shall have them.
        homeless: what waits from the beginning.
        share: tells how many a worker may give, all in all: none has more than it may have descriptors.

    Attributes:
        homeless: what waits.
        room: how many may wait.
    """

    def __init__(
        self,
        serving: Callable[[], Sequence[int]],
        homeless: Sequence[int] = (),
        share: Callable[[int], float] = lambda _: math.inf,
    ) -> None:
        self.homeless = list(homeless)
        self.room: float = math.inf
        self._serving = serving
        self._share = share
        self._supplies: dict[int, Supply] = {}
        self._crowded = False
        self._later: asyncio.TimerHandle | None = None

    def supply(self, worker: int) -> Supply:
        """Return how a new worker is reached."""
        supply = self._supplies[worker] = Supply(self._arrived, self._lost)
        return supply

    def take(self, descriptors: Sequence[int], giver: int, *, orphaned: bool = False) -> None:
        """Take the connections that a worker has given, and pass them on.

        Args:
            descriptors: copies of the connections, of which the worker reads nothing until it is answered.
            giver: the worker.
            orphaned: whether it has ended, so that nobody else has them and nobody waits for the answer.

        There are none if they could not be received: this process has run out of descriptors. None are
        taken while the workers that serve have run out of them: the giver serves its own better. Nor is
        anything from the first on that is no connection.
        """
        supply = self._supplies.get(giver)
        room = 0 if self._crowded else self.room - len(self.homeless)
        if supply is not None:
            room = min(room, self._share(giver) - supply.given)
        found = [inspect(fd) for fd in descriptors[: int(max(min(len(descriptors), room), 0))]]
        if Given.OTHER in found:
            if supply is not None and not supply.suspect:
                supply.suspect = True
                logger.warning("worker=%d gives away what is no connection: refused", giver)
            del found[found.index(Given.OTHER) :]
        answered = supply is not None and supply.answer(len(found))
        if not (answered or orphaned):
            found = []
        for fd, parcel in zip(descriptors, found, strict=False):
            if parcel is Given.CONNECTION:
                self.homeless.append(fd)
            else:
                ancillary.close([fd])
        if supply is not None:
            supply.given += len(found)
        close_all(descriptors[len(found) :])  # copies: the worker keeps them
        self.pass_on()

    def pass_on(self) -> None:
        """Give the connections that wait to the workers that serve, so that each gets as many in all.

        Most come one by one, at the end of a response, and a rolling reload has one worker to give them
        to at first: what a worker got before counts. What it had no descriptors for does so, too.
        """
        if self._later is not None:
            self._later.cancel()
            self._later = None
        serving = self._serving() if self.homeless else ()
        supplies = [self._supplies[number] for number in serving if number in self._supplies]
        if not supplies:
            return
        homeless, self.homeless = self.homeless, []
        shares: list[list[int]] = [[] for _ in supplies]
        least = [(supply.passed, index) for index, supply in enumerate(supplies)]
        heapq.heapify(least)
        for fd in homeless:
            passed, index = least[0]
            shares[index].append(fd)
            heapq.heapreplace(least, (passed + 1, index))
        for supply, share in zip(supplies, shares, strict=True):
            for start in range(0, len(share), BATCH):
                batch = share[start : start + BATCH]
                if not supply.pass_on(batch):
                    self.homeless += batch
        if self.homeless:
            self._pass_on_later(AGAIN)

    def retire(self, worker: int) -> None:
        """Tell a worker that is about to be stopped that it is replaced."""
        if supply := self._supplies.get(worker):
            supply.retire()

    def take_orders(self, worker: int) -> bool:
        """Note that a worker takes orders; return whether that is new."""
        supply = self._supplies.get(worker)
        return supply is not None and supply.take_orders()

    def order(self, worker: int, text: str) -> bool:
        """Return whether an order to a worker is on its way; if not, there are signals."""
        supply = self._supplies.get(worker)
        return supply is not None and supply.order(text)

    def end(self) -> None:
        """Take none any more: nobody will be there to receive them."""
        for supply in self._supplies.values():
            supply.end()
        self.refuse()

    def refuse(self) -> None:
        """Keep none."""
        self.room = 0
        close_all(self.homeless)
        self.homeless = []

    def forget(self, worker: int) -> None:
        """Close what a worker that has ended received from; what it has not received waits again."""
        if (supply := self._supplies.pop(worker, None)) is not None:
            supply.close()

    def _arrived(self, missing: list[int]) -> None:
        """Let what a worker had no descriptors for wait, until it may have some again."""
        if missing and not self._crowded:
            logger.warning("workers have run out of descriptors; connections that move there wait")
        self._crowded = bool(missing)
        self._wait(missing, RECOVERY)

    def _lost(self, batch: list[int]) -> None:
        """Let what a worker has not received before its end go to another one."""
        self._wait(batch, 0)

    def _wait(self, descriptors: list[int], seconds: float) -> None:
        if not self.room:
            close_all(descriptors)
        elif descriptors:
            self.homeless += descriptors
            self._pass_on_later(seconds)

    def _pass_on_later(self, seconds: float) -> None:
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(seconds, self.pass_on)


def close_all(descriptors: Sequence[int]) -> None:
    """Close what this process does not want, or has passed on."""
    ancillary.close(descriptors)
