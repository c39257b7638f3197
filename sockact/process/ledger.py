"""The ledger: the statistics of all workers of a service, those that have ended included.

No number in it steps back, as long as the service has not stopped. A worker that ends is added to the
totals (`totals`). These, and the pages of the workers that live, are in the service manager's store, and
the next process goes on from there: after a restart, after this process was killed, and in a reload in
place, which passes them on by itself. In a stop systemd closes its store, and the next start begins anew;
so does one without a store (`FileDescriptorStoreMax=`).

    name in the store         what it is
    sockact.totals            the totals
    sockact.statistics.N.G    the page of worker N of generation G
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sockact.process.totals import TOTALS, Totals
from sockact.protocols.metrics import statistics_overview
from sockact.protocols.notify import Notifier
from sockact.protocols.service_events import COUNT, RELOADS_FAILED, RELOADS_OK, ServiceEvents
from sockact.protocols.statistics import Statistics, total
from sockact.protocols.statistics_page import STATISTICS, StatisticsPage
from sockact.sockets.fds import Kind, Listener

PART = 4
"""At most one of so many places in the store is used for this: most are for connections."""

_NAME = re.compile(re.escape(STATISTICS) + r"\.([0-9]{1,9})\.([0-9]{1,9})")

logger = logging.getLogger(__package__)


class _Kept(NamedTuple):
    """A worker's page, and the name under which it is stored."""

    page: StatisticsPage
    name: str
    stored: bool


def is_past(listener: Listener) -> bool:
    """Return whether a descriptor belongs to the ledger of the process before this one."""
    known = listener.name == TOTALS or _NAME.fullmatch(listener.name) is not None
    return known and listener.kind is Kind.OTHER


class StatisticsLedger:
    """The statistics of this service's workers.

    Args:
        notifier: the notifier of this process.
        past: the descriptors from the process before this one, see `is_past`; owned from here on.
        single: whether the store is left alone: other processes of this unit have ledgers, too.

    Attributes:
        totals: the totals; None if there was no memory for them.
        anew: whether there were none before.
    """

    def __init__(self, notifier: Notifier, past: Sequence[Listener] = (), *, single: bool = False) -> None:
        self._notifier = notifier
        self._room = 0 if single else notifier.storage // PART
        self._kept: dict[int, _Kept] = {}
        self._past: dict[tuple[int, int], _Kept] = {}
        self.totals: Totals | None = None
        for each in past:
            self._take(each)
        self.anew = self.totals is None
        if self.totals is None:
            self.totals = self._new_totals()

    @property
    def stored(self) -> int:
        """The number of places in the store that this takes."""
        pages = sum(each.stored for each in (*self._kept.values(), *self._past.values()))
        return pages + (1 if self._room else 0)

    def adopt(self, workers: Collection[tuple[int, int]]) -> None:
        """Go on with the pages of left-over workers, by number and generation, and add all others."""
        past, self._past = self._past, {}
        for (number, generation), kept in past.items():
            self._kept[number] = kept
            if (number, generation) not in workers:
                self.close(number)

    def open(self, worker: int, generation: int) -> Listener | None:
        """Make the page of a worker that is about to start; return it as it is passed to the worker.

        None if there is no memory for it: the worker then serves without statistics.
        """
        name = f"{STATISTICS}.{worker}.{generation}"
        try:
            page = StatisticsPage.new(worker, generation)
        except OSError as error:
            logger.info("worker=%d has no statistics: no memory for them: %s", worker, error.strerror)
            return None
        stored = self.stored < self._room and self._notifier.store([page.fd], name)
        self._kept[worker] = _Kept(page, name, stored)
        return page.passed()

    def close(self, worker: int) -> None:
        """Add a worker that has ended to the totals."""
        kept = self._kept.pop(worker, None)
        if kept is None:
            return
        if self.totals is not None:
            self.totals.add(kept.page.identity, kept.page.read().ended())
        if kept.stored:
            self._notifier.forget(kept.name)
        kept.page.close()

    def of(self, worker: int) -> Statistics | None:
        """Return the numbers of a worker that has not ended; None if it has no statistics.

        Nobody is asked: a worker that hangs does not matter.
        """
        kept = self._kept.get(worker)
        return None if kept is None else kept.page.read()

    @property
    def total(self) -> Statistics:
        """The numbers of all workers, ended ones included."""
        ended = [] if self.totals is None else [self.totals.statistics]
        return total([*ended, *(kept.page.read() for kept in list(self._kept.values()))])

    @property
    def events(self) -> ServiceEvents:
        """The events that were counted."""
        return ServiceEvents() if self.totals is None else ServiceEvents(self.totals.events(0, COUNT))

    def count(self, numbers: Mapping[int, int]) -> None:
        """Add to the numbers of events, by their places."""
        if self.totals is not None:
            for place, number in numbers.items():
                self.totals.count(place, number)

    def reloaded(self, *, ok: bool) -> None:
        """Count a reload."""
        self.count({RELOADS_OK if ok else RELOADS_FAILED: 1})

    def overview(self) -> dict[str, Any]:
        """Return `statistics` as in `sockact.protocols.overview`."""
        return statistics_overview(self.total, self.events)

    def passed_on(self) -> list[Listener]:
        """Return copies of all descriptors, for the program that is executed in this process's place."""
        totals = [] if self.totals is None else [self.totals.passed()]
        return [*totals, *(kept.page.passed()._replace(name=kept.name) for kept in self._kept.values())]

    def _new_totals(self) -> Totals | None:
        try:
            totals = Totals.new()
        except OSError as error:
            logger.info("the statistics of ended workers are lost: no memory: %s", error.strerror)
            return None
        if self._room:
            self._notifier.store([totals.fd], TOTALS)
        return totals

    def _take(self, listener: Listener) -> None:
        """Take a descriptor over; one of another layout is closed, and removed from the store."""
        try:
            if listener.name == TOTALS:
                self.totals = Totals(listener.fd)
                return
            match = _NAME.fullmatch(listener.name)
            assert match is not None
            self._past[int(match[1]), int(match[2])] = _Kept(
                StatisticsPage(listener.fd), listener.name, stored=True
            )
        except OSError as error:
            logger.info("%s is not taken over: %s", listener.name, error)
            self._notifier.forget(listener.name)
            os.close(listener.fd)
