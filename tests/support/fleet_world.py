"""The world outside a fleet, for `test_fleet_model`: it lets anything happen, and judges what is decided.

The world has processes, which say what they like, end when they like, and end at the next chance when
they were told KILL; and a clock. It keeps books of its own about what the fleet was told and what it
ordered, and holds the fleet's decisions against these (`_judge_*` and the invariants).

    crew       who took over, without those that were lost by their own fault or told to drain
    leavers    healthy workers of the generations before, while the current one is rolled out
    recycling  the worker that waits for the one in its stead; 0 for none
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sockact.supervisor.fleet import Fleet
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
from sockact.supervisor.fleet.workers import STACKS_TIMEOUT, WorkerRecord

RULES = st.builds(
    Rules,
    size=st.integers(1, 3),
    start_timeout=st.sampled_from([5.0, 60.0]),
    probation=st.sampled_from([0.0, 1.0, 8.0]),
    stop_timeout=st.sampled_from([None, 2.0, 35.0]),
    end_timeout=st.sampled_from([1.5, 7.0]),
    max_draining=st.integers(0, 2),
    surge=st.sampled_from([None, 1, 1, 2]),
    watchdog=st.sampled_from([None, 3.0]),
    assume_ready=st.sampled_from([None, None, 1.0]),
    canary=st.sampled_from([0, 0, 1, 2]),
    canary_for=st.sampled_from([3.0, 20.0]),
    looks=st.integers(1, 3),
)
SECONDS = st.sampled_from([0.0, 0.05, 0.5, 1.0, 2.5, 6.0, 12.0, 50.0])
PICK = st.integers(0, 11)
ROUNDING = 1e-6  # seconds: the time between two looks is a fraction
MOST = 4  # workers of a generation, lest the worlds get too large to be tried out

RECYCLED = re.compile(r"worker=(\d+) gen=(\d+) is recycled: tired of (\d+)")


@dataclass
class Process:
    """A process that was spawned and not reported to have ended, as the world knows it."""

    number: int
    generation: int
    born: float
    start_by: float
    assumed: float | None
    said_ready: float | None = None
    pinged: float = 0.0
    said_ending: float | None = None
    told: dict[Order, float] = field(default_factory=dict)

    def ready_since(self, now: float) -> float | None:
        """Return since when the fleet may count it as ready."""
        times = [time for time in (self.said_ready, self.assumed) if time is not None and time <= now]
        return min(times, default=None)

    def healthy(self, now: float) -> bool:
        return not self.told and self.said_ending is None and self.ready_since(now) is not None


@dataclass
class Before:
    """The workers that served when a reload began, and what has happened to them by itself since."""

    current: int
    workers: dict[int, WorkerRecord]
    pauses: dict[int, float]
    deaths: int
    touched: set[int] = field(default_factory=set)
    exited: set[int] = field(default_factory=set)
    spawned: set[int] = field(default_factory=set)
    drained: set[int] = field(default_factory=set)
    shrunk: bool = False


class World(RuleBasedStateMachine):
    """Drives a fleet, and judges what it decides."""

    kind: ClassVar[Callable[[Rules], Fleet]] = Fleet
    changes: ClassVar[dict[str, Any]] = {}
    """Rules which are not left to chance."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.ticked = 0.0  # when the fleet has last looked at the clock
        self.size = 0
        self.processes: dict[int, Process] = {}
        self.spawned = 0
        self.begun = 0  # generations
        self.current = 0
        self.trying = 0  # the generation of the start or the reload that is not decided yet
        self.canary = False  # only the canary of that has started
        self.worse = False  # the next comparison finds it worse
        self.rolling = False  # the reload is decided, but not answered
        self.crew: set[int] = set()
        self.leavers: set[int] = set()
        self.recycling = 0
        self.asked: list[int] = []  # who is to be recycled, in order
        self.before: Before | None = None
        self.stop_at: float | None = None
        self.stopped = False

    @initialize(rules=RULES)
    def start(self, rules: Rules) -> None:
        self.rules_ = rules = replace(rules, **self.changes)
        self.fleet = self.kind(rules)
        self.size = rules.size
        self.begun = self.trying = 1
        self._do(self.fleet.start(self.now))

    # What is asked for.

    @precondition(lambda self: self._may_reload())
    @rule()
    def reload(self) -> None:
        self.before = Before(
            self.fleet.current,
            {worker.number: replace(worker) for worker in self.fleet.workers.values() if not worker.drains},
            dict(self.fleet._slots.backoff.pauses),
            self.fleet._slots.backoff.deaths,
        )
        self.begun += 1
        self.trying = self.begun
        self.canary, self.worse = self.rules_.canary > 0, False
        self._do(self.fleet.reload(self.now), "reload")

    @precondition(lambda self: self._may_reload())
    @rule()
    def take_over(self) -> None:
        """Have a new generation prove itself at once."""
        self.reload()
        while self.trying and self.fleet.deadline() is not None:
            self.all_on_trial_say_ready()
            self.all_ping()
            self._tick_at_deadline()
            self._let_killed_end()

    @precondition(lambda self: self._may_reload())
    @rule()
    def reload_in_vain(self) -> None:
        self.reload()
        self.report_error_on_trial()

    @precondition(lambda self: self.canary)
    @rule()
    def the_canary_does_worse(self) -> None:
        self.worse = True

    @rule(grow=st.booleans())
    def resize(self, grow: bool) -> None:
        change = 1 if grow else -1
        if self.stop_at is not None:
            assert self.fleet.resize(change, self.now) == []
        elif not grow or self.size < MOST:
            self.size = max(self.size + change, 1)
            if self.before is not None:
                self.before.shrunk |= not grow
            self.ticked = self.now
            self._do(self.fleet.resize(change, self.now), "resize")

        assert self.fleet.size == self.size

    @precondition(lambda self: self.processes)
    @rule(pick=PICK)
    def recycle(self, pick: int) -> None:
        self._recycle(self._pick(pick).number)

    @rule()
    def recycle_all(self) -> None:
        for number in list(self.processes):
            self._recycle(number)

    def _recycle(self, number: int) -> None:
        if self._may_be_recycled(number) and number not in self.asked:
            self.asked.append(number)
        self._do(self.fleet.recycle(number, f"tired of {number}", self.now))

    @rule(sure=st.sampled_from([False, False, False, True]))
    def stop(self, sure: bool = True) -> None:
        if not sure:
            return  # else few worlds would grow old
        if self.stop_at is not None:
            assert self.fleet.stop(self.now) == []
            return
        self.stop_at = self.now
        self.trying, self.canary, self.rolling = 0, False, False
        self._do(self.fleet.stop(self.now))

    @rule()
    def abort(self) -> None:
        self._do(self.fleet.abort())

    @precondition(lambda self: self.fleet.templates and self.stop_at is None)
    @rule(pick=PICK)
    def a_template_ends(self, pick: int) -> None:
        """End a template: the workers that it was to fork do not start, and all others go on."""
        templates = sorted(self.fleet.templates)
        generation = templates[pick % len(templates)]
        starting = [each for each in self._of(generation) if each.ready_since(self.now) is None]
        for process in starting:
            if process.number in self.processes and process.generation in self.fleet.templates:
                self._end(process)

    # What a process does. What it has said may also come after its end was reported.

    @precondition(lambda self: self.processes)
    @rule(pick=PICK)
    def say_ready(self, pick: int) -> None:
        self._say_ready(self._pick(pick))

    @precondition(lambda self: self.trying)
    @rule()
    def all_on_trial_say_ready(self) -> None:
        for process in self._of(self.trying):
            self._say_ready(process)

    @precondition(lambda self: self.processes)
    @rule(pick=PICK, seconds=SECONDS)
    def ask_for_time(self, pick: int, seconds: float) -> None:
        process = self._touch(self._pick(pick))
        if Order.DRAIN not in process.told:
            process.start_by = max(process.start_by, self.now + seconds)
        self.fleet.extended(process.number, seconds, self.now)

    @precondition(lambda self: self.processes)
    @rule(pick=PICK)
    def ping(self, pick: int) -> None:
        self._ping(self._pick(pick))

    @rule()
    def all_ping(self) -> None:
        for process in self.processes.values():
            self._ping(process)

    @precondition(lambda self: self.processes)
    @rule(pick=PICK)
    def report_error(self, pick: int) -> None:
        self._do(self.fleet.failing(self._touch(self._pick(pick)).number, "error", self.now))

    @precondition(lambda self: self.trying)
    @rule()
    def report_error_on_trial(self) -> None:
        self._do(self.fleet.failing(self._touch(self._of(self.trying)[0]).number, "error", self.now))

    @precondition(lambda self: any(Order.KILL in process.told for process in self.processes.values()))
    @rule()
    def say_ready_too_late(self) -> None:
        for process in [process for process in self.processes.values() if Order.KILL in process.told]:
            self._say_ready(process)

    @precondition(lambda self: self.recycling)
    @rule(stops=st.booleans())
    def end_while_it_is_recycled(self, stops: bool) -> None:
        (self._stop_by_itself if stops else self._end)(self.processes[self.recycling])

    @precondition(lambda self: self.processes)
    @rule(pick=PICK)
    def stop_by_itself(self, pick: int) -> None:
        self._stop_by_itself(self._pick(pick))

    @precondition(lambda self: self.trying)
    @rule()
    def stop_by_itself_on_trial(self) -> None:
        self._stop_by_itself(self._of(self.trying)[0])

    @precondition(lambda self: self.current and self._staff())
    @rule(pick=PICK)
    def stop_by_itself_while_it_serves(self, pick: int) -> None:
        staff = self._staff()
        self._stop_by_itself(staff[pick % len(staff)])

    @precondition(lambda self: self.processes)
    @rule(pick=PICK)
    def say_that_it_ends(self, pick: int) -> None:
        self._say_ending(self._pick(pick))

    @precondition(lambda self: any(Order.DRAIN in process.told for process in self.processes.values()))
    @rule()
    def drained_ones_say_that_they_end(self) -> None:
        for process in [process for process in self.processes.values() if Order.DRAIN in process.told]:
            self._say_ending(process)

    @precondition(lambda self: self.processes)
    @rule(pick=PICK)
    def end(self, pick: int) -> None:
        self._end(self._pick(pick))

    @precondition(lambda self: self.current and self._staff())
    @rule(pick=PICK)
    def crash(self, pick: int) -> None:
        staff = self._staff()
        self._end(staff[pick % len(staff)])

    @precondition(lambda self: any(Order.DRAIN in process.told for process in self.processes.values()))
    @rule()
    def drained_ones_end(self) -> None:
        for process in [process for process in self.processes.values() if Order.DRAIN in process.told]:
            self._end(process)

    @precondition(lambda self: self.spawned)
    @rule(number=st.integers(1, 12))
    def speak_after_the_end(self, number: int) -> None:
        if number in self.processes:
            return
        self.fleet.extended(number, 1.0, self.now)
        self.fleet.pinged(number, self.now)
        said = [self.fleet.ready(number, self.now), self.fleet.failing(number, "error", self.now)]
        said.append(self.fleet.ending(number, self.now))
        said.append(self.fleet.stopping(number, self.now))
        said.append(self.fleet.exited(number, "ended twice", self.now))

        assert said == [[], [], [], [], []]

    # Time.

    @rule()
    def wait_for_the_deadline(self) -> None:
        self._let_killed_end()
        self._tick_at_deadline()

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        self._let_killed_end()
        while (due := self.fleet.deadline()) is not None and due <= until:
            self._tick_at_deadline()
            self._let_killed_end()
        self.now = self.ticked = max(self.now, until)

        assert self.fleet.tick(self.now) == []  # nothing is due before the deadline

    @precondition(lambda self: self.stop_at is None)
    @rule(seconds=SECONDS)
    def be_late(self, seconds: float) -> None:
        """Advance the time without a tick, as in a loop that was held up."""
        self._let_killed_end()
        self.now += seconds

    @precondition(lambda self: self.trying or self.rolling)
    @rule()
    def wait_for_the_outcome(self) -> None:
        """See that each start and each reload is answered, though nobody says a word."""
        latest = max(self.now, *(process.start_by for process in self.processes.values()))
        latest += self.rules_.probation + self.size * self.rules_.start_timeout
        latest += self.rules_.canary_for + self.rules_.start_timeout if self.canary else 0.0
        self._let_killed_end()
        while self.trying or self.rolling:
            assert self.fleet.deadline() is not None
            self._tick_at_deadline()
            self._let_killed_end()
            assert self.now <= latest

    @precondition(lambda self: self.current and self.stop_at is None)
    @rule()
    def all_goes_well_for_a_while(self) -> None:
        """See that in the end as many serve as are to, and nobody else is left."""
        for _ in range(200):
            self._let_killed_end()
            self._all_do_well()
            if self._settled():
                break
            self.now = max(self.now, self.fleet.deadline() or self.now)
            self.all_ping()
            self._tick_at_deadline()

        assert self._settled()

    # What holds at any time.

    @invariant()
    def no_worker_is_forgotten(self) -> None:
        assert set(self.fleet.workers) == set(self.processes)

    @invariant()
    def who_does_not_drain_serves_now_or_next_or_is_still_needed(self) -> None:
        for worker in self.fleet.workers.values():
            draining = Order.DRAIN in self.processes[worker.number].told
            assert draining == worker.drains
            assert (
                draining
                or worker.generation in {self.current, self.trying} - {0}
                or worker.number in self.leavers
            )
        assert (self.fleet.current, self.fleet.next) == (self.current, self.trying)

    @precondition(lambda self: self.current and self.stop_at is None)
    @invariant()
    def all_who_took_over_serve_unless_by_their_own_fault(self) -> None:
        for number in self.crew:
            assert self.processes[number].healthy(self.now)

    @precondition(lambda self: self.current and self.stop_at is None)
    @invariant()
    def each_place_is_taken_or_will_be(self) -> None:
        taken = len(self._staff()) + len(self.fleet._slots.backoff.pauses)
        if not self.leavers:
            assert taken == self.size
        else:
            present = len(self._staff()) + len(self.leavers)
            assert taken <= self.size
            assert taken == self.size or present >= self.size + (0 if self.trying else self.rules_.surge)

    @precondition(lambda self: self.current and self.stop_at is None)
    @invariant()
    def nobody_leaves_later_than_possible(self) -> None:
        serving = sum(process.healthy(self.ticked) for process in self._staff())
        assert not self.leavers or serving + len(self.leavers) <= self.size
        assert not self.rolling or serving < self.size
        assert not self.recycling or serving < self.size

    @precondition(lambda self: self.stop_at is None)
    @invariant()
    def there_are_not_too_many(self) -> None:
        active = [process for process in self.processes.values() if Order.DRAIN not in process.told]
        trying = sum(process.generation == self.trying for process in active)
        others = len(active) - trying
        extra = 1 if self.recycling else 0
        surge = self.rules_.surge
        assert trying == (self._on_trial() if self.trying else 0)
        if self.trying or surge is None:
            assert others <= self.size + extra
        else:
            assert others <= self.size + surge + extra

    @invariant()
    def the_generations_that_have_workers_or_may_get_some_have_templates_and_no_others(self) -> None:
        present = {process.generation for process in self.processes.values()}
        wanted = set() if self.stop_at is not None else {self.current, self.trying} - {0}
        assert self.fleet.templates == present | wanted

    @precondition(lambda self: self.stop_at is None)
    @invariant()
    def not_too_many_generations_drain(self) -> None:
        left = {
            process.generation
            for process in self.processes.values()
            if Order.DRAIN in process.told and Order.ABORT not in process.told
        }
        assert len(left - {self.current, self.trying}) <= self.rules_.max_draining

    def teardown(self) -> None:
        """Stop, let nobody end by itself while there is a stop_timeout, and see it end."""
        if not hasattr(self, "fleet"):
            return
        if self.current and self.stop_at is None:
            self.all_goes_well_for_a_while()
        if self.stop_at is None:
            self.stop()
        self._let_killed_end()
        while not self.stopped:
            if self.fleet.deadline() is None:
                assert self.rules_.stop_timeout is None
                assert any(Order.DRAIN in process.told for process in self.processes.values())
                self.drained_ones_end()
            else:
                self._tick_at_deadline()
                self._let_killed_end()

        assert not self.processes
        assert self.fleet.deadline() is None
        assert self.fleet.stop(self.now) == []
        assert self.fleet.tick(self.now + 1000.0) == []

    # How the world goes on.

    def _pick(self, pick: int) -> Process:
        processes = list(self.processes.values())
        return processes[pick % len(processes)]

    def _touch(self, process: Process) -> Process:
        if self.before is not None:
            self.before.touched.add(process.number)
        return process

    def _of(self, generation: int) -> list[Process]:
        """Return who belongs to a generation, and was not told to drain."""
        crew = [process for process in self.processes.values() if process.generation == generation]
        return [process for process in crew if Order.DRAIN not in process.told]

    def _staff(self) -> list[Process]:
        """Return who holds a place of the current generation."""
        return [process for process in self._of(self.current) if process.number != self.recycling]

    def _may_reload(self) -> bool:
        return self.current > 0 and not self.trying and not self.rolling and self.stop_at is None

    def _on_trial(self) -> int:
        if self.trying == 1:
            return self.size
        rules = self.rules_
        return min(self.size, rules.canary if self.canary else max(rules.surge or self.size, rules.canary))

    def _serving(self) -> set[int]:
        """Return who serves, as far as the fleet can know it."""
        crew = {process.number for process in self._of(self.current)} | self.leavers
        return {number for number in crew if self.processes[number].healthy(self.ticked)}

    def _may_be_recycled(self, number: int) -> bool:
        if self.stop_at is not None or number == self.recycling:
            return False
        return any(process.number == number for process in self._of(self.current)) and self.processes[
            number
        ].healthy(self.ticked)

    def _all_do_well(self) -> None:
        for process in list(self.processes.values()):
            if process.told.keys() & {Order.DRAIN, Order.KILL}:
                self._end(process)
            else:
                self._say_ready(process)
                self._ping(process)

    def _settled(self) -> bool:
        self.asked = [number for number in self.asked if self._may_be_recycled(number)]
        under_way = self.trying or self.rolling or self.recycling or self.asked
        staff = [process for process in self._of(self.current) if process.healthy(self.now)]
        return not under_way and len(self.processes) == len(staff) == self.size

    def _say_ready(self, process: Process) -> None:
        self._touch(process)
        if not process.told.keys() & {Order.DRAIN, Order.KILL} and process.ready_since(self.ticked) is None:
            self.ticked = self.now
        if process.said_ready is None:
            process.said_ready = self.now
        self._do(self.fleet.ready(process.number, self.now))

    def _say_ending(self, process: Process) -> None:
        self._touch(process)
        if process.said_ending is None and not process.told.keys() & {Order.KILL_WITH_STACKS, Order.KILL}:
            process.said_ending = self.now
        self.crew.discard(process.number)
        self.leavers.discard(process.number)
        self._do(self.fleet.ending(process.number, self.now))

    def _ping(self, process: Process) -> None:
        self._touch(process).pinged = self.now
        self.fleet.pinged(process.number, self.now)

    def _stop_by_itself(self, process: Process) -> None:
        """Make a process drain; one that was not told to counts as told, and is lost as if it had ended."""
        if Order.DRAIN in process.told:
            assert self.fleet.stopping(process.number, self.now) == []
            return
        cause = self._lose(process)
        process.told[Order.DRAIN] = self.now
        self._do(self.fleet.stopping(process.number, self.now), cause)

        assert cause != "death" or not self.rolling  # the reload is answered by then

    def _end(self, process: Process) -> None:
        del self.processes[process.number]
        cause = self._lose(process)
        self._do(self.fleet.exited(process.number, "ended", self.now), cause)

        assert cause != "death" or not self.rolling  # the reload is answered by then

    def _lose(self, process: Process) -> str:
        """Go on without a process; return `death` if a place of the current generation is empty by that."""
        self._touch(process)
        active = Order.DRAIN not in process.told
        cause = "death" if active and process.generation == self.current else ""
        self.crew.discard(process.number)
        self.leavers.discard(process.number)
        if process.number == self.recycling:
            self.recycling, cause = 0, ""
        if self.before is not None:
            self.before.exited.add(process.number)
        return cause

    def _let_killed_end(self) -> None:
        for process in list(self.processes.values()):
            if Order.KILL in process.told:
                self._end(process)

    def _tick_at_deadline(self) -> None:
        due = self.fleet.deadline()
        if due is None:
            return
        self.now = self.ticked = max(self.now, due)
        self._do(self.fleet.tick(self.now))

        after = self.fleet.deadline()
        assert after is None or after > self.now  # else it would be busy for nothing

    # What the fleet has decided.

    def _do(self, actions: list[Action], cause: str = "") -> None:
        outcomes = [action for action in actions if isinstance(action, Started | Reloaded | Failed)]
        assert len(outcomes) <= 1
        orders = [action for action in actions if isinstance(action, Tell)]
        if self.fleet.current != self.current:
            drained = {tell.worker for tell in orders if tell.order is Order.DRAIN and cause == "resize"}
            crew = [process for process in self._of(self.trying) if process.number not in drained]
            self._judge_takeover(crew, outcomes)
        serving = self._serving()
        for action in actions:
            assert not self.stopped
            self._judge(action, outcomes, cause)
        self._judge_loss(serving, orders)
        if self.before is not None and not self.trying:
            if any(isinstance(outcome, Failed) for outcome in outcomes):
                self._judge_what_serves_after_failure(self.before)
            self.before = None
        for action in actions:
            if isinstance(action, Compare):
                self._compare(action)

    def _compare(self, look: Compare) -> None:
        """Answer the question how the canary does, and see that it is given up if it does worse."""
        worse, self.worse = self.worse, False
        self.canary = self.canary and not (look.last and not worse)
        self._do(self.fleet.compared("it fails" if worse else "", self.now), "look")

        assert not (worse and self.trying)

    def _judge(self, action: Action, outcomes: list[Action], cause: str) -> None:
        match action:
            case Spawn():
                self._judge_spawn(action)
            case Tell():
                self._judge_order(self.processes[action.worker], action.order, outcomes, cause)
            case Failed():
                assert self.trying
                self.trying, self.canary = 0, False
            case Reloaded():
                self._judge_answer(cause)
            case Stopped():
                self._judge_end()
            case Note(text) if made := RECYCLED.fullmatch(text):
                self._judge_recycling(*(int(number) for number in made.groups()))
            case Compare():
                self._judge_look(action)
            case Started() | Note():
                pass

    def _judge_look(self, look: Compare) -> None:
        """See that the whole canary has served for as long as it is to, when it is looked at."""
        rules = self.rules_
        assert self.canary
        canary = self._of(self.trying)
        ready = [since for each in canary if (since := each.ready_since(self.now)) is not None]
        assert len(ready) == len(canary) == self._on_trial()
        assert all(process.healthy(self.now) for process in canary)
        served = self.now - max(ready) + ROUNDING
        assert served >= rules.canary_for / (1 if look.last else rules.looks)

    def _judge_takeover(self, crew: list[Process], outcomes: list[Action]) -> None:
        assert self.trying
        assert not self.canary
        assert (Started() in outcomes) == (not self.current)
        assert self.rules_.surge is not None or outcomes
        assert len(crew) == self._on_trial()
        for process in crew:
            since = process.ready_since(self.now)
            assert process.healthy(self.now)
            assert since is not None
            assert not self.current or self.now >= since + self.rules_.probation
        left = [self.processes[number] for number in self.leavers]
        former = [process for process in (*self._of(self.current), *left) if process.healthy(self.ticked)]
        self.leavers = {process.number for process in former}
        self.rolling = self.current > 0
        self.current, self.trying = self.trying, 0
        self.crew = {process.number for process in crew}
        self.recycling = 0
        self.asked.clear()

    def _judge_answer(self, cause: str) -> None:
        assert self.rolling
        if cause != "death":
            assert not self.leavers
            assert sum(process.healthy(self.now) for process in self._staff()) >= self.size
        self.rolling = False

    def _judge_recycling(self, number: int, generation: int, reason: int) -> None:
        while self.asked and not self._may_be_recycled(self.asked[0]):
            self.asked.pop(0)
        assert self.asked
        assert self.asked.pop(0) == number == reason
        assert generation == self.current
        assert not self.recycling
        assert not self.trying
        assert not self.rolling
        assert not self.leavers
        self.recycling = number
        self._touch(self.processes[number])

    def _judge_loss(self, serving: set[int], orders: list[Tell]) -> None:
        """See that nobody was told to drain who was needed; what was aborted was lost before."""
        if self.stop_at is not None:
            return
        drained = {tell.worker for tell in orders if tell.order is Order.DRAIN}
        serving = serving - {tell.worker for tell in orders if tell.order is Order.KILL_WITH_STACKS}
        if drained & serving:
            assert len(serving - drained) >= min(len(serving), self.size)

    def _judge_spawn(self, spawn: Spawn) -> None:
        rules = self.rules_
        assert self.stop_at is None
        assert spawn.worker == self.spawned + 1
        assert spawn.generation in {self.current, self.trying} - {0}
        assert spawn.generation in self.fleet.templates  # or it could not be forked
        self.spawned += 1
        assumed = None if rules.assume_ready is None else self.now + rules.assume_ready
        start_by = self.now + rules.start_timeout
        self.processes[spawn.worker] = Process(spawn.worker, spawn.generation, self.now, start_by, assumed)
        if self.before is not None and spawn.generation == self.current:
            self.before.spawned.add(spawn.worker)

    def _judge_order(self, process: Process, order: Order, outcomes: list[Action], cause: str) -> None:
        told = process.told
        match order:
            case Order.DRAIN:
                self._judge_drain(process, outcomes, cause)
            case Order.ABORT:
                assert Order.DRAIN in told
            case Order.KILL_WITH_STACKS:
                ready = process.ready_since(self.now)
                assert not told
                assert process.said_ending is None
                assert ready is not None
                assert self.rules_.watchdog is not None
                assert self.now >= max(ready, process.pinged) + self.rules_.watchdog
                self.crew.discard(process.number)
                self.leavers.discard(process.number)
            case Order.KILL:
                self._judge_kill(process)
        if order in (Order.KILL_WITH_STACKS, Order.KILL) and self.trying:
            given_up = any(isinstance(outcome, Failed) for outcome in outcomes)
            assert process.generation != self.trying or given_up or Order.DRAIN in told
        assert order not in told or order is Order.KILL
        told.setdefault(order, self.now)
        self._touch(process)

    def _judge_drain(self, process: Process, outcomes: list[Action], cause: str) -> None:
        """See that it has a reason; that it is not missed, is seen when all has been done."""
        number = process.number
        if self.stop_at is not None or cause == "resize":
            pass
        elif process.generation == self.trying:
            assert any(isinstance(outcome, Failed) for outcome in outcomes)
        elif number == self.recycling:
            serving = sum(other.healthy(self.ticked) for other in self._staff())
            assert serving >= self.size or not process.healthy(self.now)
        elif process.generation == self.current:
            assert cause == "reload"
            assert self.leavers
            assert not process.healthy(self.ticked)
        if number == self.recycling:
            self.recycling = 0
        self.crew.discard(number)
        self.leavers.discard(number)
        if self.before is not None:
            self.before.drained.add(number)

    def _judge_kill(self, process: Process) -> None:
        """See that it had the time that it was to have."""
        told, limit = process.told, self.rules_.stop_timeout
        if Order.KILL_WITH_STACKS in told and self.now >= told[Order.KILL_WITH_STACKS] + STACKS_TIMEOUT:
            return
        if process.said_ending is not None and self.now >= process.said_ending + self.rules_.end_timeout:
            return
        if Order.DRAIN in told and limit is not None:
            assert self.now >= told[Order.DRAIN] + limit
        elif Order.DRAIN in told:
            assert process.ready_since(told[Order.DRAIN]) is None or process.said_ready == told[Order.DRAIN]
            assert self.now >= process.start_by
        else:
            assert Order.KILL_WITH_STACKS not in told
            assert process.said_ready is None
            assert self.now >= process.start_by

    def _judge_what_serves_after_failure(self, before: Before) -> None:
        fleet, backoff = self.fleet, self.fleet._slots.backoff
        serving = {worker.number: worker for worker in fleet.workers.values() if not worker.drains}
        assert fleet.current == before.current
        assert set(serving) == (set(before.workers) | before.spawned) - before.exited - before.drained
        for number in serving.keys() & before.workers.keys() - before.touched:
            if before.workers[number].assumed is None:
                assert serving[number] == before.workers[number]
        for number, when in before.pauses.items():
            assert backoff.pauses.get(number) == when or when <= self.now or before.shrunk
        assert backoff.pauses.keys() - before.pauses.keys() <= before.exited
        if not before.exited & (before.workers.keys() | before.spawned):
            assert backoff.deaths == before.deaths

    def _judge_end(self) -> None:
        assert self.stop_at is not None
        assert not self.processes
        limit = self.rules_.stop_timeout
        assert limit is None or self.now <= self.stop_at + limit + self.rules_.end_timeout
        self.stopped = True
