"""The pauses before a program that has ended is started again: none at first, then one that doubles."""

from __future__ import annotations

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0
YOUNG = 10.0
"""Seconds of life below which an end belongs to a series."""
SERIES = 10
"""Ends in a series after which nobody tries again."""


class Restarts:
    """Counts ends that come soon after the start."""

    def __init__(self) -> None:
        self._series = 0

    def pause(self, lived: float) -> float | None:
        """Return the seconds until the next start, None for no further one.

        Args:
            lived: the seconds that the program has lived.
        """
        self._series = 1 if lived >= YOUNG else self._series + 1
        if self._series > SERIES:
            return None
        return 0.0 if self._series == 1 else min(FIRST_PAUSE * 2 ** (self._series - 2), LONGEST_PAUSE)

    def forget(self) -> None:
        """End the series: something has changed."""
        self._series = 0
