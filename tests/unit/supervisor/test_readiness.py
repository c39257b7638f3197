"""The readiness of a supervisor, in each phase, by whether any worker serves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import pytest

from sockact.lifecycle.phases import Phase
from sockact.process.agent import LINES
from sockact.supervisor.readiness import FleetReadiness
from sockact.supervisor.service import Supervisor

NOW = 1000.0
LIVING = (Phase.ACTIVATING, Phase.ACTIVE, Phase.RELOADING)
ENDING = (Phase.DEACTIVATING, Phase.INACTIVE, Phase.FAILED)


@dataclass
class Workers:
    """A supervisor, as far as it knows its workers."""

    serving: bool = False
    left_over: bool = False
    left: int | None = None
    draining_since: float | None = None

    def serves(self, *, started: bool) -> bool:
        return self.serving if started else self.left_over


def readiness(phase: Phase, workers: Workers, drain_delay: float = 0.0) -> FleetReadiness:
    return FleetReadiness(lambda: phase, cast("Supervisor", workers), drain_delay, lambda: NOW)


@pytest.mark.parametrize(
    ("phase", "workers", "word"),
    [
        (Phase.ACTIVATING, Workers(serving=True), "starting"),  # one of several, or in its probation
        (Phase.ACTIVATING, Workers(serving=True, left_over=True), "ready"),
        (Phase.ACTIVE, Workers(serving=True), "ready"),
        (Phase.ACTIVE, Workers(), "starting"),  # all have died
        (Phase.RELOADING, Workers(serving=True), "ready"),
        (Phase.RELOADING, Workers(), "starting"),
        *((phase, Workers(serving=True), "draining") for phase in ENDING),
        *((phase, Workers(serving=True, left=0), "ready") for phase in ENDING),  # for the next supervisor
    ],
)
def test_it_is_ready_if_a_worker_serves_and_goes_on(phase: Phase, workers: Workers, word: str) -> None:
    assert readiness(phase, workers).word == word
    assert word in LINES


@pytest.mark.parametrize("phase", LIVING)
def test_before_a_stop_nothing_is_refused(phase: Phase) -> None:
    assert not readiness(phase, Workers(serving=True)).refusing


@pytest.mark.parametrize(
    ("since", "delay", "refuses"),
    [
        (None, 0.0, False),  # the workers have not been told yet
        (NOW, 0.0, True),
        (NOW - 2.9, 3.0, False),
        (NOW - 3.0, 3.0, True),
        (-math.inf, 3600.0, True),  # told not to wait
    ],
)
def test_a_stop_refuses_once_the_delay_is_over(since: float | None, delay: float, refuses: bool) -> None:
    workers = Workers(serving=True, draining_since=since)

    assert readiness(Phase.DEACTIVATING, workers, delay).refusing is refuses


def test_workers_that_go_on_refuse_nothing() -> None:
    workers = Workers(serving=True, left=0, draining_since=NOW)

    assert not readiness(Phase.DEACTIVATING, workers).refusing
