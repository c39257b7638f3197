"""The comparison of a canary with the workers beside it: pure decisions about numbers.

Both have served at the same time, so the time between two looks is compared with itself: trouble that comes
to all of them, a database that is away, says nothing against the canary. Four things are compared:

- the share of responses 5xx, and that of requests in which the app has failed (`DIFFERENCE`);
- the share of slow responses, which is a comparison of p95: slow is what takes clearly longer than the p95
  of the others (`SLOWER`, `SLOWER_BY`), and the canary's p95 is beyond that if over 5 % are slow (`TAIL`);
- at the end, whether the canary answers at all.

A difference counts if chance explains it too badly (`chance`), and if it was there in several looks: not a
single hiccup of one process. The probability that any of all looks refuses code that is as good is at most
`FALSE_ALARM`, for requests that fail independently of each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sockact.protocols.histogram import Histogram

FALSE_ALARM = 0.001
"""The greatest probability with which chance alone refuses code, over all looks of one reload together."""

DIFFERENCE = 0.005
"""How much more of its requests must fail, as a part of them: less is within what clients differ by."""

TAIL = 0.05
"""The part of all responses that is slower than the p95."""

SLOWER = 1.5
"""How many times the p95 of the others a response must take to be slow."""

SLOWER_BY = 0.02
"""How many seconds more, at least: below that it is the noise of a busy machine."""

SEEN = 2
"""In how many looks requests must have failed."""

SLOW_LOOKS = 5
"""In how many looks, and in half of all at least, responses must have been slow: a process that hangs for a
moment, on a busy machine, is slow in one."""

ENOUGH = 200
"""Requests of the canary, and of the others, with less of which a comparison says little."""

MOST_TERMS = 10_000
"""Terms of a sum that are added one by one: a worker can claim any number of requests."""

UNANSWERED = 5
"""Requests, without any answer, after which the canary is taken to hang."""


class Tally(NamedTuple):
    """The work of some workers in some time.

    Attributes:
        begun: requests that have begun.
        answered: responses that are complete.
        failed: those among them that are 5xx.
        raised: requests in which the app has failed, whatever the response.
        times: the number of responses in each bucket of durations.
    """

    begun: int = 0
    answered: int = 0
    failed: int = 0
    raised: int = 0
    times: tuple[int, ...] = ()

    def plus(self, other: Tally) -> Tally:
        """Return the sums."""
        length = max(len(self.times), len(other.times))
        pairs = zip(_padded(self.times, length), _padded(other.times, length), strict=True)
        return Tally(
            self.begun + other.begun,
            self.answered + other.answered,
            self.failed + other.failed,
            self.raised + other.raised,
            tuple(mine + theirs for mine, theirs in pairs),
        )

    def since(self, earlier: Tally) -> Tally:
        """Return the difference from an earlier tally of the same worker; below 0 nowhere.

        A worker writes what it likes. So there may be more failures than responses.
        """
        pairs = zip(self.times, _padded(earlier.times, len(self.times)), strict=True)
        return Tally(
            max(self.begun - earlier.begun, 0),
            max(self.answered - earlier.answered, 0),
            max(self.failed - earlier.failed, 0),
            max(self.raised - earlier.raised, 0),
            tuple(max(now - then, 0) for now, then in pairs),
        )


def _padded(times: tuple[int, ...], length: int) -> tuple[int, ...]:
    return times + (0,) * (length - len(times))


class Look(NamedTuple):
    """The work in the time between two looks.

    Attributes:
        others: of the workers that serve.
        canary: of the canary.
    """

    others: Tally
    canary: Tally


class Comparison:
    """The looks at one canary.

    Args:
        bounds: the upper bounds of the buckets of durations, in seconds; one without a bound follows.
        looks: how many there will be.
    """

    def __init__(self, bounds: Sequence[float], looks: int) -> None:
        self._bounds = bounds
        # Bonferroni's bound: each look asks three questions. The last one, which has seen most, gets half.
        self._at_last = FALSE_ALARM / 2 / 3
        self._least_chance = self._at_last / max(looks - 1, 1)
        self._looks: list[Look] = []

    def add(self, look: Look) -> None:
        """Add the next look."""
        self._looks.append(look)

    @property
    def canary(self) -> Tally:
        """The work of the canary so far."""
        return _total([look.canary for look in self._looks])

    @property
    def others(self) -> Tally:
        """The work of the others in the same time."""
        return _total([look.others for look in self._looks])

    @property
    def is_telling(self) -> bool:
        """True if there were enough requests on both sides."""
        return min(self.canary.answered, self.others.answered) >= ENOUGH

    def worse(self, *, last: bool) -> str:
        """Return what is worse about the canary, with all numbers; empty for nothing.

        Args:
            last: its time is over, so that it should have answered something.
        """
        if last:
            self._least_chance = self._at_last
        found = []
        if self._more_often(lambda tally: tally.failed):
            found.append("5xx")
        if self._more_often(lambda tally: tally.raised):
            found.append("exceptions")
        if self._is_slower():
            found.append("p95")
        if last and not self.canary.answered and self.canary.begun >= UNANSWERED and self.others.answered:
            return f"the canary has answered none of {self.canary.begun} requests"
        return f"the canary is worse in {' and '.join(found)}: {self.numbers}" if found else ""

    @property
    def numbers(self) -> str:
        """All numbers, in words."""
        return f"{self._shown(self.canary)}; the others: {self._shown(self.others)}"

    def _shown(self, tally: Tally) -> str:
        p95 = self._p95(tally)
        shares = f"{_percent(tally.failed, tally)} 5xx, {_percent(tally.raised, tally)} exceptions"
        return f"{shares}, p95 {_duration(p95)}, of {tally.answered:,} responses"

    def _p95(self, tally: Tally) -> float | None:
        return Histogram(tuple(self._bounds), tally.times, 0.0).quantile(1 - TAIL)

    def _more_often(self, bad: Callable[[Tally], int]) -> bool:
        """Return whether requests of the canary fail more often, by what is counted as `bad`."""
        seen = sum(bad(look.canary) > 0 for look in self._looks)
        more = _share(bad(self.canary), self.canary.answered) - _share(
            bad(self.others), self.others.answered
        )
        return seen >= SEEN and more >= DIFFERENCE and self._is_no_chance(bad)

    def _is_slower(self) -> bool:
        """Return whether the canary's p95 is clearly larger, overall and in most looks.

        The first look is left out: a new process has yet to fill its caches.
        """
        warm = self._looks[1:]
        usual = self._p95(_total([look.others for look in warm]))
        if usual is None:
            return False
        least = next((i for i, bound in enumerate(self._bounds, 1) if bound >= _slow(usual)), 0)

        def slow(tally: Tally) -> int:
            return sum(tally.times[least:]) if least else 0

        shares = [_share(slow(look.canary), look.canary.answered) for look in warm if look.canary.answered]
        beyond = sum(share > TAIL for share in shares)
        canary = _total([look.canary for look in warm])
        overall = _share(slow(canary), canary.answered) > TAIL
        return overall and beyond >= max(len(shares) / 2, SLOW_LOOKS) and self._is_no_chance(slow, warm)

    def _is_no_chance(self, bad: Callable[[Tally], int], looks: Sequence[Look] | None = None) -> bool:
        chosen = self._looks if looks is None else looks
        return chance([(_part(look), bad(look.canary), bad(look.others)) for look in chosen]) < (
            self._least_chance
        )


def chance(looks: Sequence[tuple[float, int, int]]) -> float:
    """Return a bound for the probability that the canary has so many failures by chance.

    Of all failures between two looks each one has met the canary with a probability that is its part of the
    responses then, if it fails as often as the others. Their number is a sum of trials whose probabilities
    differ from look to look; beyond its mean by one, its tail is at most that of the binomial distribution
    with their mean (Hoeffding 1956, On the distribution of the number of successes in independent trials).
    This is Fisher's exact test, one-sided and stratified by time, but for the replacement, which makes it
    no less careful.

    Args:
        looks: of each look the canary's part of all responses, its failures, and those of the others.
    """
    total = sum(ours + theirs for _, ours, theirs in looks)
    ours = sum(each for _, each, _ in looks)
    mean = sum(part * (mine + theirs) for part, mine, theirs in looks)
    if not total or ours < mean + 1:
        return 1.0
    return tail(ours, total, mean / total)


def tail(least: int, trials: int, probability: float) -> float:
    """Return the probability of `least` or more successes, or a bit more; `least` is beyond the mean."""
    if probability <= 0.0 or probability >= 1.0:
        return float(probability >= 1.0)
    logarithm = math.lgamma(trials + 1) - math.lgamma(least + 1) - math.lgamma(trials - least + 1)
    logarithm += least * math.log(probability) + (trials - least) * math.log1p(-probability)
    term = sum_ = math.exp(min(logarithm, 0.0))
    odds = probability / (1 - probability)
    for successes in range(least + 1, min(least + MOST_TERMS, trials) + 1):
        ratio = odds * (trials - successes + 1) / successes
        term *= ratio
        sum_ += term
        if term < sum_ * 1e-9:  # beyond the mean the terms fall ever faster
            return sum_
    rest = term * ratio / (1 - ratio) if least < trials and ratio < 1 else 0.0  # no less than all others
    return min(sum_ + rest, 1.0)


def _slow(usual: float) -> float:
    return max(usual * SLOWER, usual + SLOWER_BY)


def _part(look: Look) -> float:
    """Return the canary's part of all responses."""
    return _share(look.canary.answered, look.canary.answered + look.others.answered)


def _share(part: int, whole: int) -> float:
    return min(part / whole, 1.0) if whole else 0.0


def _total(tallies: Sequence[Tally]) -> Tally:
    total = Tally()
    for each in tallies:
        total = total.plus(each)
    return total


def _percent(part: int, tally: Tally) -> str:
    return f"{100 * _share(part, tally.answered):.1f} %"


def _duration(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{1000 * seconds:.3g} ms"
