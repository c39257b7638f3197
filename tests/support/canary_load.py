"""Made-up load on a canary and the workers beside it, from a seed, and what the comparison finds.

`python -m tests.support.canary_load --seeds 1000` prints how often each kind of release is refused.
"""

from __future__ import annotations

import argparse
import functools
import math
import random
import statistics
from bisect import bisect_left
from dataclasses import dataclass

from sockact.supervisor.comparison import Comparison, Look, Tally

BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
LOOKS = 12


@dataclass(frozen=True)
class Load:
    """The load, and how the code behaves under it.

    Attributes:
        requests: of each worker in all looks together, on average.
        others: how many workers there are beside the canary.
        fails: the part of all requests that fails anyway.
        more: the part of the canary's requests that fails in addition.
        slower: the factor by which the canary's responses take longer.
        outages: the part of all looks in which every third request fails, whoever serves it.
        stalls: the part of all looks in which one process, of either code, hangs for a third of the time.
    """

    requests: int = 2000
    others: int = 3
    fails: float = 0.0
    more: float = 0.0
    slower: float = 1.0
    outages: float = 0.0
    stalls: float = 0.0

    def verdict(self, seed: int) -> str:
        """Return what a comparison finds, as a supervisor asks: after each look."""
        chance = random.Random(seed)
        comparison = Comparison(BOUNDS, LOOKS)
        for number in range(1, LOOKS + 1):
            outage = 0.33 if chance.random() < self.outages else 0.0
            others = Tally()
            for _ in range(self.others):
                others = others.plus(self._tally(chance, self.fails + outage, 1.0))
            canary = self._tally(chance, self.fails + self.more + outage, self.slower)
            comparison.add(Look(others, canary))
            if worse := comparison.worse(last=number == LOOKS):
                return worse
        return ""

    def _tally(self, chance: random.Random, fails: float, slower: float) -> Tally:
        # The load of a worker is not even either: clients come and go, and share it by connections.
        count = round(self.requests / LOOKS * chance.uniform(0.5, 1.5))
        failed = sum(chance.choices((0, 1), (1 - fails, fails), k=count))
        times = [0] * (len(BOUNDS) + 1)
        stuck = count // 3 if chance.random() < self.stalls else 0
        for _ in range(stuck):
            times[bisect_left(BOUNDS, chance.random())] += 1
        for bucket in chance.choices(range(len(times)), cum_weights=_usual(slower), k=count - stuck):
            times[bucket] += 1
        return Tally(begun=count, answered=count, failed=failed, raised=failed, times=tuple(times))


@functools.cache
def _usual(slower: float) -> tuple[float, ...]:
    """Return the parts of all responses up to each bound: lognormal, with a median of 18 ms."""
    times = statistics.NormalDist(math.log(0.018 * slower), 0.7)
    return (*(times.cdf(math.log(bound)) for bound in BOUNDS), 1.0)


BAD = {
    "5 % fail": Load(more=0.05),
    "5 % fail, under noise": Load(more=0.05, fails=0.01, outages=0.1, stalls=0.1),
    "5 % fail, 500 requests": Load(more=0.05, requests=500),
    "5 % fail, one worker beside it": Load(more=0.05, others=1, requests=1000),
    "1 % fails, 5,000 requests": Load(more=0.01, requests=5000),
    "2.5 times as slow": Load(slower=2.5),
    "2.5 times as slow, 500 requests": Load(slower=2.5, requests=500),
}
"""Releases that are worse."""

GOOD = {
    "nothing fails": Load(requests=500),
    "1 % fails, outages, stalls": Load(fails=0.01, outages=0.1, stalls=0.1, requests=1000),
    "2 % fail, outages, stalls, 100 requests": Load(fails=0.02, outages=0.1, stalls=0.1, requests=100),
    "2 % fail, outages, stalls, one worker beside it": Load(
        others=1, fails=0.02, outages=0.1, stalls=0.1, requests=1000
    ),
    "5 % fail anyway": Load(fails=0.05, stalls=0.1, requests=1000),
}
"""Releases that are as good as the one before."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.canary_load")
    parser.add_argument("--seeds", type=int, default=50, help="how many releases of each kind")
    seeds = parser.parse_args().seeds
    for name, load in (BAD | GOOD).items():
        refused = sum(bool(load.verdict(seed)) for seed in range(seeds))
        print(f"{name}: refused {refused} of {seeds}", flush=True)


if __name__ == "__main__":
    main()
