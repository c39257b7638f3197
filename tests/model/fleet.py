"""The fleet as a model: each worker and each deadline may do what it likes, whenever it likes.

A state has no times: of each deadline it tells only that there is one, and any may be the next that comes.
So more can happen here than with a clock, and whatever can happen with one is among it. Workers are
numbered anew by age in each state, so that a death and a start lead back to a state that is known.

A process is what was spawned and was not reported to have ended. The books about what it has said and was
told are kept here, apart from the fleet's records, and the fleet's decisions are held against them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sockact.supervisor.fleet import Fleet
from sockact.supervisor.fleet.backoff import YOUNG
from sockact.supervisor.fleet.orders import (
    Action,
    Compare,
    Failed,
    Note,
    Order,
    Reloaded,
    Spawn,
    Started,
    Stopped,
    Tell,
)
from sockact.supervisor.fleet.rules import Rules
from sockact.supervisor.fleet.workers import Stage, WorkerRecord

NOW, LATER = 0.0, 1000.0
RULES = Rules(size=2, start_timeout=60.0, probation=1.0, stop_timeout=35.0, max_draining=1, watchdog=None)


class Bounds(NamedTuple):
    """The bounds of a search.

    Attributes:
        generations: how many there may be.
        workers: how many a generation may have.
        leaving: how many may drain or end at a time, before a stop; states with more are not looked at.
    """

    generations: int = 3
    workers: int = 2
    leaving: int = 1


class Record(NamedTuple):
    """The fleet's record of a worker, with flags in place of times."""

    stage: Stage
    deadline: bool
    pings: bool
    watchdog: bool
    leaving: bool
    exiting: bool
    ends: bool
    aborted: bool
    left_over: bool


class Process(NamedTuple):
    """A process, by our own books.

    Attributes:
        generation: its generation.
        ready: it has said so.
        ending: it has said that it ends, or that it stops by itself.
        told: what it was told.
        record: the fleet's record of it.
    """

    generation: int
    ready: bool
    ending: bool
    told: frozenset[Order]
    record: Record

    @property
    def healthy(self) -> bool:
        """True while it serves, and was told nothing."""
        return self.ready and not self.ending and not self.told


class State(NamedTuple):
    """A state of the fleet and of its world.

    Attributes:
        processes: those that live, the oldest first.
        begun, next, takeover: of the trial: generations that have begun, the one on trial, a probation.
        current, size, pauses, deaths, recycle: of the slots; those to be recycled by their age.
        canaries, canary: of how many workers its canary is; that only those have started.
        looks, look: how often it is compared yet; that it is.
        proved: by our own books, nothing was found against the canary until its time was over.
        unanswered: the answer that is decided, and not given.
        stopping: a stop was asked for.
        gave_up: this is since the start has failed.
        stopped: nothing is left of it.
        asked: a start or a reload has no answer yet.
    """

    processes: tuple[Process, ...]
    begun: int
    next: int
    takeover: bool
    current: int
    size: int
    pauses: int
    deaths: int
    recycle: tuple[int, ...]
    canaries: int
    canary: bool
    looks: int
    look: bool
    proved: bool
    unanswered: str
    stopping: bool
    gave_up: bool
    stopped: bool
    asked: bool


class FleetModel:
    """All that can happen to a fleet with these rules.

    Args:
        rules: the numbers.
        kind: makes the fleet, which may have a fault.
        bounds: how far the search goes.
    """

    def __init__(
        self,
        rules: Rules = RULES,
        kind: Callable[[Rules], Fleet] = Fleet,
        bounds: Bounds = Bounds(),  # noqa: B008 - a value
    ) -> None:
        self._rules = rules
        self._kind = kind
        self._bounds = bounds

    def begin(self) -> State:
        """Return the state after the start was asked for."""
        world = _World(self._kind, self._kind(self._rules), {}, asked=True)
        world.do(world.fleet.start(NOW), ("start", 0))
        return world.frozen()

    def events(self, state: Any) -> Iterator[tuple[str, int]]:
        """Return the events, each with the number of a worker, or of a change."""
        if state.stopped:
            yield "stop again", 0
            yield from self._of_another_supervisor(state)
            return
        yield from self._of_another_supervisor(state)
        for number, process in enumerate(state.processes, 1):
            yield from _of_process(number, process)
        if state.takeover:
            yield "the probation is over", 0
        if state.look:
            yield "a look finds nothing", 0
            yield "a look finds it worse", 0
        if state.pauses:
            yield "a pause is over", 0
        if state.stopping:
            yield "abort", 0
            yield "stop again", 0
            return
        yield "stop", 0
        if state.current and not state.asked and state.begun < self._bounds.generations:
            yield "reload", 0
        if state.size < self._bounds.workers:
            yield "one more", 1
        if state.size > 1:
            yield "one less", -1

    def _of_another_supervisor(self, state: State) -> Iterator[tuple[str, int]]:
        if state.begun >= self._bounds.generations:
            return
        if state.stopped:
            yield "starts again", 0
        elif not state.stopping:
            yield "is killed", 0
            if state.current or any(each.record.left_over for each in state.processes):
                yield "restart", 0

    def after(self, state: Any, event: Any) -> State | None:
        """Return the state after an event, None if more drain then than are looked at.

        Raises:
            AssertionError: the event breaks a promise.
        """
        world = _World.thawed(self._kind, self._rules, state)
        world.happen(event)
        after = world.frozen()
        leaving = sum(
            bool(process.told) or process.ending or process.record.left_over for process in after.processes
        )
        return after if leaving <= self._bounds.leaving or after.stopping else None


