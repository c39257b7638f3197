"""The fleet: what a supervisor decides about its workers, without a process, a socket or a clock.

What happens goes in, with the time it happened: `start`, `reload`, `stop`, `hammer`, and `ready`,
`extended`, `pinged`, `failing`, `exited` of a worker, and `tick` when the `deadline` has
come. What to do comes out, as a list of actions.

    worker       starting -> ready -> draining -> (gone)
    generation   next (a reload tries it) -> current (it serves) -> old (it drains)

A generation takes over when all its workers are ready and have lived for `probation`; until then
the one before serves beside it. If one of them fails before, the generation is given up, and all is
as it was. A worker of the current generation that dies is replaced: at once, or, if it died young,
after a pause that doubles.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sockact.orders import Action, Failed, Note, Order, Reloaded, Spawn, Started, Stopped, Tell

KILL_AFTER_ABORT = 5.0
"""Seconds from SIGABRT, which writes the stacks, to SIGKILL."""

YOUNG = 10.0
"""Seconds of life below which a worker's death is one of a series."""

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 30.0


class Stage(enum.Enum):
    """Where a worker is."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers by which the fleet decides; times in seconds.

    Attributes:
        size: workers of a generation.
        start_timeout: until a worker must be ready.
        probation: how long a generation must live before the one before may go.
        stop_timeout: until a draining worker is killed; None for never.
        max_draining: old generations that may drain at a time; the oldest of more is hammered.
        watchdog: longest pause between two pings of a ready worker; None for no watchdog.
        assume_ready: seconds after which a worker that does not notify counts as ready; None for never.
        jitter: returns a factor for the pauses between deaths, around 1.
    """

    size: int
    start_timeout: float
    probation: float
    stop_timeout: float | None
    max_draining: int = 4
    watchdog: float | None = None
    assume_ready: float | None = None
    jitter: Callable[[], float] = field(default=lambda: 1.0)


@dataclass(slots=True)
class Worker:
    """What the fleet knows of a worker; `deadline` is that of its stage."""

    number: int
    generation: int
    born: float
    stage: Stage = Stage.STARTING
    deadline: float | None = None
    watchdog: float | None = None
    assumed: float | None = None
    aborted: bool = False
    hammered: bool = False


