"""The decisions about even load: who hands over how many connections, and whose share is smaller."""

from __future__ import annotations

import random

import pytest

from sockact.handover.exchange import WorkerLoad
from sockact.supervisor.shares import (
    SLOW,
    SMALLEST,
    adjusted,
    short,
    slowness,
    surplus,
    targets,
)


def loads(*counts: int) -> dict[int, WorkerLoad]:
    """Return the loads of usual workers, numbered from 1."""
    return {number: WorkerLoad(count) for number, count in enumerate(counts, 1)}


@pytest.mark.parametrize(
    ("counts", "moves"),
    [
        ((44, 19, 1, 0), {1: 28, 2: 3}),
        ((43, 21, 0, 0), {1: 27, 2: 5}),
        ((21, 21, 22, 0), {3: 6, 1: 5, 2: 5}),
        ((100, 100, 100, 0), {1: 25, 2: 25, 3: 25}),
        ((9, 9, 9, 9, 0), {1: 1, 2: 2, 3: 2, 4: 2}),
        ((4, 0, 0, 0), {1: 3}),
        ((5, 2, 2, 2), {1: 2}),
        ((2, 1, 1, 0), {1: 1}),
        ((3, 0), {1: 1}),
        ((2, 0), {1: 1}),
    ],
    ids=str,
)
def test_crowded_workers_hand_over_what_they_have_beyond_their_share(
    counts: tuple[int, ...], moves: dict[int, int]
) -> None:
    assert surplus(loads(*counts), range(1, 10)) == moves


EVEN_ENOUGH = [(), (7,), (16, 16, 16, 16), (19, 16, 15, 14), (2, 1, 1, 1), (1, 0, 0, 0), (0, 0), (5, 4)]


@pytest.mark.parametrize("counts", EVEN_ENOUGH, ids=str)
def test_a_load_that_is_nearly_even_is_left_alone(counts: tuple[int, ...]) -> None:
    assert surplus(loads(*counts), range(1, 10)) == {}


def test_nothing_moves_where_nobody_can_receive_it() -> None:
    assert surplus(loads(21, 21, 22, 0), ()) == {}
    assert surplus(loads(40, 24, 0, 0), (3,)) == {1: 16}


def test_a_slow_worker_hands_over_what_is_beyond_its_smaller_share() -> None:
    uneven_shares = {1: WorkerLoad(16, 0.1), **{each: WorkerLoad(16) for each in (2, 3, 4)}}

    assert surplus(uneven_shares, {2, 3, 4}) == {1: 14}
    assert short(uneven_shares) == [2, 3, 4]


def test_any_load_is_as_even_as_can_be_after_its_moves() -> None:
    rng = random.Random(1)
    for _ in range(3000):
        most = rng.choice((4, 20, 900))
        counts = [rng.choice((0, rng.randint(0, most))) for _ in range(rng.randint(2, 8))]
        before = {number: WorkerLoad(count, rng.choice((1, 1, 0.1))) for number, count in enumerate(counts)}
        given = surplus(before, before.keys())
        left = {worker: load.connections - given.get(worker, 0) for worker, load in before.items()}
        others = left.keys() - given.keys()
        for _ in range(sum(given.values())):  # as the exchange does
            left[min(others, key=lambda each: (left[each] + 1) / before[each].share)] += 1
        moved = {worker: load._replace(connections=left[worker]) for worker, load in before.items()}

        assert surplus(moved, moved.keys()) == {}, (before, given, moved)
        assert min(left.values()) >= 0


def test_targets_add_up_and_are_met_where_nothing_has_to_move() -> None:
    assert targets(loads(1, 0, 0, 0)) == {1: 1, 2: 0, 3: 0, 4: 0}
    assert targets(loads(0, 2, 1)) == {1: 1, 2: 1, 3: 1}
    assert targets({1: WorkerLoad(0, 0.1), 2: WorkerLoad(9), 3: WorkerLoad(9)}) == {1: 0, 2: 9, 3: 9}


def test_responses_that_take_much_longer_than_those_of_the_others_are_slow() -> None:
    found = slowness({1: 0.05, 2: 0.005, 3: 0.006, 4: 0.004})

    assert found[1] == pytest.approx(10)
    assert all(found[each] == 1 for each in (2, 3, 4))


def test_a_difference_of_a_few_milliseconds_is_noise() -> None:
    assert slowness({1: 0.004, 2: 0.0001}) == {1: 1, 2: 1}
    assert slowness({1: 4.0}) == {1: 1}
    assert slowness({1: 0.5, 2: 0.0}) == {1: 1, 2: 1}


def test_the_share_of_a_slow_worker_becomes_smaller_when_it_was_slow_twice() -> None:
    assert adjusted(1, 10, 1) == 1
    assert adjusted(1, 10, 10) == pytest.approx(0.1)
    assert adjusted(SMALLEST, 10, 10) == SMALLEST


def test_a_share_grows_again_when_its_worker_is_not_slow_any_more() -> None:
    share = 0.1
    for _ in range(50):
        assert share <= adjusted(share, 1, 10) <= 1
        share = adjusted(share, 1, 10)

    assert share == 1
    assert adjusted(0.1, SLOW - 0.1, 1) == 0.1
