"""The trial of a new generation: it ends when the generation has proved itself, or is given up.

The proof is that all workers on trial are ready and have lived for `probation` since. On trial is the whole
generation, or with `surge` its first few. The first generation needs no probation, since there is none
before it that could serve instead; and all of it start at once, since none beside it needs memory.

With a canary a reload has a stage before that: only so many workers start, and when all of them are ready
they are compared with those that serve, several times (`Rules.looks`) in `Rules.canary_for`. After the last
look the others on trial start; a canary of more workers than `surge` stays as it is. A start has no such
stage, nor has a restart: the code before it serves, if at all, in workers that cannot be replaced.
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
        canary: whether only the canary has started yet.
        look: the time at which it is compared next; None before it is ready, and after the last look.
    """

    def __init__(self, rules: Rules, workers: Workers) -> None:
        self._rules = rules
        self._workers = workers
        self._begun = 0
        self.generation = 0
        self.takeover: float | None = None
        self.canary = False
        self.look: float | None = None
        self._looks = 0
        self._canaries = 0

    def begin_after(self, generation: int) -> None:
        """Count the generations from one of the supervisor before on, which serves."""
        self._begun = max(self._begun, generation)

    def begin(self, size: int, now: float, *, canary: bool = False) -> list[Action]:
        """Start a new generation, or its `canary`."""
        self._begun += 1
        self.generation = self._begun
        self._canaries = self._rules.canary if canary else 0
        self.canary = self._canaries > 0
        self._looks = self._rules.looks
        return self.fit(size, now)

    def fit(self, size: int, now: float) -> list[Action]:
        """Start the missing workers, or drain the excess ones, of a generation of `size` workers."""
        if not self.generation:
            return []
        on_trial = self._workers.of(self.generation)
        most = self._most(size)
        kept = choose(on_trial, most)
        actions = self._workers.drain([worker for worker in on_trial if worker not in kept], now)
        actions += self._workers.spawn(self.generation, most - len(kept), now)
        self.watch(now)
        return actions

    def watch(self, now: float) -> None:
        """Begin the probation, or the comparison, when all are ready; if it has begun, it goes on."""
        if not all(worker.serves for worker in self._workers.of(self.generation)):
            self.takeover = self.look = None
        elif self.canary:
            self._watch_canary(now)
        elif self.takeover is None:
            self.takeover = now + (0.0 if self._first else self._rules.probation)

    def _watch_canary(self, now: float) -> None:
        if self.look is None and self._looks:
            self._looks = self._rules.looks  # from the beginning: who is compared has changed
            self.look = now + self._pause

    def looked(self, now: float) -> bool:
        """Set the time of the next look; return whether this one is the last."""
        self._looks -= 1
        self.look = now + self._pause if self._looks else None
        return not self._looks

    def pass_canary(self, size: int, now: float) -> list[Action]:
        """Start the others after the last look."""
        self.canary = False
        return self.fit(size, now)

    def postpone(self, seconds: float) -> None:
        """Give the canary more time: nobody has served meanwhile."""
        if self.look is not None:
            self.look += seconds

    @property
    def compares(self) -> bool:
        """True while the canary serves its share, and is compared."""
        return self.canary and self.look is not None

    @property
    def awaits_result(self) -> bool:
        """True from the last look until its result is known."""
        return self.canary and not self._looks

    @property
    def _pause(self) -> float:
        return self._rules.canary_for / self._rules.looks

    def _most(self, size: int) -> int:
        """Return how many workers are on trial now."""
        if self._first:
            return size
        if self.canary:
            return min(size, self._canaries)
        return min(size, max(self._rules.surge or size, self._canaries))

    def has(self, worker: WorkerRecord) -> bool:
        """Return whether a worker is on trial."""
        return worker.generation == self.generation and not worker.drains

    def end(self) -> int:
        """End the trial, and return the generation that was on trial."""
        ended, self.generation, self.takeover = self.generation, 0, None
        self.canary, self.look = False, None
        return ended

    @property
    def _first(self) -> bool:
        return self.generation == 1
