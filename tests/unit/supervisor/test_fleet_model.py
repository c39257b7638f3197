"""The fleet under any order of events, in `fleet_world`; and what that world must be able to see."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

import pytest
from hypothesis.stateful import run_state_machine_as_test

from sockact.supervisor.fleet import Fleet
from sockact.supervisor.fleet.orders import Action, Order, Tell
from sockact.supervisor.fleet.rules import Rules
from sockact.supervisor.fleet.slots import Slots
from sockact.supervisor.fleet.trial import Trial
from sockact.supervisor.fleet.workers import WorkerRecord, Workers
from tests.support.fleet_world import World
from tests.support.models import assert_a_fault_is_seen, tried

pytestmark = pytest.mark.slow

SETTINGS = tried(2000, 25)


def test_the_fleet_keeps_its_promises_whatever_the_order_of_events() -> None:
    run_state_machine_as_test(World, settings=SETTINGS)


# What the model must see, each a fault in one place.


class DrainsEarly(Fleet):
    """The generation before drains when the new one is ready, not when it has proved itself."""

    def ready(self, number: int, now: float) -> list[Action]:
        actions = super().ready(number, now)
        if self._trial.takeover is not None:
            actions += self._workers.drain(self._workers.of(self.current), now)
        return actions


class Forgets(Fleet):
    """A generation that was given up is no longer looked after."""

    def _give_up(self, reason: str, now: float) -> list[Action]:
        given_up, actions = self._workers.of(self.next), super()._give_up(reason, now)
        for worker in given_up:
            del self.workers[worker.number]
        return actions


class SpawnsAfterStop(Fleet):
    """A worker that drains for a stop is replaced."""

    def _settle(self, now: float) -> list[Action]:
        stopping, self._stopping = self._stopping, False
        actions = super()._settle(now)
        self._stopping = stopping
        return actions


class StopsTwice(Fleet):
    """A stop after the stop is reported again."""

    def stop(self, now: float) -> list[Action]:
        return super().stop(now) or self._end_if_empty()


class TrustsTheHanging(Fleet):
    """A new worker that misses its ping is killed, and takes over all the same."""

    def _watchdog_expired(self, worker: WorkerRecord, now: float) -> list[Action]:
        return worker.kill_with_stacks(now)


class TrustsTheKilled(Fleet):
    """A worker is ready by what it said just before it was killed."""

    def ready(self, number: int, now: float) -> list[Action]:
        if (worker := self.workers.get(number)) is not None:
            worker.exiting = False
        return super().ready(number, now)


class WaitsForTheEndForEver(Fleet):
    """A worker that has said that it ends may take as long as it likes."""

    def ending(self, number: int, now: float) -> list[Action]:
        actions = super().ending(number, now)
        if number in self.workers and self.workers[number].ends:
            self.workers[number].deadline = None
        return actions


class TrustsTheEnding(Fleet):
    """A worker that has said that it ends still counts as one that serves."""

    def ending(self, number: int, now: float) -> list[Action]:
        actions = super().ending(number, now)
        if number in self.workers and self.workers[number].ends:
            self.workers[number].exiting = False
        return actions


class LosesThePauses(Fleet):
    """A failed reload lets the dead be replaced too soon."""

    def _give_up(self, reason: str, now: float) -> list[Action]:
        self._slots.backoff.pauses.clear()
        return super()._give_up(reason, now)


class NeverKills(Workers):
    """A worker that does not end holds up the stop."""

    def drain(self, workers: Iterable[WorkerRecord], now: float) -> list[Action]:
        actions = super().drain(workers, now)
        for worker in self.by_number.values():
            worker.deadline = None if worker.drains else worker.deadline
        return actions


class LetsAllGenerationsDrain(Workers):
    """No generation is aborted, however many drain."""

    def limit_draining(self, _: set[int]) -> list[Action]:
        return []


class TakesOverUnproved(Trial):
    """There is no probation."""

    def watch(self, now: float) -> None:
        super().watch(now)
        self.takeover = None if self.takeover is None else now


class ForgetsTheSize(Trial):
    """The next generation has the size of the first."""

    def begin(self, _: int, now: float) -> list[Action]:
        return super().begin(self._rules.size, now)


class LeavesTheTrialAsItIs(Trial):
    """A resize does not touch the generation on trial."""

    def fit(self, size: int, now: float) -> list[Action]:
        return [] if self._workers.of(self.generation) else super().fit(size, now)


class ShrinksToNothing(Fleet):
    """The last worker goes as well."""

    def resize(self, change: int, now: float) -> list[Action]:
        self._slots.size += change
        return self.tick(now)


class DrainsWhoServes(Slots):
    """A resize drains the oldest, though others do not serve yet."""

    def fill(self, now: float, *, trial: bool) -> list[Action]:
        held = [worker for worker in self._present() if not worker.leaving]
        actions = self._workers.drain(held[: max(len(held) - self.size, 0)], now)
        return [*actions, *super().fill(now, trial=trial)]


class DrainsAllAtTheTakeover(Fleet):
    """The generation before drains when the first few of the new one have proved themselves."""

    def _take_over(self, now: float) -> list[Action]:
        actions = super()._take_over(now)
        return [*actions, *self._workers.drain(self._workers.before(self.current), now)]


class DrainsTheLeftovers(Fleet):
    """The rest of a roll-out after a crash drains at the next takeover, though few of the new one serve."""

    def _take_over(self, now: float) -> list[Action]:
        left = [worker for worker in self._workers.before(self.current) if not worker.drains]
        return [*super()._take_over(now), *self._workers.drain(left, now)]


class StartsAllAtTheTakeover(Slots):
    """A roll-out takes more memory than there is."""

    def _spare(self, **_: bool) -> int:
        return self.size


class RollsDuringAReload(Slots):
    """A roll-out takes the room of the generation on trial."""

    def _spare(self, **_: bool) -> int:
        return super()._spare(trial=False)


class RollsNoFurther(Slots):
    """A crash ends the roll-out half-way."""

    def fill(self, now: float, *, trial: bool) -> list[Action]:
        rolling = self._workers.before(self.generation) and self.backoff.deaths
        return [] if rolling else super().fill(now, trial=trial)


class WaitsForTheDead(Fleet):
    """A reload is not answered at a death, but when all have been replaced."""

    def _answer_early(self) -> list[Action]:
        return []


class AnswersAtTheTakeover(Fleet):
    """A reload is answered though the generation before still serves."""

    def _take_over(self, now: float) -> list[Action]:
        return [*super()._take_over(now), *self._answer_early()]


class RecyclesAllAtOnce(Slots):
    """A worker that is to be recycled does not wait for the others."""

    def recycle_next(self, now: float) -> list[Action]:
        actions = super().recycle_next(now)
        for number in actions and self._to_recycle:
            self._workers.by_number[number].leaving = True
        return actions


class RecyclesWithoutReplacement(Slots):
    """A worker that is recycled drains at once."""

    def recycle_next(self, now: float) -> list[Action]:
        actions = super().recycle_next(now)
        leaving = [worker for worker in self._present() if worker.leaving]
        return [*actions, *self._workers.drain(leaving if actions else [], now)]


class RecyclesDuringAReload(Slots):
    """A recycling begins though a reload is under way."""

    def fill(self, now: float, *, trial: bool) -> list[Action]:
        actions = super().fill(now, trial=trial)
        return [*actions, *(self.recycle_next(now) if trial else [])]


class ForgetsQueue(Slots):
    """A reload that fails ends the recyclings that waited."""

    def fill(self, now: float, *, trial: bool) -> list[Action]:
        if trial:
            self._to_recycle.clear()
        return super().fill(now, trial=trial)


class ReplacesTwice(Fleet):
    """A worker that dies while it is recycled is replaced, though it has been already."""

    def exited(self, number: int, reason: str, now: float) -> list[Action]:
        worker = self.workers.get(number)
        again = worker is not None and worker.leaving and worker.serves
        actions = super().exited(number, reason, now)
        return [*actions, *self._workers.spawn(self.current, int(again), now)]


class WaitsForTheEndOfWhoStops(Fleet):
    """A worker that stops by itself is replaced when it has ended."""

    def stopping(self, *_: object) -> list[Action]:
        return []


class ReplacesWhoStopsTwice(Fleet):
    """A worker that stops by itself is replaced once more when it has ended."""

    def exited(self, number: int, reason: str, now: float) -> list[Action]:
        worker = self.workers.get(number)
        again = worker is not None and worker.drains and worker.generation == self.current
        actions = super().exited(number, reason, now)
        return [*actions, *self._workers.spawn(self.current, int(again and not self._stopping), now)]


class TellsWhoStops(Fleet):
    """A worker that stops by itself is told to, too, which may mean more the second time."""

    def stopping(self, number: int, now: float) -> list[Action]:
        told = [Tell(number, Order.DRAIN)] if number in self.workers else []
        return [*told, *super().stopping(number, now)]


class TrustsWhoStops(Fleet):
    """A worker that stops by itself fails no reload."""

    def stopping(self, number: int, now: float) -> list[Action]:
        worker = self.workers.get(number)
        on_trial = worker is not None and self._trial.has(worker)
        return [] if on_trial else super().stopping(number, now)


class LetsWhoStopsTakeItsTime(Fleet):
    """The drain of a worker that stops by itself has no deadline."""

    def stopping(self, number: int, now: float) -> list[Action]:
        actions = super().stopping(number, now)
        if number in self.workers:
            self.workers[number].deadline = None
        return actions


class KeepsEachTemplate(Fleet):
    """The template of a generation whose workers have ended stays."""

    @property
    def templates(self) -> frozenset[int]:
        return frozenset(range(1, max(self.current, self.next) + 1))


class EndsTheTemplateOfWhoDrains(Fleet):
    """A template goes with the takeover of the next one, though its workers have not ended."""

    @property
    def templates(self) -> frozenset[int]:
        return frozenset() if self._stopping else frozenset({self.current, self.next} - {0})


class ForgetsTheTemplateOfWhoServes(Fleet):
    """A reload ends the template of the generation that serves, before the new one has proved itself."""

    @property
    def templates(self) -> frozenset[int]:
        return super().templates - ({self.current} if self.next else set())


FAULTS = [
    *(DrainsEarly, Forgets, SpawnsAfterStop, StopsTwice, TrustsTheHanging, TrustsTheKilled),
    *(WaitsForTheEndForEver, TrustsTheEnding),
    *(LosesThePauses, NeverKills, LetsAllGenerationsDrain, TakesOverUnproved),
    *(ForgetsTheSize, LeavesTheTrialAsItIs, ShrinksToNothing, DrainsWhoServes),
    *(
        DrainsAllAtTheTakeover,
        StartsAllAtTheTakeover,
        RollsDuringAReload,
        DrainsTheLeftovers,
        RollsNoFurther,
    ),
    *(WaitsForTheDead, AnswersAtTheTakeover),
    *(
        RecyclesAllAtOnce,
        RecyclesWithoutReplacement,
        RecyclesDuringAReload,
        ForgetsQueue,
        ReplacesTwice,
    ),
    *(WaitsForTheEndOfWhoStops, ReplacesWhoStopsTwice, TellsWhoStops, TrustsWhoStops),
    *(
        LetsWhoStopsTakeItsTime,
        KeepsEachTemplate,
        EndsTheTemplateOfWhoDrains,
        ForgetsTheTemplateOfWhoServes,
    ),
]


# Of a canary.


class StartsAllBesideTheCanary(Trial):
    """The whole generation serves before its canary has proved itself."""

    def _most(self, size: int) -> int:
        return size


class SendsNoCanary(Trial):
    """A reload has no canary, though there is to be one."""

    def begin(self, size: int, now: float, **_: bool) -> list[Action]:
        return super().begin(size, now)


class TrustsTheWorse(Fleet):
    """A canary that does worse goes on."""

    def compared(self, _: str, now: float) -> list[Action]:
        return super().compared("", now)


class TrustsTheFirstLook(Fleet):
    """The first look at which nothing is found is the last."""

    def compared(self, worse: str, now: float) -> list[Action]:
        self._trial._looks = 0
        return super().compared(worse, now)


class LooksNoMore(Trial):
    """After one look the canary is forgotten."""

    def looked(self, now: float) -> bool:
        last = super().looked(now)
        self.look = None
        self._looks = 0
        return last


class KeepsTheCanary(Fleet):
    """A canary that was given up serves on."""

    def compared(self, worse: str, now: float) -> list[Action]:
        actions = super().compared(worse, now)
        return [each for each in actions if not (worse and isinstance(each, Tell))]


class DrainsTheLargeCanary(Trial):
    """Of a canary that has proved itself no more workers stay on trial than without one."""

    def _most(self, size: int) -> int:
        if self.canary or self._first:
            return super()._most(size)
        return min(size, self._rules.surge or size)


CANARY_FAULTS = [
    *(StartsAllBesideTheCanary, SendsNoCanary, TrustsTheWorse, TrustsTheFirstLook, LooksNoMore),
    *(KeepsTheCanary, DrainsTheLargeCanary),
]
CANARY = {"size": 2, "canary": 1, "looks": 2, "watchdog": None}
ROLLING = {"size": 3, "surge": 1, "watchdog": None, "probation": 0.0}
WHOLE = {"size": 3, "surge": None, "watchdog": None}
ROOM: dict[type, dict[str, Any]] = {
    **dict.fromkeys(CANARY_FAULTS, CANARY),
    DrainsTheLargeCanary: {**CANARY, "canary": 2, "surge": 1},
    **dict.fromkeys(
        [StartsAllAtTheTakeover, RollsDuringAReload, DrainsTheLeftovers, RollsNoFurther], ROLLING
    ),
    TrustsTheKilled: {"size": 2, "start_timeout": 5.0, "assume_ready": None},
    **dict.fromkeys(
        [ForgetsTheSize, LosesThePauses, ForgetsQueue, RecyclesAllAtOnce, DrainsWhoServes], WHOLE
    ),
}
"""Rules under which a fault is found soon that is rare otherwise."""


def with_fault(fault: type[Fleet | Workers | Trial | Slots], rules: Rules) -> Fleet:
    """Return a fleet which has one faulty part, or is faulty itself."""
    if issubclass(fault, Fleet):
        return fault(rules)
    fleet = Fleet(rules)
    crew = fault(rules) if issubclass(fault, Workers) else fleet._workers
    fleet._workers = crew
    fleet._trial = fault(rules, crew) if issubclass(fault, Trial) else Trial(rules, crew)
    fleet._slots = fault(rules, crew) if issubclass(fault, Slots) else Slots(rules, crew)
    return fleet


@pytest.mark.parametrize("fault", [*FAULTS, *CANARY_FAULTS])
def test_the_model_sees_a_fault(fault: type[Fleet | Workers | Trial | Slots]) -> None:
    class Faulty(World):
        changes: ClassVar = ROOM.get(fault, {})
        kind = staticmethod(partial(with_fault, fault))

    assert_a_fault_is_seen(Faulty, SETTINGS)
