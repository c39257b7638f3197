"""The totals of a service: the statistics of ended workers, in memory that outlives this process.

The service manager stores it under the name `sockact.totals`, and passes it to the process that follows.

    LAYOUT, CURRENT      the version of this layout; which of the two sums below is valid
    sum 0, sum 1         the identity of the worker that was added last, and the sum of all
    EVENTS               the numbers of `service_events`, each of them always grows

A worker is added by writing the other sum, and then one word, CURRENT. So a process that is killed in it
has added the worker or has not, and the next one knows by the identity: it adds none twice.
"""

from __future__ import annotations

import mmap

from sockact.protocols.memory_page import MemoryPage
from sockact.protocols.service_events import COUNT
from sockact.protocols.statistics import WORDS, Statistics

TOTALS = "sockact.totals"
"""The name of the memory."""

VERSION = 1
CURRENT = 1
HEADER = 8
SUM = 1 + WORDS
EVENTS = HEADER + 2 * SUM
SIZE = 2 * mmap.PAGESIZE
MOST_EVENTS = SIZE // 8 - EVENTS
assert MOST_EVENTS >= COUNT


class Totals(MemoryPage):
    """The totals; only the process that keeps the workers writes them."""

    NAME, SIZE, VERSION = TOTALS, SIZE, VERSION

    @classmethod
    def new(cls) -> Totals:
        """Return new memory, in which all is 0; raises OSError if there is none to be had."""
        return cls._made()

    @property
    def statistics(self) -> Statistics:
        """The sum of all workers that were added."""
        start = self._start(self._current) + 1
        return Statistics(tuple(self._words[start : start + WORDS].tolist()))

    def add(self, identity: int, statistics: Statistics) -> bool:
        """Add a worker that has ended; return False if it was the last one that was added."""
        if self._words[self._start(self._current)] == identity:
            return False
        other = 1 - self._current
        start, added = self._start(other), self.statistics.plus(statistics).words
        self._words[start] = identity
        for place, number in enumerate(added, start + 1):
            self._words[place] = number
        self._words[CURRENT] = other
        return True

    def count(self, event: int, number: int = 1) -> None:
        """Add to the number of an event, by its place in `ServiceEvents`."""
        self._words[EVENTS + event] += number

    def events(self, first: int, count: int) -> tuple[int, ...]:
        """Return the numbers of so many events, from the first on."""
        return tuple(self._words[EVENTS + first : EVENTS + first + count].tolist())

    @property
    def _current(self) -> int:
        return self._words[CURRENT] & 1

    def _start(self, which: int) -> int:
        return HEADER + which * SUM
