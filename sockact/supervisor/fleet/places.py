"""The places of the current generation: who holds them, who is to go, and who is to come.

    staying   workers of the current generation; each holds one of `size` places
    leaving   workers that serve until enough of the staying do: those of the generation before while
              the new one is rolled out, and the one that is recycled
    paused    places whose workers died in a series, and which stay empty for a while

One rule, `plan`, covers a roll-out, a recycling, a resize and a crash: a leaving worker drains as soon
as `size` others serve without it, and a free place is filled as soon as there is room. So it does not
matter in which order things happen: a death at any moment is one more place to fill.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sockact.supervisor.fleet.backoff import Backoff
from sockact.supervisor.fleet.crew import Crew, Worker, choose
from sockact.supervisor.fleet.orders import Action, Note
from sockact.supervisor.fleet.rules import Rules


class Places:
    """The places of the current generation.

    Args:
        rules: the numbers by which the fleet decides.
        crew: all workers of the fleet.

    Attributes:
        generation: the current one; 0 before the first.
        size: how many places there are.
        backoff: the places that wait after a death.
    """

    def __init__(self, rules: Rules, crew: Crew) -> None:
        self._rules = rules
        self._crew = crew
        self.generation = 0
        self.size = rules.size
        self.backoff = Backoff(rules.jitter)
        self._tired: dict[int, str] = {}  # who waits to be recycled, and why

    def take_over(self, generation: int, now: float) -> list[Action]:
        """Give the places to a new generation.

        The one before leaves; what a crash left of the roll-outs before that drains.
        """
        before, self.generation = self.generation, generation
        self.backoff.reset()
        old = self._crew.before(generation)
        for worker in old:
            worker.leaving = True
        return self._crew.drain([worker for worker in old if worker.generation < before], now)

    def recycle(self, worker: Worker, reason: str) -> None:
        """Let a worker wait for its turn to leave, unless it does not serve or goes anyway."""
        if self._recyclable(worker):
            self._tired.setdefault(worker.number, reason)

    def all_serve(self) -> bool:
        """Return whether each place is held by a worker that serves."""
        crew = self._crew.of(self.generation)
        return sum(worker.serves and not worker.leaving for worker in crew) >= self.size

    def fill(self, now: float, *, trial: bool) -> list[Action]:
        """Let go who may, and start who is missing; a generation on trial takes the spare room."""
        if not self.generation:
            return []
        present = self._present()
        held = sum(not worker.leaving for worker in present)
        self.backoff.drop(held + len(self.backoff) - self.size)
        todo = plan(present, self.size, paused=len(self.backoff), spare=self._spare(trial=trial))
        return [*self._crew.drain(todo.drain, now), *self._crew.spawn(self.generation, todo.spawn, now)]

    def recycle_next(self, now: float) -> list[Action]:
        """Let the next one that is tired leave, when nobody leaves and nobody is missing."""
        if not self.all_serve() or any(worker.leaving for worker in self._present()):
            return []
        while self._tired:
            number = next(iter(self._tired))
            reason = self._tired.pop(number)
            worker = self._crew.workers.get(number)
            if worker is not None and self._recyclable(worker):
                worker.leaving = True
                note = Note(f"worker={number} gen={self.generation} is recycled: {reason}")
                return [note, *self.fill(now, trial=False)]
        return []

    def _present(self) -> list[Worker]:
        return [*self._crew.before(self.generation), *self._crew.of(self.generation)]

    def _spare(self, *, trial: bool) -> int:
        """Return how many workers there may be above the size, beside those on trial."""
        if any(worker.leaving for worker in self._crew.of(self.generation)):
            return 1  # the one that is recycled
        return 0 if trial else self._rules.surge or 0

    def _recyclable(self, worker: Worker) -> bool:
        return worker.serves and worker.generation == self.generation and not worker.leaving


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, in this order.

    Attributes:
        drain: who is to drain.
        spawn: how many workers of the current generation are to be started.
    """

    drain: list[Worker]
    spawn: int


def plan(workers: Iterable[Worker], size: int, *, paused: int, spare: int) -> Plan:
    """Decide who goes and how many come.

    Args:
        workers: those of the current generation, and those leaving; not those which drain.
        size: places of the current generation.
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
