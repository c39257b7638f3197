"""The trial: a generation that is to serve, until it has proved itself or is given up.

The proof is that all on trial are ready and have lived for `probation` since. On trial is the whole
generation, or with `surge` its first few. The first generation needs no probation: there is none before it
that could serve instead; and all of it start at once: there is none beside which it would need memory.
"""

from __future__ import annotations

from sockact.supervisor.fleet.crew import Crew, Worker, choose
from sockact.supervisor.fleet.orders import Action
from sockact.supervisor.fleet.rules import Rules


class Trial:
    """The generation on trial.

    Args:
        rules: the numbers by which the fleet decides.
        crew: all workers of the fleet.

    Attributes:
        generation: its number; 0 for none.
        takeover: when it will have proved itself; None before all are ready.
    """

    def __init__(self, rules: Rules, crew: Crew) -> None:
        self._rules = rules
        self._crew = crew
        self._begun = 0
        self.generation = 0
        self.takeover: float | None = None

    def begin(self, size: int, now: float) -> list[Action]:
        """Start a new generation."""
        self._begun += 1
        self.generation = self._begun
        return self.fit(size, now)

    def fit(self, size: int, now: float) -> list[Action]:
        """Start who is missing, or drain who is too many, when a generation has `size` workers."""
        if not self.generation:
            return []
        crew = self._crew.of(self.generation)
        most = size if self._first else min(size, self._rules.surge or size)
        kept = choose(crew, most)
        actions = self._crew.drain([worker for worker in crew if worker not in kept], now)
        actions += self._crew.spawn(self.generation, most - len(kept), now)
        self.watch(now)
        return actions

    def watch(self, now: float) -> None:
        """Let the probation begin when all are ready; it goes on where it has begun."""
        if not all(worker.serves for worker in self._crew.of(self.generation)):
            self.takeover = None
        elif self.takeover is None:
            self.takeover = now + (0.0 if self._first else self._rules.probation)

    def has(self, worker: Worker) -> bool:
        """Return whether a worker is on trial."""
        return worker.generation == self.generation and not worker.drains

    def end(self) -> int:
        """End the trial, and return whose it was."""
        ended, self.generation, self.takeover = self.generation, 0, None
        return ended

    @property
    def _first(self) -> bool:
        return self.generation == 1