def _of_process(number: int, process: Process) -> Iterator[tuple[str, int]]:
    yield "dies young", number
    if process.record.deadline:
        yield "misses its deadline", number
    if Order.DRAIN in process.told or Order.KILL in process.told:
        if not process.ending:
            yield "says that it ends", number
        return
    if not process.ready and not process.ending:
        yield "ready", number
    if not process.ending:
        yield "says that it ends", number
        yield "stops by itself", number
    if process.ready:
        yield "dies old", number
    if process.record.watchdog:
        yield "misses its ping", number
    if not process.told and not process.ending:
        yield "reports an error", number
        if process.ready:
            yield "is to be recycled", number


@dataclass
class _Books:
    """Our own books about one process, which can be changed."""

    generation: int
    ready: bool = False
    ending: bool = False
    told: frozenset[Order] = frozenset()
    left_over: bool = False

    @property
    def healthy(self) -> bool:
        return self.ready and not self.ending and not self.told


class _World:
    """A fleet that lives for one event, with the processes that it has."""

    def __init__(
        self,
        kind: Callable[[Rules], Fleet],
        fleet: Fleet,
        books: dict[int, _Books],
        *,
        asked: bool,
        stopping: bool = False,
    ) -> None:
        self.fleet = fleet
        self.books = books
        self.asked = asked
        self.stopping = stopping
        self.stopped = False
        self.gave_up = self.failed = False
        self.kind = kind
        self.current = fleet.current
        self.proved = False
        self.before: set[int] = set()
        self.pauses = 0

    @classmethod
    def thawed(cls, kind: Callable[[Rules], Fleet], rules: Rules, state: State) -> _World:
        fleet = kind(rules)
        workers, trial, slots = fleet._workers, fleet._trial, fleet._slots
        workers._numbers = len(state.processes)
        for number, process in enumerate(state.processes, 1):
            workers.by_number[number] = _thawed(number, process)
        trial._begun, trial.generation = state.begun, state.next
        trial.takeover = LATER if state.takeover else None
        trial._canaries, trial.canary, trial._looks = state.canaries, state.canary, state.looks
        trial.look = LATER if state.look else None
        slots.generation, slots.size = state.current, state.size
        slots.backoff.pauses = {-number: LATER for number in range(1, state.pauses + 1)}
        slots.backoff.deaths = state.deaths
        slots._to_recycle = dict.fromkeys(state.recycle, "tired")
        fleet._unanswered = {"": None, "Started": Started(), "Reloaded": Reloaded()}[state.unanswered]
        fleet._stopping, fleet._spares = state.stopping, state.gave_up
        books = {
            number: _Books(
                process.generation,
                process.ready,
                process.ending,
                process.told,
                process.record.left_over,
            )
            for number, process in enumerate(state.processes, 1)
        }
        world = cls(kind, fleet, books, asked=state.asked, stopping=state.stopping)
        world.stopped, world.gave_up = state.stopped, fleet._spares
        world.proved = state.proved
        return world

    def frozen(self) -> State:
        fleet = self.fleet
        records = fleet.workers
        order = sorted(records, key=lambda number: self._rank(number, records[number]))
        place = {number: index for index, number in enumerate(order, 1)}
        slots, trial = fleet._slots, fleet._trial
        return State(
            tuple(_frozen(self.books[number], records[number]) for number in order),
            trial._begun,
            trial.generation,
            trial.takeover is not None,
            slots.generation,
            slots.size,
            len(slots.backoff.pauses),
            min(slots.backoff.deaths, 2),
            tuple(place[number] for number in slots._to_recycle if number in place),
            trial._canaries if trial.generation else 0,
            trial.canary,
            trial._looks if trial.canary else 0,
            trial.look is not None,
            self.proved,
            "" if fleet._unanswered is None else type(fleet._unanswered).__name__,
            self.stopping,
            fleet._spares,
            self.stopped,
            self.asked,
        )

    def _rank(self, number: int, worker: WorkerRecord) -> tuple[Any, ...]:
        """Return the place of a worker; of those that drain the age does not matter."""
        if not worker.drains:
            return False, number
        books = self.books[number]
        told = sorted(order.name for order in books.told)
        return True, worker.generation, books.ready, books.ending, told, worker.deadline is not None, number

    # What happens.

    def happen(self, event: tuple[str, int]) -> None:
        """Let something happen, and judge what the fleet decides."""
        name, number = event
        self.before, self.pauses = self._serving(), len(self.fleet._slots.backoff.pauses)
        if name in _BY_A_WORKER:
            actions = self._by_a_worker(name, number)
        elif name in _BY_TIME:
            self._make_due(name, number)
            actions = self.fleet.tick(NOW)
            actions += self._compared(actions, name)
        elif name in _BY_ANOTHER:
            actions = self._by_another_supervisor(name)
        else:
            actions = self._by_order(name, number)
        self.do(actions, event)

    def _by_a_worker(self, name: str, number: int) -> list[Action]:
        fleet, books = self.fleet, self.books[number]
        match name:
            case "ready":
                books.ready = True
                return fleet.ready(number, NOW)
            case "says that it ends":
                books.ending = True
                return fleet.ending(number, NOW)
            case "stops by itself":
                books.ending = True
                actions = fleet.stopping(number, NOW)
                books.told |= {Order.DRAIN}  # by itself: it gets no order
                return actions
            case "reports an error":
                return fleet.failing(number, "error", NOW)
        fleet.workers[number].born = NOW if name == "dies young" else NOW - YOUNG
        del self.books[number]
        return fleet.exited(number, "died", NOW)

    def _compared(self, actions: list[Action], name: str) -> list[Action]:
        """Answer the question how the canary does."""
        asked = [action for action in actions if isinstance(action, Compare)]
        assert len(asked) == (name in _LOOKS), "the canary is compared when its time has come"
        if not asked:
            return []
        worse = name == "a look finds it worse"
        self.proved = asked[0].last and not worse
        decided = self.fleet.compared("it fails" if worse else "", NOW)
        assert not (worse and self.fleet.next), "a canary that does worse is given up"
        return decided

    def _by_another_supervisor(self, name: str) -> list[Action]:
        """Replace the supervisor: the next one finds the processes that live, and knows nothing else."""
        if name == "restart":
            for action in self.fleet.leave(NOW):
                if isinstance(action, Tell):
                    assert not self._serves_now(action.worker), "a worker that serves is left alone"
                    self.books[action.worker].told |= {action.order}
        for books in self.books.values():
            books.ending, books.told = books.ending or bool(books.told), frozenset()
            books.left_over = True
        self.fleet = self.kind(self.fleet.rules)
        self.current, self.pauses = 0, 0
        self.asked, self.stopping, self.stopped = True, False, False
        self.fleet.adopt(((number, each.generation) for number, each in self.books.items()), NOW)
        newest = max((each.generation for each in self.books.values()), default=0)
        actions = self.fleet.start(NOW)
        assert self.fleet.next > newest, "the newest code is a generation of its own"
        return actions

    def _serves_now(self, number: int) -> bool:
        books = self.books[number]
        return books.healthy and (books.generation == self.fleet.current or books.left_over)

    def _make_due(self, name: str, number: int) -> None:
        pauses = self.fleet._slots.backoff.pauses
        match name:
            case "misses its deadline":
                self.fleet.workers[number].deadline = NOW
            case "misses its ping":
                self.fleet.workers[number].watchdog = NOW
            case "the probation is over":
                self.fleet._trial.takeover = NOW
            case "a look finds nothing" | "a look finds it worse":
                self.fleet._trial.look = NOW
            case _:
                pauses[next(iter(pauses))] = NOW

    def _by_order(self, name: str, number: int) -> list[Action]:
        match name:
            case "abort":
                return self.fleet.abort()
            case "stop":
                self.stopping, self.asked = True, False
                return self.fleet.stop(NOW)
            case "stop again":
                assert self.fleet.stop(NOW) == [], "a second stop does nothing"
                return []
            case "reload":
                self.asked, self.proved = True, False
                return self.fleet.reload(NOW)
            case "is to be recycled":
                return self.fleet.recycle(number, "tired", NOW)
        return self.fleet.resize(number, NOW)

    # What the fleet decides, and the promises.

    def do(self, actions: list[Action], event: tuple[str, int]) -> None:
        for action in actions:
            assert not self.stopped, "nothing is decided after the end"
            match action:
                case Spawn():
                    self._judge_spawn(action)
                case Tell():
                    self._judge_order(action, event)
                case Started() | Reloaded() | Failed():
                    self._judge_answer(action, event)
                case Stopped():
                    assert self.stopping, "only a stop ends the service"
                    own = [each for each in self.books.values() if not (each.left_over and self.gave_up)]
                    assert not own, "a stop is done when all have ended"
                    self.stopped = True
                case Note(text) if " is recycled: " in text:
                    assert not self.fleet.next, "no recycling begins during a reload"
        if self.failed:  # what was decided with that is done by now
            self.failed, self.stopping, self.gave_up = False, True, True
            self.do(self.fleet.give_up(NOW), event)
            return
        self._judge_takeover({action.worker for action in actions if isinstance(action, Spawn)}, event)
        self._judge_state(self.before, event)

    def _serving(self) -> set[int]:
        """Return the healthy workers of generations that are not on trial."""
        trying = self.fleet.next
        return {n for n, each in self.books.items() if each.healthy and each.generation != trying}

    def _judge_answer(self, answer: Action, event: tuple[str, int]) -> None:
        assert self.asked, "a start or a reload is answered once"
        self.asked = False
        if isinstance(answer, Failed) and not self.fleet.current:
            self.failed = True
        elif isinstance(answer, Failed):
            assert len(self.fleet._slots.backoff.pauses) == self.pauses, "a failed reload changes no pause"
        elif event[0] not in _FAULTS:
            staff = [each for each in self.books.values() if each.generation == self.fleet.current]
            assert sum(each.healthy for each in staff) >= self.fleet.size, "a reload is done when all serve"
            others = [each for each in self.books.values() if each.generation < self.fleet.current]
            assert all(each.told for each in others), "a reload is done when none of the old ones serves"

    def _judge_takeover(self, spawned: set[int], event: tuple[str, int]) -> None:
        now, before = self.fleet.current, self.current
        if now == before:
            return
        new = [
            process
            for number, process in self.books.items()
            if process.generation == now and not process.told and number not in spawned
        ]
        surge = self.fleet.rules.surge if now > 1 else 0  # workers of the supervisor before may still serve
        size = min(self.fleet.size, surge or self.fleet.size)
        assert not before or event[0] == "the probation is over", "new code proves itself first"
        assert self.proved or not before or not self.fleet.rules.canary, "the canary comes first"
        assert all(process.healthy for process in new), "only who is ready takes over"
        assert len(new) >= size, "all that were on trial take over"
        self.current = now

    def _judge_spawn(self, spawn: Spawn) -> None:
        assert not self.stopping, "nothing starts after a stop"
        assert spawn.generation in {self.fleet.current, self.fleet.next} - {0}, "only who may serve starts"
        assert spawn.generation in self.fleet.templates, "there is a template to fork it from"
        assert spawn.worker not in self.books, "a number means one worker"
        self.books[spawn.worker] = _Books(spawn.generation)

    def _judge_order(self, tell: Tell, event: tuple[str, int]) -> None:
        process = self.books[tell.worker]
        if tell.order is Order.DRAIN:
            assert Order.DRAIN not in process.told, "a worker is told to drain once"
            if process.left_over and process.healthy and not self.fleet.current:
                assert self.stopping, "left-over workers serve until others do"
                assert not self.gave_up, "left-over workers go on if the new ones fail"
            if process.generation == self.fleet.current and process.healthy and not self.stopping:
                free = event[0] in ("one less", "is to be recycled") or self._leaves(tell.worker)
                assert free, "who serves is not told to drain without a cause"
            if process.generation == self.fleet.next and process.healthy:
                assert event[0] == "one less", "who is on trial is not told to drain without a cause"
        if tell.order is Order.ABORT:
            assert Order.DRAIN in process.told, "only a drain is aborted"
            assert Order.ABORT not in process.told, "a drain is aborted once"
        if tell.order is Order.KILL:
            assert event[0] == "misses its deadline", "nobody is killed in time"
        process.told |= {tell.order}

    def _leaves(self, number: int) -> bool:
        """Return whether a worker of the current generation was to be recycled, or is one too many."""
        record = self.fleet.workers.get(number)
        return record is None or record.leaving or len(self._serving()) > self.fleet.size

    def _judge_state(self, before: set[int], event: tuple[str, int]) -> None:
        fleet = self.fleet
        assert set(fleet.workers) == set(self.books), "no worker is forgotten"
        for number, worker in fleet.workers.items():
            drains = Order.DRAIN in self.books[number].told
            assert worker.drains == drains, "the fleet knows who drains"
            ends = worker.drains or worker.starts or worker.exiting
            killed = Order.KILL in self.books[number].told
            assert not ends or killed or worker.deadline is not None, "each start and each drain ends"
        present = {process.generation for process in self.books.values() if not process.left_over}
        canaries = [each for each in self.books.values() if each.generation == fleet.next and not each.told]
        alone = fleet.rules.canary and fleet.current and not self.proved
        assert not alone or len(canaries) <= fleet.rules.canary, "only the canary serves beside the others"
        wanted = set() if self.stopping else {fleet.current, fleet.next} - {0}
        assert fleet.templates == present | wanted, "templates are of generations that have workers, or may"
        if self.stopping:
            own = [each for each in self.books.values() if not (each.left_over and self.gave_up)]
            assert all(Order.DRAIN in process.told for process in own), "a stop drains all"
            assert own or self.stopped, "a stop ends with the last worker"
            return
        assert (fleet.next > 0 or fleet._unanswered is not None) == self.asked, "who asks is answered"
        lost = before - self._serving()
        fault = event[1] if event[0] in _FAULTS else 0
        if lost - {fault} and event[0] != "one less":
            left = len(self._serving())
            assert left >= min(len(before - {fault}), fleet.size), "as many serve as before, or as are to"
        if fleet.current:
            self._judge_slots()

    def _judge_slots(self) -> None:
        fleet = self.fleet
        active = [process for process in self.books.values() if Order.DRAIN not in process.told]
        staff = [each for each in active if each.generation == fleet.current]
        leaving = sum(worker.leaving for worker in fleet.workers.values() if not worker.drains)
        held = len(staff) - sum(
            worker.leaving and worker.generation == fleet.current and not worker.drains
            for worker in fleet.workers.values()
        )
        assert len(staff) - held <= 1, "one worker is recycled at a time"
        pauses = len(fleet._slots.backoff.pauses)
        assert held + pauses <= fleet.size, "there are not too many"
        assert held + pauses == fleet.size or leaving, "each place is taken, or will be"
        old = {each.generation for each in self.books.values() if each.told == {Order.DRAIN}}
        old -= {fleet.current, fleet.next}
        assert len(old) <= fleet.rules.max_draining, "not too many generations drain"


