"""Decides which losses an event may have caused; no clock and no I/O.

All times are of CLOCK_MONOTONIC, which all processes of a host share.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

NOTICED_WITHIN = 20.0
"""Seconds until a client on a busy machine has seen that its connection is gone."""

BROKEN = frozenset({"reset", "empty", "wrong"})
"""Outcomes of a request whose connection broke. Never excused: `refused` and `timeout`."""

CLOSED = "closed"
"""Outcome of a kept connection that the service has closed in good order, between two requests."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A lost request or connection: its times, its load, the client's port, its outcome and details.

    A request has begun when it was sent, and a connection when it was opened; `opened` is the time of the
    connection in both cases.
    """

    opened: float
    began: float
    ended: float
    load: str
    port: int
    outcome: str
    detail: str


@dataclass(slots=True)
class Excuse:
    """What an event may cost: requests that had begun by `until`, and were lost since `since`.

    Where the connections are known, also later ones: a client may ask before it sees that its own is gone.

    Attributes:
        event: the event, in words.
        since: the time at which it began.
        until: the time at which its victims were gone; infinite until that is known.
        ports: the clients' ports of the connections that the victims held; None if nobody knows them.
        most: the most requests that can have been in flight there.
        closes: whether it may close connections in good order, too.
        used: how many losses it has excused.
    """

    event: str
    since: float
    until: float = math.inf
    ports: frozenset[int] | None = None
    most: float = math.inf
    closes: bool = True
    used: int = 0

    def covers(self, loss: Loss) -> bool:
        """Tell whether the event may have caused a loss."""
        return (
            (self.closes if loss.outcome == CLOSED else loss.outcome in BROKEN and self.used < self.most)
            and self.since <= loss.ended <= self.until + NOTICED_WITHIN
            and (loss.began if self.ports is None else loss.opened) <= self.until
            and (self.ports is None or loss.port in self.ports)
        )


@dataclass(slots=True)
class Oracle:
    """The losses of a walk: excused requests are counted by event, what has no excuse is kept.

    Attributes:
        excused: number of excused losses by event.
        unexplained: losses that no event may have caused.
    """

    excused: dict[str, int] = field(default_factory=dict)
    unexplained: list[Loss] = field(default_factory=list)
    _excuses: list[Excuse] = field(default_factory=list)

    def excuse(self, excuse: Excuse) -> Excuse:
        """Add what an event may cost, before it happens."""
        self._excuses.append(excuse)
        return excuse

    def judge(self, losses: Iterable[Loss]) -> Sequence[Loss]:
        """Return those of these losses that no event may have caused."""
        found = [loss for loss in losses if not self._explain(loss)]
        self.unexplained += found
        return found

    def _explain(self, loss: Loss) -> bool:
        # Excuses that know the ports come first: the others may be needed for losses without one.
        for excuse in sorted(self._excuses, key=lambda each: each.ports is None):
            if excuse.covers(loss):
                if loss.outcome != CLOSED:
                    excuse.used += 1
                    self.excused[excuse.event] = self.excused.get(excuse.event, 0) + 1
                return True
        return False

    def forget(self, now: float) -> None:
        """Drop excuses that can cover no more losses."""
        self._excuses = [each for each in self._excuses if each.until + NOTICED_WITHIN >= now]
