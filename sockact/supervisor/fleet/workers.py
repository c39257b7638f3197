"""The workers of a fleet: the stage of each, its deadline, and the orders it has received.

    starting -> ready -> draining -> (gone)

Each worker has one deadline, that of its stage: to be ready; to have drained; after SIGABRT, to have
written its stacks; after it has announced its end, to have ended. A worker that misses it gets SIGKILL.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from sockact.supervisor.fleet.orders import Action, Order, Spawn, Tell
from sockact.supervisor.fleet.rules import Rules

STACKS_TIMEOUT = 5.0
"""Seconds from SIGABRT, upon which a worker writes its stacks, to SIGKILL."""


class Stage(enum.Enum):
    """The stage of a worker's life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


@dataclass(slots=True)
class WorkerRecord:
    """The fleet's record of one worker.

    Attributes:
        deadline: the deadline of its stage.
        pings: whether it must ping once it is ready.
        watchdog: the time by which it must ping again.
        assumed: the time at which it counts as ready without having said so.
        leaving: it serves until another is ready in its stead, and is not replaced when it ends.
        exiting: it is about to end: it was killed, or has announced its end.
        ends: it has announced its end, before it was killed.
        aborted: its drain was aborted.
        left_over: it was started by the supervisor before.
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
    exiting: bool = False
    ends: bool = False
    aborted: bool = False
    left_over: bool = False

    @property
    def drains(self) -> bool:
        """True from the order to drain on."""
        return self.stage is Stage.DRAINING

    @property
    def starts(self) -> bool:
        """True as long as it may become ready."""
        return self.stage is Stage.STARTING and not self.exiting

    @property
    def serves(self) -> bool:
        """True while it is ready, and may stay so."""
        return self.stage is Stage.READY and not self.exiting

    def times(self) -> list[float | None]:
        """Return the times at which something is due."""
        return [self.deadline, self.watchdog, self.assumed]

    def extend(self, until: float) -> None:
        """Give it more time for its start."""
        if self.starts and self.deadline is not None:
            self.deadline = max(self.deadline, until)

    def postpone(self, seconds: float) -> None:
        """Give it more time for what is due."""
        if self.deadline is not None:
            self.deadline += seconds
        if self.watchdog is not None:
            self.watchdog += seconds

    def become_ready(self, next_ping: float | None) -> None:
        """End its start."""
        self.stage = Stage.READY
        self.deadline = self.assumed = None
        if self.pings:
            self.expect_ping(next_ping)

    def expect_ping(self, by: float | None) -> None:
        """Wait for its next ping; a late ping does not save a worker that was killed for it."""
        self.pings = True
        if self.serves:
            self.watchdog = by

    def kill_with_stacks(self, now: float) -> list[Action]:
        """Make it write its stacks and end."""
        self.watchdog = None
        self.exiting = True
        self.deadline = now + STACKS_TIMEOUT
        return [Tell(self.number, Order.KILL_WITH_STACKS)]

    def end(self, by: float) -> None:
        """Wait for the end that it has announced."""
        self.watchdog = self.assumed = None
        self.exiting = self.ends = True
        self.deadline = by

    def kill(self) -> list[Action]:
        """End its process."""
        self.watchdog = self.deadline = self.assumed = None
        self.exiting = True
        return [Tell(self.number, Order.KILL)]

    def drain(self, until: float | None, now: float) -> list[Action]:
        """Order it to drain, unless it drains already; an exiting worker gets no more time by that.

        A start that hangs is over when it would have been, even if a drain has no limit; but not a start
        that counts as done by now.
        """
        if self.drains:
            return []
        starts = self.stage is Stage.STARTING and (self.assumed is None or now < self.assumed)
        if until is None and starts:
            until = self.deadline
        self.stage = Stage.DRAINING
        self.watchdog = self.assumed = None
        if not self.exiting:
            self.deadline = until
        elif until is not None and self.deadline is not None:
            self.deadline = min(self.deadline, until)
        return [Tell(self.number, Order.DRAIN)]

    def abort(self) -> list[Action]:
        """Abort its drain, if it drains; once."""
        if not self.drains or self.aborted:
            return []
        self.aborted = True
        return [Tell(self.number, Order.ABORT)]


class Workers:
    """All workers that have not ended.

    `of` and `before` leave out the workers that drain: they belong to no generation any more.

    Attributes:
        by_number: their records.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._numbers = 0
        self.by_number: dict[int, WorkerRecord] = {}

    def of(self, generation: int) -> list[WorkerRecord]:
        """Return the workers of a generation."""
        return [worker for worker in self._active() if worker.generation == generation]

    def before(self, generation: int) -> list[WorkerRecord]:
        """Return the workers of all generations before this one."""
        return [worker for worker in self._active() if worker.generation < generation]

    def spawn(self, generation: int, count: int, now: float) -> list[Action]:
        """Start this many workers."""
        assume, actions = self._rules.assume_ready, list[Action]()
        for _ in range(count):
            self._numbers += 1
            self.by_number[self._numbers] = WorkerRecord(
                self._numbers,
                generation,
                born=now,
                deadline=now + self._rules.start_timeout,
                assumed=None if assume is None else now + assume,
                pings=self._rules.all_ping,
            )
            actions.append(Spawn(self._numbers, generation))
        return actions

    def adopt(self, number: int, generation: int, now: float) -> None:
        """Add a worker of the supervisor before, as one that serves until others do."""
        self._numbers = max(self._numbers, number)
        worker = WorkerRecord(number, generation, born=now, leaving=True, left_over=True)
        worker.become_ready(None)
        self.by_number[number] = worker

    def drain(self, workers: Iterable[WorkerRecord], now: float) -> list[Action]:
        """Order workers to drain."""
        limit = self._rules.stop_timeout
        until = None if limit is None else now + limit
        return [action for worker in workers for action in worker.drain(until, now)]

    def abort(self, workers: Iterable[WorkerRecord]) -> list[Action]:
        """Abort the drains of workers."""
        return [action for worker in workers for action in worker.abort()]

    def limit_draining(self, serving: set[int]) -> list[Action]:
        """Abort the oldest of too many draining generations; not those of which others serve."""
        draining = {worker.generation for worker in self.by_number.values() if worker.drains}
        old = sorted(draining - serving)
        excess = old[: max(len(old) - self._rules.max_draining, 0)]
        return self.abort(worker for worker in self.by_number.values() if worker.generation in excess)

    def _active(self) -> Iterable[WorkerRecord]:
        return (worker for worker in self.by_number.values() if not worker.drains)


def choose(workers: Iterable[WorkerRecord], most: int) -> list[WorkerRecord]:
    """Return the workers to keep when there are too many.

    The first to go are those that do not serve, the youngest before the others: it is farthest from being
    ready. Then the oldest goes: its memory has grown most (gunicorn does the same at SIGTTOU).
    """
    return sorted(workers, key=_usefulness, reverse=True)[:most]


def _usefulness(worker: WorkerRecord) -> tuple[bool, int]:
    return worker.serves, worker.number if worker.serves else -worker.number
