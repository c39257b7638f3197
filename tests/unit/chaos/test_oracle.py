"""The oracle of the chaos excuses what an event may cost, and nothing else."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.chaos.oracle import CLOSED, NOTICED_WITHIN, Excuse, Loss, Oracle

KILLED = 100.0
IN_FLIGHT = Loss(KILLED - 2, KILLED - 1, KILLED + 0.1, "slow", 4001, "empty", "end of stream")


def kill(**more: object) -> Excuse:
    """Return what the death of a worker may cost that held one connection."""
    values = {"since": KILLED - 0.5, "until": KILLED, "ports": frozenset({4001}), "most": 1}
    return Excuse("kill", **(values | more))


def judged(*losses: Loss, **more: object) -> int:
    """Return how many losses the oracle finds that it may not excuse."""
    oracle = Oracle()
    oracle.excuse(kill(**more))
    found = oracle.judge(losses)
    assert len(oracle.unexplained) == len(found)
    assert sum(oracle.excused.values()) == len(losses) - len(found)
    return len(found)


@pytest.mark.parametrize("outcome", ["empty", "reset", "wrong"])
def test_what_a_dead_worker_had_in_flight_is_excused(outcome: str) -> None:
    assert judged(replace(IN_FLIGHT, outcome=outcome)) == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"port": 4002},  # another worker's connection
        {"opened": KILLED + 0.05, "began": KILLED + 0.05},  # a connection that came later
        {"ended": KILLED - 0.6},  # lost before
        {"ended": KILLED + NOTICED_WITHIN + 1},  # lost long after
        {"outcome": "refused"},  # the socket is systemd's, and listens always
        {"outcome": "timeout"},
    ],
    ids=str,
)
def test_any_other_loss_is_found(changed: dict[str, object]) -> None:
    assert judged(replace(IN_FLIGHT, **changed)) == 1


def test_what_is_sent_on_a_dead_connection_before_its_end_is_seen_is_excused() -> None:
    assert judged(replace(IN_FLIGHT, began=KILLED + 0.05)) == 0
    assert judged(replace(IN_FLIGHT, began=KILLED + 0.05), ports=None) == 1


def test_more_losses_than_there_was_in_flight_are_found() -> None:
    assert judged(IN_FLIGHT, IN_FLIGHT) == 1


def test_where_nobody_knows_the_connections_their_number_is_the_limit() -> None:
    others = [replace(IN_FLIGHT, port=port) for port in range(3)]
    assert judged(*others, ports=None, most=2) == 1


def test_an_event_that_goes_on_excuses_what_is_lost_until_its_end() -> None:
    assert judged(replace(IN_FLIGHT, began=KILLED + 50, ended=KILLED + 51), until=math.inf) == 0


def test_without_an_event_each_loss_is_found() -> None:
    assert Oracle().judge([IN_FLIGHT]) == [IN_FLIGHT]


def test_an_excuse_that_is_over_is_dropped() -> None:
    oracle = Oracle()
    oracle.excuse(kill())
    oracle.forget(KILLED + NOTICED_WITHIN + 1)
    assert oracle.judge([IN_FLIGHT]) == [IN_FLIGHT]


def test_losses_that_two_events_may_have_caused_use_up_the_narrower_excuse_first() -> None:
    oracle = Oracle()
    oracle.excuse(kill(ports=None))
    oracle.excuse(kill())
    assert oracle.judge([IN_FLIGHT, replace(IN_FLIGHT, port=4002)]) == []


CLOSED_CONNECTION = replace(IN_FLIGHT, outcome=CLOSED)


def test_a_connection_that_is_closed_in_good_order_needs_an_excuse_too() -> None:
    assert judged(replace(CLOSED_CONNECTION, port=4002)) == 1
    assert judged(CLOSED_CONNECTION, closes=False) == 1


def test_what_may_cost_no_request_may_close_connections() -> None:
    oracle = Oracle()
    oracle.excuse(kill(ports=None, most=0))
    assert oracle.judge([CLOSED_CONNECTION, CLOSED_CONNECTION]) == []
    assert oracle.excused == {}
    assert oracle.judge([IN_FLIGHT]) == [IN_FLIGHT]
