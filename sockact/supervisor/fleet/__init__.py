"""The fleet: a supervisor's decisions about its workers, without a process, a socket or a clock.

Events go in, with the time they happened: `adopt`, `start`, `reload`, `resize`, `recycle`, `stop`,
`leave`, `abort`; of a worker `ready`, `extended`, `pinged`, `failing`, `stopping`, `ending`, `exited`;
`compared` with the result of a comparison; `tick` when the `deadline` has come, and `postpone` when nobody
could look at the clock. Most return a list of actions for the supervisor to carry out.

    worker       starting -> ready -> draining -> (gone)
    generation   next (on trial) -> current (it serves) -> old (it leaves, or drains)

A generation is on trial (`trial`) until all its workers are ready and have lived for `probation`; until
then the one before serves beside it. If one of them fails before, the generation is given up, and all
is as it was. Else it becomes the current one, and which workers drain or start follows from its `slots`:

- without `surge` the whole generation was on trial, and the one before drains at once;
- with it the first few were, and it is rolled out: an old worker drains for each new one that is ready,
  and the next ones start. The reload is answered when all are ready. A death meanwhile answers it at once:
  the code has proved itself, so this is a crash like any other, and the roll-out goes on.

With a `canary`, one worker of the new generation, or a few, serve beside the current one before any other
starts. `Compare` asks several times whether they do worse (see `supervisor.comparison`); if so, the
generation is given up. A canary that fails in any other way is given up like any generation on trial.

A worker of the current generation that dies is replaced: at once, or, if it died young, after a pause
that doubles (`backoff`). So is one that begins to stop without an order; it drains then like any
other. A worker that is recycled serves until another is ready in its stead: one at a time,
and only when no slot is free, no reload is under way and no generation is rolled out.

After a restart the workers of the supervisor before, the left-over ones, are a generation before the first
of this one: they serve while that is on trial, and go on if it fails (`adopt`, `give_up`, `leave`).
"""

from __future__ import annotations

from collections.abc import Iterable

from sockact.supervisor.fleet.orders import (
    Action,
    Compare,
    Failed,
    Note,
    Reloaded,
    Started,
    Stopped,
    Weight,
)
from sockact.supervisor.fleet.rules import Rules
from sockact.supervisor.fleet.slots import Slots
from sockact.supervisor.fleet.trial import Trial
from sockact.supervisor.fleet.workers import Stage, WorkerRecord, Workers

STOPPED = "stopped by itself"
"""The reason for the loss of a worker that has said STOPPING=1 without an order."""

__all__ = ["STOPPED", "Fleet", "Rules", "Stage", "WorkerRecord"]


