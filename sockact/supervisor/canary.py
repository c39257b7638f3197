"""The canary of a reload, as the supervisor follows it: who is compared with whom, and the result.

Compared are the workers that serve when the canary is ready. One that starts meanwhile in place of another,
or because there are to be more, is left out: it may have loaded the new code as well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from sockact.protocols.statistics import DURATIONS, Statistics
from sockact.supervisor.comparison import Comparison, Look, Tally
from sockact.supervisor.fleet import Fleet

logger = logging.getLogger(__package__)


class Canary:
    """Compares the canary with the workers beside it.

    Args:
        fleet: decides when.
        serving: returns the workers that serve, the canary left out.
        members: returns the workers that are the canary, while they serve their share.
        read: returns a worker's statistics; None if it has none.

    Attributes:
        remark: the numbers with which the last canary has passed; empty if there was none.
    """

    def __init__(
        self,
        fleet: Fleet,
        serving: Callable[[], Sequence[int]],
        members: Callable[[], Sequence[int]],
        read: Callable[[int], Statistics | None],
    ) -> None:
        self._fleet = fleet
        self._serving = serving
        self._members = members
        self._read = read
        self._followed: frozenset[int] = frozenset()
        self._before: dict[int, Tally] = {}
        self._canaries: frozenset[int] = frozenset()
        self._comparison = Comparison(DURATIONS, fleet.rules.looks)
        self.remark = ""

    def follow(self) -> None:
        """Begin the comparison, if the canary is ready and it has not begun; called after each decision."""
        canaries = frozenset(self._members())
        if canaries == self._canaries:
            return
        self._canaries = canaries
        self._comparison = Comparison(DURATIONS, self._fleet.rules.looks)
        self._before = {number: self._tally(number) for number in (*canaries, *self._serving())}
        if canaries:
            self.remark = ""
            logger.info(
                "gen=%d serves its share for %g s, in %d of %d workers",
                *(self._fleet.canary, self._fleet.rules.canary_for, len(canaries), len(self._before)),
            )

    def worse(self, *, last: bool) -> str:
        """Look at all of them; return what is worse about the canary, empty for nothing."""
        done = {number: self._since_last(number) for number in self._before}
        ours = [tally for number, tally in done.items() if number in self._canaries]
        theirs = [tally for number, tally in done.items() if number not in self._canaries]
        self._comparison.add(Look(_sum(theirs), _sum(ours)))
        worse = self._comparison.worse(last=last)
        if last and not worse:
            telling = "" if self._comparison.is_telling else "too few requests to tell: "
            self.remark = f"canary: {telling}{self._comparison.numbers}"
            logger.log(logging.INFO if not telling else logging.WARNING, "%s", self.remark)
        return worse

    def _since_last(self, number: int) -> Tally:
        """Return a worker's work since the last look; of one that has ended, nothing is known any more."""
        if self._read(number) is None:
            return Tally()
        before, now = self._before[number], self._tally(number)
        self._before[number] = now
        return now.since(before)

    def _tally(self, number: int) -> Tally:
        statistics = self._read(number)
        if statistics is None:
            return Tally()
        every = statistics.durations()
        return Tally(
            begun=statistics.begun,
            answered=every.count,
            failed=statistics.responses[4],
            raised=statistics.exceptions,
            times=every.counts,
        )


def _sum(tallies: Sequence[Tally]) -> Tally:
    total = Tally()
    for each in tallies:
        total = total.plus(each)
    return total
