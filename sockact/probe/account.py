"""Accounts for the requests of a run. No clock and no I/O; `now` is an argument.

All times are seconds since the run began. `due` is the scheduled time of a request: latency and stall count
from there, so that a client that waits for a stalled service cannot hide the requests that it would have
sent meanwhile (coordinated omission).
"""

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from .outcome import Outcome
from .record import NOBODY, Identity, Record, RequestKind

LISTED_FAILURES = 20
"""Most failures that a report lists; the others are only counted."""

MAX_IDENTITIES = 1000
"""Most identities that are kept; a service that sends more sends random values."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One lost request: its time, load, outcome and details."""

    at: float
    load: str
    outcome: Outcome
    detail: str


@dataclass(slots=True)
class Sighting:
    """The first and last time of an `Identity`'s responses, and their number."""

    first: float
    last: float
    responses: int = 1


@dataclass(slots=True)
class Stall:
    """The longest time in which a request was due and none was served.

    It begins when a request is due (or, while others wait, with the last `ok`) and ends with the next `ok`
    of any request. A loss does not end it.
    """

    longest: float = 0.0
    _longest_in_window: float = 0.0
    _open: int = 0
    _since: float | None = None
    _served: float = 0.0

    def begin(self, due: float) -> None:
        """Note that a request was due at `due`."""
        self._open += 1
        if self._since is None:
            self._since = max(due, self._served)

    def end(self, now: float, *, ok: bool) -> None:
        """Note that a request ended."""
        self._open -= 1
        if ok:
            self.measure(now)
            self._served = now
            self._since = now if self._open else None

    def measure(self, now: float) -> None:
        """Include the unserved time until now; called once more at the end of the run."""
        if self._since is not None:
            self.longest = max(self.longest, now - self._since)
            self._longest_in_window = max(self._longest_in_window, now - self._since)

    def cut(self, now: float) -> float:
        """End a window, and return its longest stall. One under way counts in both, in full in the next."""
        self.measure(now)
        longest, self._longest_in_window = self._longest_in_window, 0.0
        return longest


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the run: the longest stall of the whole service, and that of any single prompt load."""

    stall: float
    worst: float


@dataclass(slots=True)
class Account:
    """The results of one load. `latencies` has the seconds from due to `ok`, in order of completion."""

    requests: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    stall: Stall = field(default_factory=Stall)
    connections: int = 0
    reconnects: int = 0
    """Number of idle persistent connections that the server closed properly."""
    idle_resets: int = 0
    """Number of those that it reset with no request in flight: no loss, but not proper either."""
    restarts: int = 0
    """Number of websockets closed with 1012, service restart."""
    unsent: int = 0
    """Number of requests that were due when the run ended and had not begun."""

    @property
    def lost(self) -> int:
        """Return the number of lost requests."""
        return sum(count for outcome, count in self.outcomes.items() if outcome.lost)


@dataclass(slots=True)
class Ledger:
    """The accounts of all loads, the stall of the whole service, the identities, and the first failures.

    `prompt` names the loads whose requests take no time by themselves. Only they count for the stall of the
    whole service: a response that is slow on request does not show a stall.
    """

    accounts: dict[str, Account]
    prompt: frozenset[str]
    stall: Stall = field(default_factory=Stall)
    windows: list[Window] = field(default_factory=list)
    seen: dict[Identity, Sighting] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    record: Record = field(default_factory=Record)

    def begin(self, load: str, due: float) -> None:
        """Record a request; `end` must follow exactly once."""
        account = self.accounts[load]
        account.requests += 1
        account.stall.begin(due)
        if load in self.prompt:
            self.stall.begin(due)

    def end(
        self,
        load: str,
        due: float,
        now: float,
        outcome: Outcome,
        detail: str = "",
        identity: Identity = NOBODY,
    ) -> None:
        """Record the outcome of a request, and who has answered it."""
        self.record.add(due, now, RequestKind(load, outcome, identity))
        account = self.accounts[load]
        account.outcomes[outcome] += 1
        account.stall.end(now, ok=outcome is Outcome.OK)
        if load in self.prompt:
            self.stall.end(now, ok=outcome is Outcome.OK)
        if outcome is Outcome.OK:
            account.latencies.append(now - due)
        elif outcome.lost and len(self.failures) < LISTED_FAILURES:
            self.failures.append(Failure(now, load, outcome, detail))

    def saw(self, identity: Identity, now: float) -> None:
        """Record the identity in a response; an empty one is ignored."""
        if identity == NOBODY:
            return
        if (sighting := self.seen.get(identity)) is None:
            if len(self.seen) < MAX_IDENTITIES:
                self.seen[identity] = Sighting(now, now)
        else:
            sighting.last = now
            sighting.responses += 1

    def cut(self, now: float) -> None:
        """End a window of the run."""
        worst = max((self.accounts[load].stall.cut(now) for load in self.prompt), default=0.0)
        self.windows.append(Window(self.stall.cut(now), worst))

    def close(self, now: float) -> None:
        """End the stalls that are still open."""
        for stall in (self.stall, *(account.stall for account in self.accounts.values())):
            stall.measure(now)


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """Return the smallest value that `percent` of the ordered values do not exceed; None if there is none.

    The nearest-rank method: the result is one of the values, and p100 is the maximum.
    """
    if not ordered:
        return None
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]
