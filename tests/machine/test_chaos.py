"""A random walk over the service loses nothing but what its events may cost."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from sockact.probe.spec import parse_specs
from tests.chaos import events, signalled, surroundings
from tests.chaos.register import ACTS, KINDS
from tests.chaos.walk import Step, walk
from tests.chaos.walker import Walker
from tests.chaos.world import CLIENTS, LOADS, SETUP, FaultError, World
from tests.support.machine.machine import Machine

SEEDS = {"bookworm": 12, "trixie": 11}
SECONDS = 35.0
EVERYTHING = (events, signalled, surroundings)


def step(event: str, **arguments: object) -> Step:
    return Step(1, event, arguments, pause=0, settle=True)


def test_a_walk_loses_nothing_but_what_its_events_may_cost(app: Machine, suite: str) -> None:
    with World.begun(app) as world:
        walker = Walker(world, print)
        walker.walk(walk(SEEDS[suite], KINDS, suite), SECONDS)
        print(walker.summary())

    assert walker.events
    assert world.load.counts["requests"] > 0


def kill_as_if_harmless(world: World) -> None:
    for victim in world.worker_pids():  # the four WebSockets are on one of them, or on both
        world.inside.signal(victim, signal.SIGKILL)


def test_the_oracle_sees_a_death_without_an_excuse(app: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ACTS, "harmless", kill_as_if_harmless)
    with World.begun(app) as world:
        walker = Walker(world, print)
        walker.settle()

        with pytest.raises(FaultError, match=r"lost: .*websocket"):
            walker.perform(step("harmless"))


def test_the_oracle_sees_a_unit_that_lacks_a_cure(app: Machine) -> None:
    with World.begun(app, replace(SETUP, lines=("KillMode=mixed",))) as world:
        walker = Walker(world, print)
        walker.settle()

        with pytest.raises(FaultError, match="lost: "):
            walker.perform(step("kill_supervisor"))
        assert world.oracle.unexplained


def test_no_more_can_be_in_flight_than_is_excused() -> None:
    assert sum(spec.clients for spec in parse_specs(LOADS)) == CLIENTS
