"""The numbers by which the fleet decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers by which the fleet decides; times in seconds.

    Attributes:
        size: workers of a generation, until the fleet is resized.
        most: how many it may be resized to; None for no limit.
        start_timeout: until a worker must be ready.
        probation: how long a generation must live before the one before may go.
        stop_timeout: until a draining worker is killed; None for never.
        end_timeout: until one that has said that it ends is killed.
        max_draining: old generations that may drain at a time; the oldest of more is hammered.
        surge: how many workers above the size a reload may start, where memory is short: so many are
            on trial, and then the generation is rolled out step by step. None for all at once.
        watchdog: longest pause between two pings of a ready worker; None for no watchdog.
        all_ping: whether every program must ping; else only one that has pinged is held to it.
        assume_ready: seconds after which a worker that does not notify counts as ready; None for never.
        jitter: returns a factor for the pauses between deaths, around 1.
    """

    size: int
    start_timeout: float
    probation: float
    stop_timeout: float | None
    end_timeout: float = 7.0
    most: int | None = None
    max_draining: int = 4
    surge: int | None = None
    watchdog: float | None = None
    all_ping: bool = True
    assume_ready: float | None = None
    jitter: Callable[[], float] = field(default=lambda: 1.0)