class Fleet:
    """All workers of a supervisor, and the decisions about them."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._workers = Workers(rules)
        self._trial = Trial(rules, self._workers)
        self._slots = Slots(rules, self._workers)
        self._unanswered: Started | Reloaded | None = None  # decided, but not reported
        self._stopping = False
        self._spares = False  # ends without the left-over workers

    @property
    def workers(self) -> dict[int, WorkerRecord]:
        """All workers that have not ended, by number."""
        return self._workers.by_number

    @property
    def current(self) -> int:
        """The generation that serves; 0 before the first."""
        return self._slots.generation

    @property
    def next(self) -> int:
        """The generation on trial; 0 for none."""
        return self._trial.generation

    @property
    def canary(self) -> int:
        """The generation on trial of which only the canary has started; 0 for none."""
        return self._trial.generation if self._trial.canary else 0

    @property
    def compares(self) -> bool:
        """True while a canary serves its share beside the current generation."""
        return self._trial.compares

    @property
    def size(self) -> int:
        """The number of workers of a generation, as `resize` left it."""
        return self._slots.size

    @property
    def templates(self) -> frozenset[int]:
        """The generations whose templates are of use: they may get workers, or have some.

        The import may have started processes that its workers need until their end.
        """
        present = {worker.generation for worker in self.workers.values() if not worker.left_over}
        return frozenset(present if self._stopping else (present | {self.current, self.next}) - {0})

    # Requests.

    def adopt(self, workers: Iterable[tuple[int, int]], now: float) -> None:
        """Take over the left-over workers: the number of each, and its generation."""
        for number, generation in workers:
            self._workers.adopt(number, generation, now)
            self._trial.begin_after(generation)

    def start(self, now: float) -> list[Action]:
        """Start the first generation."""
        return self._trial.begin(self.size, now)

    def reload(self, now: float) -> list[Action]:
        """Start a new generation beside the current one; not while another reload is under way.

        If the current one is still rolled out, after a crash, that pauses: its workers that are not ready
        go. What is left of the generation before it serves until enough of the new one do.
        """
        assert not self.next
        assert self._unanswered is None
        begun = self._trial.begin(self.size, now, canary=True)
        return [*self._settle(now), *begun]  # draining first makes room

    def resize(self, change: int, now: float) -> list[Action]:
        """Change the number of workers, to at least one; ignored while stopping."""
        if self._stopping:
            return []
        if self.rules.most is not None and self.size + change > self.rules.most:
            return [Note(f"no more workers: there are {self.size}, expected at most {self.rules.most}")]
        self._slots.size = max(self.size + change, 1)
        return [*self._trial.fit(self.size, now), *self.tick(now)]

    def recycle(self, number: int, reason: str, now: float) -> list[Action]:
        """Replace a worker without loss, when its turn comes.

        Ignored for a worker that is not ready, not of the current generation, or leaves already.
        """
        worker = self.workers.get(number)
        if worker is None:
            return []
        self._slots.recycle(worker, reason)
        return self._settle(now)

    def stop(self, now: float) -> list[Action]:
        """Drain all workers; a second call does nothing."""
        if self._stopping:
            return []
        self._end_decisions()
        return [*self._workers.drain(self.workers.values(), now), *self._end_if_empty()]

    def give_up(self, now: float) -> list[Action]:
        """Drain the workers of a failed start, but not the left-over ones: the next supervisor has them."""
        self._end_decisions()
        self._spares = True
        own = [worker for worker in self.workers.values() if not worker.left_over]
        return [*self._workers.drain(own, now), *self._end_if_empty()]

    def leave(self, now: float) -> list[Action]:
        """Leave the workers that serve to the next supervisor; drain the others, and wait for none."""
        on_trial = self._trial.generation
        self._end_decisions()
        workers = self.workers.values()
        useless = [worker for worker in workers if worker.starts or worker.generation == on_trial]
        return self._workers.drain(useless, now)

    def _end_decisions(self) -> None:
        self._stopping = True
        self._unanswered = None
        self._trial.end()
        self._slots.backoff.reset()

    def compared(self, worse: str, now: float) -> list[Action]:
        """Note the result of a comparison: what is `worse` about the canary; empty for nothing."""
        if not self._trial.canary:
            return []  # it has failed since
        if worse:
            return [*self._give_up(worse, now), *self._settle(now)]
        if not self._trial.awaits_result:
            return []
        return [*self._trial.pass_canary(self.size, now), *self.tick(now)]

    def abort(self) -> list[Action]:
        """Abort every drain under way."""
        return self._workers.abort(self.workers.values())

    # Events of a worker.

    def ready(self, number: int, now: float) -> list[Action]:
        """Note that a worker is ready."""
        worker = self.workers.get(number)
        if worker is None or not worker.starts:
            return []
        self._make_ready(worker, now)
        return self.tick(now)

    def extended(self, number: int, seconds: float, now: float) -> None:
        """Give a worker more time for its start: EXTEND_TIMEOUT_USEC."""
        if (worker := self.workers.get(number)) is not None:
            worker.extend(now + seconds)

    def pinged(self, number: int, now: float) -> None:
        """Note a worker's watchdog ping."""
        if (worker := self.workers.get(number)) is not None:
            worker.expect_ping(self._next_ping(now))

    def postpone(self, seconds: float) -> None:
        """Give all workers more time for what they have to do or to say."""
        self._trial.postpone(seconds)
        for worker in self.workers.values():
            worker.postpone(seconds)

    def failing(self, number: int, reason: str, now: float) -> list[Action]:
        """Note that a worker has reported an error: ERRNO."""
        worker = self.workers.get(number)
        if worker is None or not self._trial.has(worker):
            return []
        return [*self._give_up(reason, now), *self._settle(now)]

    def ending(self, number: int, now: float) -> list[Action]:
        """Note that a worker has announced its end: it has drained, or failed to start. It does so once."""
        worker = self.workers.get(number)
        if worker is None or worker.exiting:
            return []
        worker.end(now + self.rules.end_timeout)
        if self._trial.has(worker):
            self._trial.watch(now)
        return self._settle(now)

    def stopping(self, number: int, now: float) -> list[Action]:
        """Note that a worker stops: STOPPING=1. Without an order to do so, it is lost from now on."""
        worker = self.workers.get(number)
        if worker is None or worker.drains:
            return []
        if worker.left_over:  # it has drained since before this supervisor, or another one has its place
            self._workers.drain([worker], now)
            return self._settle(now)
        on_trial = self._trial.has(worker)
        self._workers.drain([worker], now)  # it drains already, and gets no order
        return self._lost(worker, STOPPED, now, on_trial=on_trial)

    def exited(self, number: int, reason: str, now: float) -> list[Action]:
        """Note that a worker has ended and was reaped; `reason` matters if it should not have ended."""
        worker = self.workers.pop(number, None)
        if worker is None:
            return []
        if worker.drains:
            return self._end_if_empty()
        return self._lost(worker, reason, now, on_trial=self._trial.has(worker))

    def _lost(self, worker: WorkerRecord, reason: str, now: float, *, on_trial: bool) -> list[Action]:
        """Go on without a worker that had no order to end."""
        if on_trial:
            return [*self._give_up(reason, now), *self._settle(now)]
        text = f"worker={worker.number} gen={worker.generation} {reason}"
        weight = Weight.REMARK if reason == STOPPED else Weight.FAILURE
        actions: list[Action] = [Note(text, weight, worker.number, worker.generation)]
        if not worker.leaving:
            self._slots.backoff.died(worker.number, now - worker.born, now)
            actions += self._answer_early()
        return [*actions, *self._settle(now)]

    # Time.

    def deadline(self) -> float | None:
        """Return the time at which `tick` has something to do; None for never."""
        times = [self._trial.takeover, self._trial.look, *self._slots.backoff.pauses.values()]
        for worker in self.workers.values():
            times += worker.times()
        return min((time for time in times if time is not None), default=None)

    def tick(self, now: float) -> list[Action]:
        """Do what is due.

        The order matters when it comes late, and much is due: a worker that has missed a ping does not take
        over, and one that a new generation replaces is not started any more. Which workers go is decided
        last, when it is known which serve.
        """
        actions: list[Action] = []
        for worker in list(self.workers.values()):
            if worker.watchdog is not None and now >= worker.watchdog:
                actions += self._watchdog_expired(worker, now)
            if worker.assumed is not None and now >= worker.assumed:
                self._make_ready(worker, now)
        if (takeover := self._trial.takeover) is not None and now >= takeover:
            actions += self._take_over(now)
        for worker in list(self.workers.values()):
            if worker.deadline is not None and now >= worker.deadline:
                actions += self._expired(worker, now)
        self._slots.backoff.expire(now)
        actions += self._settle(now)
        if (look := self._trial.look) is not None and now >= look:
            actions.append(Compare(last=self._trial.looked(now)))
        return actions

    def _make_ready(self, worker: WorkerRecord, now: float) -> None:
        worker.become_ready(self._next_ping(now))
        if self._trial.has(worker):
            self._trial.watch(now)

    def _next_ping(self, now: float) -> float | None:
        return None if self.rules.watchdog is None else now + self.rules.watchdog

    def _watchdog_expired(self, worker: WorkerRecord, now: float) -> list[Action]:
        missed = "missed its watchdog ping"
        text = f"worker={worker.number} {missed}"
        note = Note(text, Weight.FAILURE, worker.number, worker.generation)
        actions = [note, *worker.kill_with_stacks(now)]
        return [*actions, *(self._give_up(missed, now) if self._trial.has(worker) else [])]

    def _expired(self, worker: WorkerRecord, now: float) -> list[Action]:
        actions = worker.kill()
        if self._trial.has(worker):
            late = f"not ready within {self.rules.start_timeout:g} s"
            actions += self._give_up("it does not end" if worker.ends else late, now)
        return actions

    # Generations.

    def _take_over(self, now: float) -> list[Action]:
        self._unanswered = Reloaded() if self.current else Started()
        self._slots.take_over(self._trial.end())
        return self._settle(now)

    def _give_up(self, reason: str, now: float) -> list[Action]:
        """End the generation on trial; the serving one has not been touched."""
        actions = self._workers.drain(self._workers.of(self._trial.end()), now)
        return [*actions, Failed(reason)]

    def _settle(self, now: float) -> list[Action]:
        """Bring the current generation to its size, and answer the reload when it is reached."""
        if self._stopping:
            return []
        actions = self._slots.fill(now, trial=self.next > 0)
        actions += self._workers.limit_draining({self.current, self.next})
        if self._unanswered is not None and self._slots.all_serve():
            actions.append(self._unanswered)
            self._unanswered = None
        return actions if self.next else [*actions, *self._slots.recycle_next(now)]

    def _answer_early(self) -> list[Action]:
        """Answer the reload now: its generation has proved itself, but has lost a worker since."""
        if self._unanswered is None:
            return []
        answer, self._unanswered = self._unanswered, None
        text = f"gen={self.current} took over; its roll-out goes on"
        return [Note(text, Weight.REMARK, generation=self.current), answer]

    def _end_if_empty(self) -> list[Action]:
        awaited = (worker for worker in self.workers.values() if not (self._spares and worker.left_over))
        return [Stopped()] if self._stopping and not any(awaited) else []
