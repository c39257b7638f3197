"""The slots of the current generation: which workers hold them, which leave, and how many are to start.

    staying   workers of the current generation; each holds one of `size` slots
    leaving   workers that serve until enough of the staying ones do: those of the generation before while
              the new one is rolled out, and the one that is recycled
    paused    slots whose workers died in a series, and which stay empty for a while

One rule, `plan`, covers a roll-out, a recycling, a resize and a crash: a leaving worker drains as soon
as `size` others serve without it, and a free slot is filled as soon as there is room. So it does not
matter in which order things happen: a death at any moment is one more slot to fill.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sockact.supervisor.fleet.backoff import Backoff
from sockact.supervisor.fleet.orders import Action, Note, Weight
from sockact.supervisor.fleet.rules import Rules
from sockact.supervisor.fleet.workers import WorkerRecord, Workers, choose


class Slots:
    """The slots of the current generation.

    Args:
        rules: the numbers by which the fleet decides.
        workers: all workers of the fleet.

    Attributes:
        generation: the current one; 0 before the first.
        size: the number of slots.
        backoff: the slots that stay empty after a death.
    """

    def __init__(self, rules: Rules, workers: Workers) -> None:
        self._rules = rules
        self._workers = workers
        self.generation = 0
        self.size = rules.size
        self.backoff = Backoff(rules.jitter)
        self._to_recycle: dict[int, str] = {}  # the reason, by the worker's number

    def take_over(self, generation: int) -> None:
        """Give the slots to a new generation; all before it leave, however much is left of them."""
        self.generation = generation
        self.backoff.reset()
        for worker in self._workers.before(generation):
            worker.leaving = True

    def recycle(self, worker: WorkerRecord, reason: str) -> None:
        """Queue a worker to be recycled, unless it does not serve or leaves anyway."""
        if self._recyclable(worker):
            self._to_recycle.setdefault(worker.number, reason)

    def all_serve(self) -> bool:
        """Return whether each slot is held by a worker that serves."""
        present = self._workers.of(self.generation)
        return sum(worker.serves and not worker.leaving for worker in present) >= self.size

    def fill(self, now: float, *, trial: bool) -> list[Action]:
        """Drain the workers that may go, and start missing ones; a trial uses the spare room."""
        if not self.generation:
            return []
        present = self._present()
        held = sum(not worker.leaving for worker in present)
        self.backoff.drop(held + len(self.backoff) - self.size)
        todo = plan(present, self.size, paused=len(self.backoff), spare=self._spare(trial=trial))
        return [
            *self._workers.drain(todo.drain, now),
            *self._workers.spawn(self.generation, todo.spawn, now),
        ]

    def recycle_next(self, now: float) -> list[Action]:
        """Begin to recycle the next worker in the queue, if none leaves and none is missing."""
        if not self.all_serve() or any(worker.leaving for worker in self._present()):
            return []
        while self._to_recycle:
            number = next(iter(self._to_recycle))
            reason = self._to_recycle.pop(number)
            worker = self._workers.by_number.get(number)
            if worker is not None and self._recyclable(worker):
                worker.leaving = True
                text = f"worker={number} gen={self.generation} is recycled: {reason}"
                note = Note(text, Weight.PLANNED, number, self.generation)
                return [note, *self.fill(now, trial=False)]
        return []

    def _present(self) -> list[WorkerRecord]:
        return [*self._workers.before(self.generation), *self._workers.of(self.generation)]

    def _spare(self, *, trial: bool) -> int:
        """Return how many workers there may be above the size, beside those on trial."""
        if any(worker.leaving for worker in self._workers.of(self.generation)):
            return 1  # the one that is recycled
        return 0 if trial else self._rules.surge or 0

    def _recyclable(self, worker: WorkerRecord) -> bool:
        return worker.serves and worker.generation == self.generation and not worker.leaving


class Plan(NamedTuple):
    """The steps to take, in this order.

    Attributes:
        drain: the workers to drain.
        spawn: how many workers of the current generation to start.
    """

    drain: list[WorkerRecord]
    spawn: int


def plan(workers: Iterable[WorkerRecord], size: int, *, paused: int, spare: int) -> Plan:
    """Decide which workers go and how many are started.

    Args:
        workers: those of the current generation, and those leaving; not those that drain.
        size: the number of slots of the current generation.
        paused: how many of these are to stay empty for now.
        spare: how many workers there may be above `size`.
    """
    workers = list(workers)
    staying = choose([worker for worker in workers if not worker.leaving], size - paused)
    missed = size - sum(worker.serves for worker in staying)
    useful = [worker for worker in workers if worker.leaving and worker.serves]
    # The youngest stay longest, so that of several old generations the oldest goes first.
    useful.sort(key=lambda worker: worker.number, reverse=True)
    kept = choose([*staying, *useful[: max(missed, 0)]], size + spare)
    free = size - paused - sum(not worker.leaving for worker in kept)
    room = size + spare - len(kept)
    return Plan(
        drain=[worker for worker in workers if worker not in kept],
        spawn=max(min(free, room), 0),
    )
