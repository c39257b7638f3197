"""The outcome of a simulation, and the log that is collected in it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.simulation.clock import SimulatedLoop


@dataclass
class Outcome:
    """The outcome of one simulation.

    Attributes:
        seed: its seed.
        broken: the promises that were broken.
        events: what has happened.
        log: the events, and what came of them.
        answered: how many requests were answered.
        excused: how many were lost with a process that an event has killed.
        reloads: how many were asked for.
    """

    seed: int
    broken: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    answered: int = 0
    excused: int = 0
    reloads: int = 0


class _Collector(logging.Handler):
    """Collects the log, with the simulated time."""

    def __init__(self, outcome: Outcome, loop: SimulatedLoop) -> None:
        super().__init__()
        self._outcome, self._loop = outcome, loop

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        self._outcome.log.append(f"{self._loop.time():9.3f} {text}")
        if record.exc_info or "a fault of sockact" in text:
            self._outcome.broken.append(text)


@contextlib.contextmanager
def collected_log(outcome: Outcome, loop: SimulatedLoop, *, verbose: bool) -> Iterator[None]:
    logger = logging.getLogger("sockact")
    handler = _Collector(outcome, loop)
    before = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG if verbose else logging.ERROR)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


def told(outcome: Outcome) -> Sequence[str]:
    """Return the lines that tell of an outcome with a broken promise."""
    return [f"seed {outcome.seed}: {outcome.broken[0]}", *outcome.log]
