"""The supervisor's answer to pressure on memory: workers free what they can, then the largest is replaced.

    each event            all workers are told to trim
    the third in a row    the largest worker is replaced, by `Fleet.recycle`: one at a time, and it serves
                          until its replacement does

The pressure may come from elsewhere, and stay: a replacement costs memory itself while both live. So the
time until the next replacement doubles each time, up to an hour, until there has been no pressure for long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sockact.supervisor.fleet.backoff import YOUNG

GOES_ON = 3
"""Events in a row of which the first two have not helped."""

IN_A_ROW = 30.0
"""Seconds between two events of one row, at most; they come at least 10 s apart (`process.pressure`)."""

FIRST_PAUSE = 60.0
LONGEST_PAUSE = 3600.0

CALM = 600.0
"""Seconds without an event after which the pauses begin with the first one again."""


class PressureRelief:
    """Decides what follows from pressure on memory; without I/O.

    Args:
        trim: tells all workers to trim.
        sizes: returns the bytes in memory of each worker that serves, by its number, with its age.
        recycle: replaces a worker, for a reason.
    """

    def __init__(
        self,
        trim: Callable[[], None],
        sizes: Callable[[], Mapping[int, tuple[int, float]]],
        recycle: Callable[[int, str], None],
    ) -> None:
        self._trim = trim
        self._sizes = sizes
        self._recycle = recycle
        self._row = 0
        self._last = -CALM
        self._not_before = 0.0
        self._pause = FIRST_PAUSE

    def on_pressure(self, now: float) -> bool:
        """Called at each event; returns whether it is the first of a row."""
        since, self._last = now - self._last, now
        if since >= CALM:
            self._pause = FIRST_PAUSE
        self._row = self._row + 1 if since <= IN_A_ROW else 1
        self._trim()
        if self._row >= GOES_ON and now >= self._not_before:
            self._replace_largest(now)
        return self._row == 1

    def _replace_largest(self, now: float) -> None:
        """Replace the worker that has most; not a young one, whose replacement would have as much."""
        sizes = {number: size for number, (size, age) in self._sizes().items() if age >= YOUNG}
        if not sizes:
            return
        largest = max(sizes, key=sizes.__getitem__)
        self._not_before = now + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self._row = 0
        self._recycle(largest, f"pressure on memory, {sizes[largest] / 1024**2:.0f} MiB in memory")
