"""The workers of a fleet: the stage of each, its deadlines, and the orders it has got.

    starting -> ready -> draining -> (gone)

Each worker has one deadline, that of its stage: until it must be ready, until it must have drained,
until an aborted one has had the time to write its stacks, and until one must have ended that has said that
it does. The end of each is SIGKILL.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from sockact.supervisor.fleet.orders import Action, Order, Spawn, Tell
from sockact.supervisor.fleet.rules import Rules

KILL_AFTER_ABORT = 5.0
"""Seconds from SIGABRT, which writes the stacks, to SIGKILL."""


class Stage(enum.Enum):
    """Where a worker is."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


@dataclass(slots=True)
class Worker:
    """What the fleet knows of a worker.

    Attributes:
        deadline: that of its stage.
        pings: whether it must ping when it is ready.
        watchdog: until when it must ping again.
        assumed: when it counts as ready, though it has not said so.
        doomed: it was told to abort, or killed, or has said that it ends; and is about to.
        ends: it has said so, before it was told any of that.
        leaving: it serves until another is ready in its stead, and is not replaced when it ends.
    """

    number: int
    generation: int
    born: float
    stage: Stage = Stage.STARTING
    deadline: float | None = None
    pings: bool = False
    watchdog: float | None = None
    assumed: float | None = None
    leaving: bool = False
    doomed: bool = False
    ends: bool = False
    hammered: bool = False

    @property
    def drains(self) -> bool:
        """Whether it was told to drain."""
        return self.stage is Stage.DRAINING

    @property
    def starts(self) -> bool:
        """Whether it may become ready."""
        return self.stage is Stage.STARTING and not self.doomed

    @property
    def serves(self) -> bool:
        """Whether it is ready, and may stay so."""
        return self.stage is Stage.READY and not self.doomed

    def times(self) -> list[float | None]:
        """Return when something is due."""
        return [self.deadline, self.watchdog, self.assumed]

    def extend(self, until: float) -> None:
        """Give it more time for its start."""
        if self.starts and self.deadline is not None:
            self.deadline = max(self.deadline, until)

    def become_ready(self, next_ping: float | None) -> None:
        """End its start."""
        self.stage = Stage.READY
        self.deadline = self.assumed = None
        if self.pings:
            self.expect_ping(next_ping)

    def expect_ping(self, by: float | None) -> None:
        """Wait for its next ping; a doomed one is not spared for a late ping."""
        self.pings = True
        if self.serves:
            self.watchdog = by

    def abort(self, now: float) -> list[Action]:
        """Let it write its stacks, and end."""
        self.watchdog = None
        self.doomed = True
        self.deadline = now + KILL_AFTER_ABORT
        return [Tell(self.number, Order.ABORT)]

    def end(self, by: float) -> None:
        """Wait for its end, of which it has told."""
        self.watchdog = self.assumed = None
        self.doomed = self.ends = True
        self.deadline = by

    def kill(self) -> list[Action]:
        """End it."""
        self.watchdog = self.deadline = self.assumed = None
        self.doomed = True
        return [Tell(self.number, Order.KILL)]

    def drain(self, until: float | None, now: float) -> list[Action]:
        """Let it drain, if it does not yet; a doomed one gets no more time by that.

        A start that hangs is over when it would have been, even if a drain has no limit; not one that
        counts as done by now.
        """
        if self.drains:
            return []
        starts = self.stage is Stage.STARTING and (self.assumed is None or now < self.assumed)
        if until is None and starts:
            until = self.deadline
        self.stage = Stage.DRAINING
        self.watchdog = self.assumed = None
        if not self.doomed:
            self.deadline = until
        elif until is not None and self.deadline is not None:
            self.deadline = min(self.deadline, until)
        return [Tell(self.number, Order.DRAIN)]

    def hammer(self) -> list[Action]:
        """End its drain by force; once."""
        if not self.drains or self.hammered:
            return []
        self.hammered = True
        return [Tell(self.number, Order.HAMMER)]


class Crew:
    """All workers that have not ended, by number.

    A worker that drains belongs to no generation any more, as far as `of` and `before` are concerned.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._numbers = 0
        self.workers: dict[int, Worker] = {}

    def of(self, generation: int) -> list[Worker]:
        """Return the workers of a generation."""
        return [worker for worker in self._active() if worker.generation == generation]

    def before(self, generation: int) -> list[Worker]:
        """Return the workers of all generations before one."""
        return [worker for worker in self._active() if worker.generation < generation]

    def spawn(self, generation: int, count: int, now: float) -> list[Action]:
        """Start so many workers."""
        assume, actions = self._rules.assume_ready, list[Action]()
        for _ in range(count):
            self._numbers += 1
            self.workers[self._numbers] = Worker(
                self._numbers,
                generation,
                born=now,
                deadline=now + self._rules.start_timeout,
                assumed=None if assume is None else now + assume,
                pings=self._rules.all_ping,
            )
            actions.append(Spawn(self._numbers, generation))
        return actions

    def drain(self, workers: Iterable[Worker], now: float) -> list[Action]:
        """Let workers drain."""
        limit = self._rules.stop_timeout
        until = None if limit is None else now + limit
        return [action for worker in workers for action in worker.drain(until, now)]

    def hammer(self, workers: Iterable[Worker]) -> list[Action]:
        """End the drain of workers by force."""
        return [action for worker in workers for action in worker.hammer()]

    def limit_draining(self, serving: set[int]) -> list[Action]:
        """Hammer the oldest of too many generations that drain; not of those that serve otherwise."""
        draining = {worker.generation for worker in self.workers.values() if worker.drains}
        old = sorted(draining - serving)
        excess = old[: max(len(old) - self._rules.max_draining, 0)]
        return self.hammer(worker for worker in self.workers.values() if worker.generation in excess)

    def _active(self) -> Iterable[Worker]:
        return (worker for worker in self.workers.values() if not worker.drains)


def choose(workers: Iterable[Worker], most: int) -> list[Worker]:
    """Return whom to keep of too many workers.

    Those go first which do not serve, the youngest before: it is farthest from being ready. Then the
    oldest: its memory has grown most (gunicorn does the same at SIGTTOU).
    """
    return sorted(workers, key=_usefulness, reverse=True)[:most]


def _usefulness(worker: Worker) -> tuple[bool, int]:
    return worker.serves, worker.number if worker.serves else -worker.number
