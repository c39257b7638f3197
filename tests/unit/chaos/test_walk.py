"""A walk is determined by its seed alone."""

from __future__ import annotations

import random
import time
from itertools import islice

from tests.chaos import events, signalled, surroundings
from tests.chaos.register import ACTS, KINDS
from tests.chaos.walk import RAPID, Kind, Step, walk

REGISTERED = (events, signalled, surroundings)
MANY = 3000


def steps(seed: int, number: int = 200, suite: str = "trixie") -> list[Step]:
    return list(islice(walk(seed, KINDS, suite), number))


def test_a_seed_gives_the_same_steps_whatever_has_happened() -> None:
    first = steps(7)
    random.seed(time.time())
    random.random()
    assert steps(7) == first


def test_another_seed_gives_other_steps() -> None:
    assert steps(7) != steps(8)


def test_an_event_that_draws_more_changes_no_other_step() -> None:
    more = {
        **KINDS,
        "reload": Kind(KINDS["reload"].weight, lambda chance: {"drawn": [chance.random() for _ in "abc"]}),
    }
    others = [(step.number, step.event) for step in islice(walk(7, more, "trixie"), 200)]
    assert others == [(step.number, step.event) for step in steps(7)]


def test_each_event_has_its_turn() -> None:
    assert {step.event for step in steps(1, MANY)} == KINDS.keys() == ACTS.keys()


def test_an_event_of_one_release_is_not_tried_on_another() -> None:
    kinds = {"both": Kind(1, lambda _: {}), "new": Kind(1, lambda _: {}, frozenset({"trixie"}))}
    assert {step.event for step in islice(walk(1, kinds, "bookworm"), 50)} == {"both"}
    assert {step.event for step in islice(walk(1, kinds, "trixie"), 50)} == {"both", "new"}


def test_a_rapid_walk_has_the_same_events_without_pauses() -> None:
    rapid = list(islice(walk(7, KINDS, "trixie", RAPID), 200))
    assert [(step.event, step.arguments) for step in rapid] == [
        (step.event, step.arguments) for step in steps(7)
    ]
    assert not any(step.pause for step in rapid)
    assert 0 < sum(step.settle for step in rapid) < sum(step.settle for step in steps(7))
