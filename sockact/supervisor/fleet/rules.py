"""The numbers by which the fleet decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers by which the fleet decides; times in seconds.

    Attributes:
        size: the number of workers of a generation, until the fleet is resized.
        most: the highest number that it can be resized to; None for no limit.
        start_timeout: the time within which a worker must be ready.
        probation: the time that a generation must live before the one before it may go.
        stop_timeout: the time after which a draining worker is killed; None for never.
        end_timeout: the time after which a worker is killed that has announced its end.
        max_draining: how many old generations may drain at a time; of more, the oldest is aborted.
        surge: how many workers above the size a reload may start, where memory is short: this many are
            on trial, and then the generation is rolled out step by step. None for all at once.
        canary: how many workers of a new generation serve beside those of the one before, and are compared
            with them, before the others start; 0 for none.
        canary_for: the time for which they are compared.
        looks: how often they are compared in that time.
        watchdog: the longest pause between two pings of a ready worker; None for no watchdog.
        all_ping: whether every program must ping; else only one that has pinged before must go on.
        assume_ready: the time after which a worker that does not notify counts as ready; None for never.
        jitter: returns a factor, around 1, for the pauses after deaths.
    """

    size: int
    start_timeout: float
    probation: float
    stop_timeout: float | None
    end_timeout: float = 7.0
    most: int | None = None
    max_draining: int = 4
    surge: int | None = None
    canary: int = 0
    canary_for: float = 60.0
    looks: int = 12
    watchdog: float | None = None
    all_ping: bool = True
    assume_ready: float | None = None
    jitter: Callable[[], float] = field(default=lambda: 1.0)
