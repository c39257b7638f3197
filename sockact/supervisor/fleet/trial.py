"""The trial of a new generation: it ends when the generation has proved itself, or is given up.

The proof is that all workers on trial are ready and have lived for `probation` since. On trial is the whole
generation, or with `surge` its first few. The first generation needs no probation, since there is none
before it that could serve instead; and all of it start at once, since none beside it needs memory.
"""

from __future__ import annotations

from sockact.supervisor.fleet.orders import Action
from sockact.supervisor.fleet.rules import Rules
from sockact.supervisor.fleet.workers import WorkerRecord, Workers, choose


class Trial:
    """The generation on trial.

    Args:
        rules: the numbers by which the fleet decides.
        workers: all workers of the fleet.

    Attributes:
        generation: its number; 0 for none.
        takeover: the time at which it will have proved itself; None before all are ready.
    """

    def __init__(self, rules: Rules, workers: Workers) -> None:
        self._rules = rules
        self._workers = workers
        self._begun = 0
        self.generation = 0
        self.takeover: float | None = None

    def begin_after(self, generation: int) -> None:
        """Count the generations from one of the supervisor before on, which serves."""
        self._begun = max(self._begun, generation)

    def begin(self, size: int, now: float) -> list[Action]:
        """Start a new generation."""
        self._begun += 1
        self.generation = self._begun
        return self.fit(size, now)

    def fit(self, size: int, now: float) -> list[Action]:
        """Start the missing workers, or drain the excess ones, of a generation of `size` workers."""
        if not self.generation:
            return []
        on_trial = self._workers.of(self.generation)
        most = size if self._first else min(size, self._rules.surge or size)
        kept = choose(on_trial, most)
        actions = self._workers.drain([worker for worker in on_trial if worker not in kept], now)
        actions += self._workers.spawn(self.generation, most - len(kept), now)
        self.watch(now)
        return actions

    def watch(self, now: float) -> None:
        """Begin the probation when all are ready; if it has begun, it goes on."""
        if not all(worker.serves for worker in self._workers.of(self.generation)):
            self.takeover = None
        elif self.takeover is None:
            self.takeover = now + (0.0 if self._first else self._rules.probation)

    def has(self, worker: WorkerRecord) -> bool:
        """Return whether a worker is on trial."""
        return worker.generation == self.generation and not worker.drains

    def end(self) -> int:
        """End the trial, and return the generation that was on trial."""
        ended, self.generation, self.takeover = self.generation, 0, None
        return ended

    @property
    def _first(self) -> bool:
        return self.generation == 1
