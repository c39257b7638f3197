"""Supervisors that follow each other, under any order of events: what they decide about left-over workers.

Each supervisor ends somehow: told to leave, killed, or after a failed start. The next one takes over
whoever still lives. The world keeps books of its own: who serves, and who was told to drain.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from sockact.supervisor.fleet import Fleet
from sockact.supervisor.fleet.orders import Action, Failed, Order, Spawn, Started, Stopped, Tell
from sockact.supervisor.fleet.rules import Rules
from tests.support.models import assert_a_fault_is_seen, tried

pytestmark = pytest.mark.slow

SETTINGS = tried(500, 30)
SIZE = 2
PICK = st.integers(0, 11)


class Succession(RuleBasedStateMachine):
    """Drives one fleet after the other, and judges what they decide."""

    kind: ClassVar[Callable[[Rules], Fleet]] = Fleet

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.generations: dict[int, int] = {}  # of the workers that live
        self.ready: set[int] = set()
        self.drained: set[int] = set()
        self.left_over: set[int] = set()
        self.outcome: Action | None = None
        self.over = False  # the supervisor has stopped

    @initialize(surge=st.sampled_from([None, 1]))
    def begin(self, surge: int | None) -> None:
        self.rules_ = Rules(
            size=SIZE,
            start_timeout=5.0,
            probation=1.0,
            stop_timeout=2.0,
            end_timeout=1.5,
            max_draining=2,
            surge=surge,
        )
        self._next_supervisor()

    @rule()
    def restart(self) -> None:
        """Replace the supervisor, as systemd does when it is to leave."""
        if not self.over:
            self._do(self.fleet.leave(self.now), leaves=True)
        self._next_supervisor()

    @rule()
    def be_killed(self) -> None:
        self._next_supervisor()

    @rule(pick=PICK)
    def become_ready(self, pick: int) -> None:
        if number := self._pick(pick):
            self.ready.add(number)
            self._do(self.fleet.ready(number, self.now))

    @rule(pick=PICK)
    def fail(self, pick: int) -> None:
        if number := self._pick(pick):
            self._do(self.fleet.failing(number, "broken", self.now))

    @rule(pick=PICK)
    def end(self, pick: int) -> None:
        if number := self._pick(pick):
            del self.generations[number]
            self.ready.discard(number)
            self._do(self.fleet.exited(number, "ended", self.now))

    @rule(pick=PICK)
    def introduce_itself(self, pick: int) -> None:
        """Say what a left-over worker says that was told to drain by the supervisor before."""
        number = self._pick(pick)
        if number in self.drained & self.left_over:
            self._do(self.fleet.stopping(number, self.now))

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0]))
    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.fleet.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self._do(self.fleet.tick(self.now))
        self.now = until

    @rule()
    def end_all_that_were_told(self) -> None:
        for number in sorted(self.drained & set(self.generations)):
            del self.generations[number]
            self.ready.discard(number)
            self._do(self.fleet.exited(number, "ended", self.now))

    @invariant()
    def no_worker_is_forgotten(self) -> None:
        assert set(self.fleet.workers) == set(self.generations)

    @invariant()
    def who_has_served_serves_until_others_do(self) -> None:
        """Before a supervisor's own workers have taken over, nobody was told to go who served before it."""
        if not self.fleet.current:
            assert not self.drained & self.serving_before & set(self.generations)

    def _pick(self, pick: int) -> int:
        living = sorted(self.generations)
        return living[pick % len(living)] if living else 0

    def _next_supervisor(self) -> None:
        self.fleet, self.outcome, self.over = self.kind(self.rules_), None, False
        self.left_over = set(self.generations)
        self.serving_before = self.ready - self.drained
        self.fleet.adopt(self.generations.items(), self.now)
        self._do(self.fleet.start(self.now))

    def _do(self, actions: list[Action], *, leaves: bool = False) -> None:
        for action in actions:
            match action:
                case Spawn(number, generation):
                    assert number not in self.generations
                    assert all(
                        generation > self.generations[each]
                        for each in self.left_over & set(self.generations)
                    )
                    self.generations[number] = generation
                case Tell(number, Order.DRAIN):
                    self._judge_drain(number, leaves=leaves)
                case Started():
                    assert self.fleet.current
                    self.outcome = action
                case Failed():
                    self.outcome = action
                    self._do(self.fleet.give_up(self.now))
                case Stopped():
                    assert not self._own()
                    self.over = True

    def _own(self) -> set[int]:
        return {number for number in self.generations if number not in self.left_over}

    def _judge_drain(self, number: int, *, leaves: bool) -> None:
        serves = number in self.ready and number not in self.drained
        if leaves and serves:
            assert self.generations[number] != self.fleet.current
            assert number not in self.left_over
        elif number in self.left_over:
            assert self.fleet.current
        self.drained.add(number)


def test_left_over_workers_serve_until_others_do_whatever_the_order_of_events() -> None:
    run_state_machine_as_test(Succession, settings=SETTINGS)


# What the model must see.


class GivesUpAll(Fleet):
    """A failed start ends also the workers of the supervisor before."""

    def give_up(self, now: float) -> list[Action]:
        return self.stop(now)


class LeavesNobody(Fleet):
    """A supervisor that leaves tells all workers to drain."""

    def leave(self, now: float) -> list[Action]:
        return self._workers.drain(self.workers.values(), now)


class CountsAnew(Fleet):
    """Workers get the numbers of left-over ones."""

    def adopt(self, workers: object, now: float) -> None:
        super().adopt(workers, now)  # type: ignore[arg-type]
        self._workers._numbers = 0


class SameGeneration(Fleet):
    """New code belongs to the generation of the old."""

    def adopt(self, workers: object, now: float) -> None:
        super().adopt(workers, now)  # type: ignore[arg-type]
        self._trial._begun = 0


class DrainsAtOnce(Fleet):
    """Left-over workers go when the new ones start."""

    def start(self, now: float) -> list[Action]:
        left_over = [worker for worker in self.workers.values() if worker.left_over]
        return [*self._workers.drain(left_over, now), *super().start(now)]


@pytest.mark.parametrize("fault", [GivesUpAll, LeavesNobody, CountsAnew, SameGeneration, DrainsAtOnce])
def test_the_model_sees_a_fault(fault: type[Fleet]) -> None:
    class Faulty(Succession):
        kind = staticmethod(partial(fault))

    assert_a_fault_is_seen(Faulty, SETTINGS)
