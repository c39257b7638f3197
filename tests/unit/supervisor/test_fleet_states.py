"""Every state that a small fleet can reach, breadth first; and planted faults that this must see."""

from __future__ import annotations

from typing import Any

import pytest

from tests.model.__main__ import way_to
from tests.model.fleet import Bounds, FleetModel, rules
from tests.model.search import search
from tests.unit.supervisor import test_fleet_model as faults
from tests.unit.supervisor import test_succession_model as successions

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("changes", "bounds", "least"),
    [
        ({"size": 1}, Bounds(generations=2, workers=1, leaving=1), 1000),
        ({"size": 1, "surge": 1}, Bounds(generations=2, workers=1, leaving=1), 3000),
        ({"size": 1, "watchdog": 3.0}, Bounds(generations=2, workers=1, leaving=1), 1000),
        ({"size": 1, "canary": 1, "looks": 2}, Bounds(generations=2, workers=1, leaving=1), 1000),
    ],
    ids=["one worker", "rolled out", "watched", "canary"],
)
def test_no_state_that_can_be_reached_breaks_a_promise(
    changes: dict[str, Any], bounds: Bounds, least: int
) -> None:
    found = search(FleetModel(rules(**changes), bounds=bounds))

    assert (found.broken, found.path) == ("", ())
    assert found.states > least


SEEN = [
    *(faults.DrainsEarly, faults.Forgets, faults.SpawnsAfterStop, faults.StopsTwice),
    *(faults.TrustsTheHanging, faults.WaitsForTheEndForEver, faults.TrustsTheEnding),
    *(faults.NeverKills, faults.TakesOverUnproved),
    *(faults.LeavesTheTrialAsItIs, faults.ShrinksToNothing),
    *(faults.DrainsAllAtTheTakeover, faults.RecyclesWithoutReplacement, faults.ReplacesTwice),
    *(faults.AnswersAtTheTakeover, faults.WaitsForTheEndOfWhoStops, faults.ReplacesWhoStopsTwice),
    *(faults.TellsWhoStops, faults.TrustsWhoStops, faults.LetsWhoStopsTakeItsTime),
    *(faults.KeepsEachTemplate, faults.EndsTheTemplateOfWhoDrains, faults.ForgetsTheTemplateOfWhoServes),
]


@pytest.mark.parametrize(
    "fault",
    [
        *(successions.GivesUpAll, successions.LeavesNobody, successions.CountsAnew),
        *(successions.SameGeneration, successions.DrainsAtOnce),
    ],
)
def test_the_shortest_way_to_a_fault_of_a_restart_is_found(fault: type) -> None:
    found = search(FleetModel(rules(size=1), fault, Bounds(generations=2, workers=1, leaving=2)))

    assert found.broken
    assert 0 < len(found.path) <= 3


@pytest.mark.parametrize("fault", [*SEEN, *faults.CANARY_FAULTS])
def test_the_shortest_way_to_a_planted_fault_is_found(fault: type) -> None:
    found = way_to(fault)

    assert found.broken
    assert 0 < len(found.path) <= 8
