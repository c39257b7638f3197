"""The books: pure arithmetic on what the clients report. No clock and no I/O; `now` is an argument.

All times are seconds since the run began. `due` is the moment at which the schedule wanted a request to be
sent: latency and stall count from there, so that a client held up by a stalled service cannot hide the
requests which it would have sent meanwhile (coordinated omission).
"""

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from .outcome import Outcome

LISTED_FAILURES = 20
"""How many failures a report lists; the rest is only counted."""

MAX_IDENTITIES = 1000
"""How many identities are kept; a service that has more has none."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One loss: when it was seen, in which load, and what was seen."""

    at: float
    load: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answered: the `version` and `pid` of a response as it gives them; None where it does not."""

    version: str | None
    pid: int | None


@dataclass(slots=True)
class Sighting:
    """When responses of one `Identity` were seen first and last, and how many."""

    first: float
    last: float
    responses: int = 1


@dataclass(slots=True)
class Stall:
    """The longest time in which something was due and nothing was served.

    It begins when a request is due (or, while others wait, with the last `ok`) and ends with the next `ok`,
    whichever request that answers. A loss does not end it.
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
        """Take what is unserved until now into account; called once more at the end of the run."""
        if self._since is not None:
            self.longest = max(self.longest, now - self._since)
            self._longest_in_window = max(self._longest_in_window, now - self._since)

    def cut(self, now: float) -> float:
        """End a window, and return the longest in it. One under way counts in both, in full in the next."""
        self.measure(now)
        longest, self._longest_in_window = self._longest_in_window, 0.0
        return longest


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the run: its longest stall of the whole, and the longest of any one prompt load."""

    stall: float
    worst: float


@dataclass(slots=True)
class Account:
    """What the requests of one load came to. `latencies` has the seconds from due to `ok`, in order."""

    requests: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    stall: Stall = field(default_factory=Stall)
    connections: int = 0
    reconnects: int = 0
    """How often the server ended an idle persistent connection in good order."""
    idle_resets: int = 0
    """How often it ended one by RST with nothing in flight: no loss, but not good order either."""
    restarts: int = 0
    """How often a websocket was closed with 1012, service restart."""
    unsent: int = 0
    """How many requests were due when the run ended and had not begun."""

    @property
    def lost(self) -> int:
        """How many requests ended in a loss."""
        return sum(count for outcome, count in self.outcomes.items() if outcome.lost)


@dataclass(slots=True)
class Ledger:
    """The accounts of all loads, the stall of the whole, who answered, and the first failures.

    `prompt` names the loads whose requests take no time by themselves. The stall of the whole is theirs: a
    response which is slow on request does not show that the service stood still.
    """

    accounts: dict[str, Account]
    prompt: frozenset[str]
    stall: Stall = field(default_factory=Stall)
    windows: list[Window] = field(default_factory=list)
    seen: dict[Identity, Sighting] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def begin(self, load: str, due: float) -> None:
        """Enter a request; `end` must follow exactly once."""
        account = self.accounts[load]
        account.requests += 1
        account.stall.begin(due)
        if load in self.prompt:
            self.stall.begin(due)

    def end(self, load: str, due: float, now: float, outcome: Outcome, detail: str = "") -> None:
        """Give a request which was begun its outcome."""
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
        """Note who answered; a service which does not say so leaves no trace."""
        if identity == Identity(None, None):
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
        """End the stalls which are still open."""
        for stall in (self.stall, *(account.stall for account in self.accounts.values())):
            stall.measure(now)


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """Return the smallest value which `percent` of the ordered values do not exceed; None if there is none.

    The nearest-rank method: a value which really occurred, and p100 is the maximum.
    """
    if not ordered:
        return None
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]