_BY_A_WORKER = (
    *("ready", "says that it ends", "stops by itself", "reports an error"),
    *("dies young", "dies old"),
)
_LOOKS = ("a look finds nothing", "a look finds it worse")
_BY_TIME = ("misses its deadline", "misses its ping", "the probation is over", "a pause is over", *_LOOKS)
_BY_ANOTHER = ("restart", "is killed", "starts again")
_FAULTS = (
    *("dies young", "dies old", "says that it ends", "stops by itself"),
    *("misses its deadline", "misses its ping", "reports an error", "a look finds it worse"),
)
"""The events by which a worker is lost by its own fault, or a reload fails."""


def _thawed(number: int, process: Process) -> WorkerRecord:
    record = process.record
    return WorkerRecord(
        number,
        process.generation,
        born=NOW,
        stage=record.stage,
        deadline=LATER if record.deadline else None,
        pings=record.pings,
        watchdog=LATER if record.watchdog else None,
        leaving=record.leaving,
        exiting=record.exiting,
        ends=record.ends,
        aborted=record.aborted,
        left_over=record.left_over,
    )


def _frozen(process: _Books, worker: WorkerRecord) -> Process:
    """Return the state of a process; of one that drains, or was killed, less matters."""
    told, ready, ending = process.told, process.ready, process.ending
    if Order.KILL in told:
        told, ready, ending = frozenset({Order.DRAIN, Order.KILL} & told), False, True
    elif Order.DRAIN in told:
        ready = False
    record = Record(
        worker.stage,
        worker.deadline is not None,
        worker.pings,
        worker.watchdog is not None,
        worker.leaving,
        worker.exiting,
        worker.ends,
        worker.aborted,
        worker.left_over,
    )
    return Process(process.generation, ready, ending, told, record)


def rules(**changes: Any) -> Rules:
    """Return the rules of the model, with changes."""
    return replace(RULES, **changes)
