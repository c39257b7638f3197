"""The second signal to end: it kills, where the first one drains."""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping
from types import MappingProxyType

IMPATIENCE = 1.0
"""Seconds after a SIGTERM until another one means more than the first: its sender, as the manager of a
container or a whole process group, may send it twice in a moment."""

KILLED = 128
"""Exit status after a second SIGINT or SIGTERM, plus its number: as shells write a death by a signal."""

SECOND_SIGINT: Mapping[signal.Signals, float] = MappingProxyType({signal.SIGINT: 0.0})


class EndSignals:
    """The signals to end that have come to a process.

    Args:
        twice: the signals of which the second one kills, and the seconds that have to pass between the
            two. A worker's supervisor and its control group may both send it SIGTERM.

    Attributes:
        killed_by: the last one that was a second one.
    """

    def __init__(self, twice: Mapping[signal.Signals, float] = SECOND_SIGINT) -> None:
        self.killed_by = signal.SIGINT
        self._twice = twice
        self._first: dict[signal.Signals, float] = {}

    def is_second(self, number: signal.Signals, now: float) -> bool:
        """Note a signal that has come; return whether it kills."""
        if number in self._first and now >= self._first[number] + self._twice.get(number, math.inf):
            self.killed_by = number
            return True
        self._first.setdefault(number, now)
        return False
