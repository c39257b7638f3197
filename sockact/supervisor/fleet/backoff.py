"""The pauses before dead workers are replaced: none at first, then one that doubles.

A death belongs to a series when the worker died young. The first of a series is replaced at once.
"""

from __future__ import annotations

from collections.abc import Callable

YOUNG = 10.0
"""Seconds of life below which a worker's death belongs to a series."""

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 30.0


class Backoff:
    """The slots that stay empty for a while, by the number of the worker that died.

    Args:
        jitter: returns a factor for a pause, around 1.

    Attributes:
        pauses: when each pause ends.
        deaths: the length of the present series.
    """

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self.pauses: dict[int, float] = {}
        self.deaths = 0

    def __len__(self) -> int:
        return len(self.pauses)

    def died(self, number: int, age: float, now: float) -> None:
        """Note a death; the worker's slot stays empty as long as `pauses` has it."""
        self.deaths = 0 if age >= YOUNG else self.deaths + 1
        if self.deaths > 1:
            doublings = min(self.deaths - 2, 10)  # enough for the longest; 2 ** 1024 fits no float
            self.pauses[number] = now + min(FIRST_PAUSE * 2**doublings, LONGEST_PAUSE) * self._jitter()

    def expire(self, now: float) -> None:
        """End the pauses that are over."""
        self.pauses = {number: when for number, when in self.pauses.items() if now < when}

    def drop(self, count: int) -> None:
        """End this many pauses, the longest first: their slots are not needed any more."""
        for number in sorted(self.pauses, key=lambda number: -self.pauses[number])[: max(count, 0)]:
            del self.pauses[number]

    def reset(self) -> None:
        """End all pauses, and the series."""
        self.pauses.clear()
        self.deaths = 0
