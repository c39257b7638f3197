"""A histogram of times, and the quantiles that can be told from it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Histogram:
    """Times, counted by the bounds between which they fall.

    Attributes:
        bounds: the upper bounds of the buckets, in seconds, each included.
        counts: the number of times in each bucket, and in one without a bound behind them.
        seconds: the sum of all times.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    seconds: float

    @property
    def count(self) -> int:
        """The number of all times."""
        return sum(self.counts)

    @property
    def cumulative(self) -> tuple[int, ...]:
        """The numbers of times up to each bound, and of all, as Prometheus has them."""
        return tuple(accumulate(self.counts))

    def quantile(self, part: float) -> float | None:
        """Return the time in seconds that this part of all times, from 0 to 1, does not exceed.

        It is interpolated within its bucket, as by histogram_quantile() of Prometheus, and at most the
        largest bound. None if there are no times.
        """
        wanted, below, lower = part * self.count, 0, 0.0
        if not self.count:
            return None
        for upper, count in zip(self.bounds, self.counts, strict=False):
            if count and below + count >= wanted:
                return lower + (upper - lower) * (wanted - below) / count
            below, lower = below + count, upper
        return self.bounds[-1]
