"""A bounded search for a fault, by hypothesis: always the same inputs, and the smallest that fails."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings

from tests.fuzz.inputs import mutated
from tests.fuzz.oracle import Target, examine

MOST = 2000
"""Inputs of a search."""

LEAST = 20
"""Inputs that are examined at least, on a machine as busy as may be."""

SHRINKING = 5.0
"""Seconds in which a smaller input is looked for when one has failed."""


class _Enough(BaseException):
    """Raised when the time of a search is over; hypothesis lets it pass."""


def search(target: Target, seeds: Sequence[bytes], dictionary: Sequence[bytes], seconds: float) -> int:
    """Run a target on mutated inputs for so long, and on `LEAST` of them; return how many there were.

    Raises:
        Exception: an input has failed, the smallest that was found; hypothesis adds a note with it.
    """
    run = _Search(target, seconds)

    @settings(
        max_examples=MOST,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(mutated(seeds, dictionary))
    def whatever(data: bytes) -> None:
        run.examine(data)

    with contextlib.suppress(_Enough):
        whatever()
    return run.count


class _Search:
    """A search, with the failures that it has found."""

    def __init__(self, target: Target, seconds: float) -> None:
        self._target = target
        self._end = time.monotonic() + seconds
        self._failures: dict[bytes, Exception] = {}
        self.count = 0

    def examine(self, data: bytes) -> None:
        """Run the target on an input, if there is time."""
        if data in self._failures:
            raise self._failures[data]
        if self.count >= LEAST and time.monotonic() > self._end:
            if not self._failures:
                raise _Enough
            return
        self.count += 1
        try:
            examine(self._target, data)
        except Exception as error:
            if not self._failures:
                self._end = time.monotonic() + SHRINKING
            self._failures[data] = error
            raise