class Fleet:
    """All workers of a supervisor, and what is to happen to them."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.workers: dict[int, Worker] = {}
        self.current = 0
        self.next = 0
        self._numbers = 0
        self._generations = 0
        self._takeover: float | None = None
        self._pauses: dict[int, float] = {}
        self._deaths = 0
        self._stopping = False

    # What is asked for.

    def start(self, now: float) -> list[Action]:
        """Start the first generation."""
        return self._begin_generation(now)

    def reload(self, now: float) -> list[Action]:
        """Start a new generation beside the current one; not while another reload is under way."""
        assert not self.next
        return self._begin_generation(now)

    def stop(self, now: float) -> list[Action]:
        """Let all drain."""
        self._stopping = True
        self.next = 0
        self._takeover = None
        self._pauses.clear()
        return [*self._drain(self.workers.values(), now), *self._end_if_empty()]

    def hammer(self) -> list[Action]:
        """End every drain under way by force."""
        return self._hammer(list(self.workers.values()))

    # What a worker did.

    def ready(self, number: int, now: float) -> list[Action]:
        """Note that a worker is ready."""
        worker = self.workers.get(number)
        if worker is None or worker.stage is not Stage.STARTING:
            return []
        self._make_ready(worker, now)
        return self.tick(now)

    def extended(self, number: int, seconds: float, now: float) -> None:
        """Give a worker more time for its start: EXTEND_TIMEOUT_USEC."""
        worker = self.workers.get(number)
        if worker is not None and worker.stage is Stage.STARTING and worker.deadline is not None:
            worker.deadline = max(worker.deadline, now + seconds)

    def pinged(self, number: int, now: float) -> None:
        """Note a worker's watchdog ping."""
        if (worker := self.workers.get(number)) is not None:
            self._rearm(worker, now)

    def failing(self, number: int, reason: str, now: float) -> list[Action]:
        """Note that a worker has reported an error: ERRNO."""
        worker = self.workers.get(number)
        if worker is None or worker.generation != self.next:
            return []
        return self._give_up(reason, now)

    def exited(self, number: int, reason: str, now: float) -> list[Action]:
        """Note that a worker has ended and was reaped; `reason` is why, should it not have ended."""
        worker = self.workers.pop(number, None)
        if worker is None:
            return []
        if worker.stage is Stage.DRAINING or self._stopping:
            return self._end_if_empty()
        if worker.generation == self.next:
            return self._give_up(reason, now)
        return self._replace(worker, reason, now)

    # Time.

    def deadline(self) -> float | None:
        """Return when `tick` has something to do; None for never."""
        times = [self._takeover, *self._pauses.values()]
        for worker in self.workers.values():
            times += [worker.deadline, worker.watchdog, worker.assumed]
        return min((time for time in times if time is not None), default=None)

    def tick(self, now: float) -> list[Action]:
        """Do what is due.

        The order matters when it comes late, and much is due: who has missed a ping does not take
        over, and whom a new generation replaces is not started any more.
        """
        actions: list[Action] = []
        for worker in list(self.workers.values()):
            if worker.watchdog is not None and now >= worker.watchdog:
                actions += self._watchdog_expired(worker, now)
            if worker.assumed is not None and now >= worker.assumed:
                self._make_ready(worker, now)
        if self._takeover is not None and now >= self._takeover:
            actions += self._take_over(now)
        for worker in list(self.workers.values()):
            if worker.deadline is not None and now >= worker.deadline:
                actions += self._expired(worker, now)
        for number, when in list(self._pauses.items()):
            if now >= when:
                del self._pauses[number]
                actions += self._spawn(self.current, now)
        return actions

    def _make_ready(self, worker: Worker, now: float) -> None:
        worker.stage = Stage.READY
        worker.deadline = worker.assumed = None
        self._rearm(worker, now)
        if worker.generation == self.next and self._all_ready(self.next):
            self._takeover = now + (self.rules.probation if self.current else 0.0)

    def _rearm(self, worker: Worker, now: float) -> None:
        if worker.stage is Stage.READY and self.rules.watchdog is not None and not worker.aborted:
            worker.watchdog = now + self.rules.watchdog

    def _watchdog_expired(self, worker: Worker, now: float) -> list[Action]:
        worker.watchdog = None
        worker.aborted = True
        worker.deadline = now + KILL_AFTER_ABORT
        missed = "missed its watchdog ping"
        actions: list[Action] = [Note(f"worker={worker.number} {missed}"), Tell(worker.number, Order.ABORT)]
        if worker.generation == self.next:
            actions += self._give_up(missed, now)
        return actions

    def _expired(self, worker: Worker, now: float) -> list[Action]:
        worker.deadline = None
        actions: list[Action] = [Tell(worker.number, Order.KILL)]
        if worker.stage is Stage.STARTING and worker.generation == self.next:
            actions += self._give_up(f"not ready within {self.rules.start_timeout:g} s", now)
        return actions

    # Generations.

    def _begin_generation(self, now: float) -> list[Action]:
        self._generations += 1
        self.next = self._generations
        return [action for _ in range(self.rules.size) for action in self._spawn(self.next, now)]

    def _spawn(self, generation: int, now: float) -> list[Action]:
        self._numbers += 1
        worker = Worker(self._numbers, generation, born=now, deadline=now + self.rules.start_timeout)
        if self.rules.assume_ready is not None:
            worker.assumed = now + self.rules.assume_ready
        self.workers[worker.number] = worker
        return [Spawn(worker.number, generation)]

    def _crew(self, generation: int) -> list[Worker]:
        return [worker for worker in self.workers.values() if worker.generation == generation]

    def _all_ready(self, generation: int) -> bool:
        crew = self._crew(generation)
        return bool(crew) and all(worker.stage is Stage.READY for worker in crew)

    def _take_over(self, now: float) -> list[Action]:
        self._takeover = None
        before, self.current, self.next = self.current, self.next, 0
        self._deaths = 0
        self._pauses.clear()
        if not before:
            return [Started()]
        return [*self._drain(self._crew(before), now), *self._limit_draining(), Reloaded()]

    def _give_up(self, reason: str, now: float) -> list[Action]:
        """End the generation that was to serve; what serves has not been touched."""
        crew = self._crew(self.next)
        self.next = 0
        self._takeover = None
        return [*self._drain(crew, now), Failed(reason)]

    def _limit_draining(self) -> list[Action]:
        old = sorted({worker.generation for worker in self.workers.values()} - {self.current, self.next})
        excess = old[: max(len(old) - self.rules.max_draining, 0)]
        return self._hammer([worker for worker in self.workers.values() if worker.generation in excess])

    # Workers.

    def _drain(self, workers: Iterable[Worker], now: float) -> list[Action]:
        actions: list[Action] = []
        for worker in workers:
            if worker.stage is not Stage.DRAINING:
                worker.stage = Stage.DRAINING
                worker.watchdog = worker.assumed = None
                limit = self.rules.stop_timeout
                if not worker.aborted:
                    worker.deadline = None if limit is None else now + limit
                elif limit is not None and worker.deadline is not None:
                    worker.deadline = min(worker.deadline, now + limit)
                actions.append(Tell(worker.number, Order.DRAIN))
        return actions

    def _hammer(self, workers: list[Worker]) -> list[Action]:
        actions: list[Action] = []
        for worker in workers:
            if worker.stage is Stage.DRAINING and not worker.hammered:
                worker.hammered = True
                actions.append(Tell(worker.number, Order.HAMMER))
        return actions

    def _replace(self, worker: Worker, reason: str, now: float) -> list[Action]:
        old = now - worker.born >= YOUNG
        self._deaths = 0 if old else self._deaths + 1
        note = Note(f"worker={worker.number} gen={worker.generation} {reason}")
        if self._deaths <= 1:
            return [note, *self._spawn(self.current, now)]
        doublings = min(self._deaths - 2, 10)  # enough for the longest; 2 ** 1024 fits no float
        pause = min(FIRST_PAUSE * 2**doublings, LONGEST_PAUSE) * self.rules.jitter()
        self._pauses[worker.number] = now + pause
        return [note]

    def _end_if_empty(self) -> list[Action]:
        return [Stopped()] if self._stopping and not self.workers else []
