"""The fleet's rules, one at a time; the clock is an argument, and a worker is a number."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sockact.supervisor.fleet import Fleet
from sockact.supervisor.fleet.backoff import LONGEST_PAUSE, YOUNG
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
from sockact.supervisor.fleet.workers import STACKS_TIMEOUT, Stage

RULES = Rules(size=2, start_timeout=60.0, probation=1.0, stop_timeout=35.0)


def starting(**changes: Any) -> Fleet:
    """Return a fleet whose first generation was started at 0."""
    fleet = Fleet(replace(RULES, **changes))
    fleet.start(0.0)
    return fleet


def serving(**changes: Any) -> Fleet:
    """Return a fleet whose first generation has been ready since 0."""
    fleet = starting(**changes)
    all_ready(fleet, 0.0)
    return fleet


def reloading(**changes: Any) -> Fleet:
    """Return a fleet whose first generation is ready, and whose second was started at 100."""
    fleet = serving(**changes)
    fleet.reload(100.0)
    return fleet


def reload(fleet: Fleet, now: float) -> list[Action]:
    """Reload with success, and return what the takeover brought; it comes after the probation."""
    fleet.reload(now)
    all_ready(fleet, now)
    return fleet.tick(now + fleet.rules.probation)


def all_ready(fleet: Fleet, now: float) -> list[Action]:
    numbers = [worker.number for worker in fleet.workers.values() if worker.stage is Stage.STARTING]
    return [action for number in numbers for action in fleet.ready(number, now)]


def die(fleet: Fleet, now: float) -> list[Action]:
    """End the youngest worker; notes are left out."""
    return [
        action for action in fleet.exited(max(fleet.workers), "died", now) if not isinstance(action, Note)
    ]


def stages(fleet: Fleet) -> dict[int, Stage]:
    return {worker.number: worker.stage for worker in fleet.workers.values()}


def drain(*numbers: int) -> list[Action]:
    return [Tell(number, Order.DRAIN) for number in numbers]


def die_of(fleet: Fleet, number: int, now: float) -> list[Action]:
    return [action for action in fleet.exited(number, "died", now) if not isinstance(action, Note)]


def abort_of(action: Action) -> list[Action]:
    return [Tell(action.worker, Order.ABORT)] if isinstance(action, Tell) else []


# Start.


def test_a_start_spawns_the_first_generation() -> None:
    fleet = Fleet(RULES)

    assert fleet.start(0.0) == [Spawn(1, 1), Spawn(2, 1)]


def test_the_start_is_over_when_all_are_ready_without_probation() -> None:
    fleet = starting()

    assert fleet.ready(1, 3.0) == []
    assert fleet.ready(2, 4.0) == [Started()]
    assert (fleet.current, fleet.next) == (1, 0)


def test_ready_said_twice_counts_once() -> None:
    fleet = starting()

    assert fleet.ready(1, 3.0) == []
    assert fleet.ready(1, 4.0) == []
    assert fleet.current == 0


def test_a_worker_that_exits_fails_the_start_with_its_reason() -> None:
    assert starting().exited(1, "no module named app", 1.0) == [*drain(2), Failed("no module named app")]


def test_a_worker_that_hangs_fails_the_start_and_is_killed() -> None:
    fleet = starting()
    fleet.ready(1, 1.0)

    assert fleet.tick(59.0) == []
    assert fleet.tick(60.0) == [Tell(2, Order.KILL), *drain(1, 2), Failed("not ready within 60 s")]


def test_a_failed_start_spawns_nobody_and_ends_by_stop() -> None:
    fleet = starting()
    fleet.exited(1, "broken", 1.0)

    assert fleet.exited(2, "drained", 2.0) == []
    assert fleet.stop(3.0) == [Stopped()]


@pytest.mark.parametrize("notifies", [True, False])
def test_a_worker_that_does_not_notify_counts_as_ready_where_that_is_assumed(notifies: bool) -> None:
    fleet = starting(assume_ready=None if notifies else 1.0)

    assert fleet.tick(0.5) == []
    assert fleet.tick(1.0) == ([] if notifies else [Started()])


def test_a_worker_that_dies_before_it_is_assumed_ready_fails_the_start() -> None:
    fleet = starting(assume_ready=1.0)

    assert fleet.exited(2, "exit status 1", 0.9)[-1] == Failed("exit status 1")
    assert fleet.tick(1.0) == []


# Reload.


def test_a_reload_spawns_beside_the_generation_that_serves() -> None:
    fleet = serving()

    assert fleet.reload(100.0) == [Spawn(3, 2), Spawn(4, 2)]
    assert stages(fleet) == {1: Stage.READY, 2: Stage.READY, 3: Stage.STARTING, 4: Stage.STARTING}


def test_nobody_drains_before_all_new_workers_are_ready_and_have_lived_for_the_probation() -> None:
    fleet = reloading()

    assert fleet.ready(3, 101.0) == []
    assert fleet.tick(104.0) == []
    assert fleet.ready(4, 105.0) == []
    assert fleet.tick(105.9) == []
    assert fleet.tick(106.0) == [*drain(1, 2), Reloaded()]
    assert (fleet.current, fleet.next) == (2, 0)


def test_without_probation_the_takeover_comes_with_the_last_ready() -> None:
    fleet = reloading(probation=0.0)
    fleet.ready(3, 101.0)

    assert fleet.ready(4, 101.0) == [*drain(1, 2), Reloaded()]


@pytest.mark.parametrize("ready", [(), (4,), (3, 4)], ids=["starting", "one ready", "in probation"])
@pytest.mark.parametrize("how", ["exited", "failing"])
def test_a_new_worker_that_exits_or_reports_an_error_ends_the_reload(how: str, ready: tuple[int]) -> None:
    fleet = reloading()
    for number in ready:
        fleet.ready(number, 101.0)
    left = drain(4) if how == "exited" else drain(3, 4)

    assert getattr(fleet, how)(3, "broken", 101.5) == [*left, Failed("broken")]
    assert fleet.tick(110.0) == []
    assert {1: Stage.READY, 2: Stage.READY}.items() <= stages(fleet).items()
    assert (fleet.current, fleet.next) == (1, 0)


def test_a_new_worker_that_hangs_ends_the_reload() -> None:
    fleet = reloading()
    fleet.ready(3, 101.0)

    assert fleet.tick(160.0) == [Tell(4, Order.KILL), *drain(3, 4), Failed("not ready within 60 s")]


def test_two_new_workers_that_hang_end_the_reload_once() -> None:
    outcomes = [action for action in reloading().tick(160.0) if isinstance(action, Failed)]

    assert len(outcomes) == 1


def test_a_worker_that_asks_for_more_time_gets_it() -> None:
    fleet = reloading()
    fleet.ready(3, 101.0)
    fleet.extended(4, 30.0, 150.0)

    assert fleet.tick(179.0) == []
    assert fleet.tick(180.0)[-1] == Failed("not ready within 60 s")


def test_who_asks_for_less_time_than_is_left_loses_none() -> None:
    fleet = reloading()
    fleet.extended(4, 1.0, 101.0)

    assert fleet.tick(159.0) == []


def test_an_error_of_a_worker_that_serves_ends_nothing() -> None:
    fleet = reloading()

    assert fleet.failing(1, "EIO", 101.0) == []
    assert fleet.next == 2


def test_what_a_given_up_generation_says_changes_nothing() -> None:
    fleet = reloading()
    fleet.failing(3, "broken", 101.0)

    assert fleet.ready(4, 102.0) == []
    assert fleet.failing(4, "broken too", 102.0) == []
    assert fleet.exited(4, "exit status 1", 102.0) == []


def test_after_a_failed_reload_the_next_may_succeed() -> None:
    fleet = reloading()
    fleet.failing(3, "broken", 101.0)

    assert reload(fleet, 110.0) == [*drain(1, 2), Reloaded()]
    assert fleet.current == 3


def test_a_worker_that_dies_during_a_reload_is_replaced_in_its_generation() -> None:
    assert die_of(reloading(), 1, 101.0) == [Spawn(5, 1)]


def test_a_takeover_drains_also_a_replacement_that_still_starts() -> None:
    fleet = reloading()
    die_of(fleet, 1, 101.0)
    fleet.ready(3, 102.0)
    fleet.ready(4, 102.0)

    assert fleet.tick(103.0) == [*drain(2, 5), Reloaded()]


def test_a_takeover_ends_the_pauses_of_the_generation_before() -> None:
    fleet = serving(size=1, probation=0.05)
    assert [die(fleet, 1.0), die(fleet, 1.0)] == [[Spawn(2, 1)], []]

    assert reload(fleet, 1.0) == [Reloaded()]
    assert fleet.deadline() is None


# Drain.


def test_a_drain_that_takes_too_long_ends_by_kill() -> None:
    fleet = serving()
    reload(fleet, 100.0)

    assert fleet.tick(135.9) == []
    assert fleet.tick(136.0) == [Tell(1, Order.KILL), Tell(2, Order.KILL)]


def test_without_a_stop_timeout_a_drain_may_last() -> None:
    fleet = serving(stop_timeout=None)
    reload(fleet, 100.0)

    assert fleet.deadline() is None


def test_a_worker_that_has_drained_is_not_replaced() -> None:
    fleet = serving()
    reload(fleet, 100.0)

    assert fleet.exited(1, "drained", 102.0) == []


def test_of_too_many_draining_generations_the_oldest_is_aborted_once() -> None:
    fleet = serving(max_draining=2)
    aborted = [
        [action.worker for action in reload(fleet, now) if action in abort_of(action)]
        for now in (100.0, 105.0, 110.0, 115.0)
    ]

    assert aborted == [[], [], [1, 2], [3, 4]]


def test_an_abort_meets_those_that_drain_and_each_once() -> None:
    fleet = serving()
    reload(fleet, 100.0)

    assert fleet.abort() == [Tell(1, Order.ABORT), Tell(2, Order.ABORT)]
    assert fleet.abort() == []


# Crashes.


def test_a_worker_that_dies_is_replaced_at_once() -> None:
    fleet = serving()

    assert fleet.exited(1, "SIGSEGV", 50.0) == [Note("worker=1 gen=1 SIGSEGV"), Spawn(3, 1)]


def test_a_worker_that_stops_by_itself_is_replaced_at_once_and_not_told() -> None:
    fleet = serving()

    assert fleet.stopping(1, 100.0) == [Note("worker=1 gen=1 stopped by itself"), Spawn(3, 1)]
    assert stages(fleet)[1] is Stage.DRAINING
    assert fleet.stopping(1, 101.0) == []
    assert fleet.exited(1, "exited with status 0", 102.0) == []


def test_the_drain_of_a_worker_that_stops_by_itself_has_the_usual_deadline() -> None:
    fleet = serving()
    fleet.stopping(1, 100.0)
    fleet.ready(3, 101.0)

    assert fleet.deadline() == 135.0
    assert fleet.tick(135.0) == [Tell(1, Order.KILL)]


def test_workers_that_stop_young_again_and_again_are_replaced_after_a_pause() -> None:
    fleet = serving()
    assert fleet.stopping(1, 1.0)[1:] == [Spawn(3, 1)]
    fleet.ready(3, 2.0)

    assert fleet.stopping(3, 3.0)[1:] == []
    assert fleet.tick(3.1) == [Spawn(4, 1)]


def test_a_new_worker_that_stops_by_itself_ends_the_reload() -> None:
    fleet = reloading()
    fleet.ready(3, 101.0)

    assert fleet.stopping(3, 101.5) == [*drain(4), Failed("stopped by itself")]
    assert fleet.current == 1


def test_a_worker_that_was_told_to_drain_is_not_replaced_when_it_says_so() -> None:
    fleet = serving()
    reload(fleet, 100.0)

    assert fleet.stopping(1, 101.1) == []


def test_workers_that_die_young_are_replaced_after_a_pause_that_doubles() -> None:
    fleet = serving(size=1)
    now = 1.0
    assert die(fleet, now) == [Spawn(2, 1)]
    pauses = []
    for _ in range(11):
        assert die(fleet, now) == []
        due = fleet.deadline()
        assert due is not None
        assert [type(action) for action in fleet.tick(due)] == [Spawn]
        pauses.append(round(due - now, 6))
        now = due

    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, LONGEST_PAUSE, LONGEST_PAUSE]


def test_a_crash_loop_may_last_for_weeks() -> None:
    fleet = serving(size=1)
    fleet._slots.backoff.deaths = 50_000

    assert die(fleet, 1.0) == []
    assert fleet.deadline() == 1.0 + LONGEST_PAUSE


def test_a_pause_is_jittered() -> None:
    fleet = serving(jitter=lambda: 0.5)
    die(fleet, 1.0)
    die(fleet, 1.0)

    assert fleet.deadline() == pytest.approx(1.05)


def test_a_long_life_ends_the_series() -> None:
    fleet = serving(size=1)
    for _ in range(5):
        die(fleet, 1.0)
        fleet.tick(10.0)
    fleet.tick(10.0)

    assert die(fleet, 10.0 + YOUNG) == [Spawn(max(fleet.workers), 1)]
    assert die(fleet, 10.0 + YOUNG) == [Spawn(max(fleet.workers), 1)]


def test_a_takeover_ends_the_series() -> None:
    fleet = serving(size=1, probation=0.05)
    die(fleet, 1.0)
    die(fleet, 1.0)
    reload(fleet, 1.0)

    assert die(fleet, 2.0) == [Spawn(4, 2)]


def test_a_replacement_that_hangs_at_its_start_is_killed_and_replaced() -> None:
    fleet = serving()
    die_of(fleet, 1, 50.0)

    assert fleet.tick(110.0) == [Tell(3, Order.KILL)]
    assert die_of(fleet, 3, 110.0) == [Spawn(4, 1)]


# Watchdog.


def test_a_worker_that_misses_its_ping_is_aborted_then_killed_then_replaced() -> None:
    fleet = serving(watchdog=10.0)
    fleet.pinged(2, 9.0)

    assert fleet.tick(9.9) == []
    assert fleet.tick(10.0) == [Note("worker=1 missed its watchdog ping"), Tell(1, Order.KILL_WITH_STACKS)]
    fleet.pinged(2, 14.0)
    assert fleet.tick(9.9 + STACKS_TIMEOUT) == []
    assert fleet.tick(10.0 + STACKS_TIMEOUT) == [Tell(1, Order.KILL)]
    assert die_of(fleet, 1, 15.1) == [Spawn(3, 1)]


def test_workers_get_as_much_more_time_as_their_supervisor_did_not_run() -> None:
    fleet = serving(size=1, watchdog=10.0)

    fleet.postpone(30.0)

    assert fleet.tick(39.0) == []
    assert fleet.tick(40.0) == [Note("worker=1 missed its watchdog ping"), Tell(1, Order.KILL_WITH_STACKS)]
    fleet.postpone(30.0)
    assert fleet.deadline() == 40.0 + STACKS_TIMEOUT + 30.0


def test_a_program_that_was_not_made_for_the_watchdog_is_held_to_it_when_it_has_pinged() -> None:
    fleet = serving(watchdog=10.0, all_ping=False)
    assert fleet.tick(100.0) == []

    fleet.pinged(1, 100.0)

    assert fleet.tick(110.0) == [Note("worker=1 missed its watchdog ping"), Tell(1, Order.KILL_WITH_STACKS)]


def test_an_aborted_worker_is_not_spared_for_a_late_ping() -> None:
    fleet = serving(size=1, watchdog=10.0)
    fleet.tick(10.0)
    fleet.pinged(1, 11.0)

    assert fleet.tick(10.0 + STACKS_TIMEOUT) == [Tell(1, Order.KILL)]


def test_only_a_ready_worker_must_ping() -> None:
    fleet = starting(watchdog=10.0)
    fleet.pinged(1, 1.0)

    assert fleet.tick(50.0) == []


def test_a_draining_worker_need_not_ping() -> None:
    fleet = serving(watchdog=10.0)
    fleet.stop(1.0)

    assert fleet.deadline() == 36.0


def test_a_new_worker_that_misses_its_ping_ends_the_reload() -> None:
    fleet = serving(probation=20.0, watchdog=10.0)
    fleet.reload(1.0)
    all_ready(fleet, 1.0)
    for number in (1, 2, 4):
        fleet.pinged(number, 9.0)

    assert fleet.tick(11.0) == [
        Note("worker=3 missed its watchdog ping"),
        Tell(3, Order.KILL_WITH_STACKS),
        *drain(3, 4),
        Failed("missed its watchdog ping"),
    ]


def test_a_tick_that_comes_late_lets_nobody_take_over_who_has_missed_a_ping() -> None:
    fleet = serving(probation=10.5, watchdog=10.0)
    fleet.reload(1.0)
    all_ready(fleet, 1.0)
    fleet.pinged(1, 9.0)
    fleet.pinged(2, 9.0)

    assert Reloaded() not in fleet.tick(12.0)
    assert fleet.current == 1


def test_a_resize_in_a_tick_that_comes_late_drains_nobody_who_is_needed_by_then() -> None:
    fleet = serving(watchdog=10.0, assume_ready=20.0)
    fleet.reload(1.0)
    die_of(fleet, 1, 1.0)  # 5 starts in its stead, and counts as ready from 21
    for number in (3, 4):
        fleet.ready(number, 1.0)
    told = fleet.resize(-1, 25.0)  # the trial and 2 have missed their pings at 11 and 10

    assert Tell(2, Order.KILL_WITH_STACKS) in told
    assert Tell(5, Order.DRAIN) not in told
    assert stages(fleet)[5] is Stage.READY


# Stop.


def test_a_stop_lets_all_drain_and_is_over_with_the_last() -> None:
    fleet = serving()

    assert fleet.stop(10.0) == drain(1, 2)
    assert fleet.exited(2, "drained", 11.0) == []
    assert fleet.exited(1, "drained", 12.0) == [Stopped()]


def test_a_stop_kills_who_does_not_end() -> None:
    fleet = serving()
    fleet.stop(10.0)

    assert fleet.deadline() == 45.0
    assert fleet.tick(45.0) == [Tell(1, Order.KILL), Tell(2, Order.KILL)]
    assert fleet.deadline() is None


def test_a_stop_is_not_held_up_by_a_worker_that_was_aborted() -> None:
    fleet = serving(size=1, watchdog=10.0, stop_timeout=2.0)
    fleet.tick(10.0)

    assert fleet.stop(10.5) == drain(1)
    assert fleet.tick(12.5) == [Tell(1, Order.KILL)]


def test_a_stop_before_an_aborted_worker_is_killed_does_not_spare_it() -> None:
    fleet = serving(size=1, watchdog=10.0)
    fleet.tick(10.0)
    fleet.stop(14.0)

    assert fleet.tick(10.0 + STACKS_TIMEOUT) == [Tell(1, Order.KILL)]


def test_a_stop_before_the_start_is_over_at_once() -> None:
    assert Fleet(RULES).stop(0.0) == [Stopped()]


def test_a_stop_during_the_start_drains_and_reports_no_failure() -> None:
    fleet = starting()

    assert fleet.stop(1.0) == drain(1, 2)
    assert fleet.ready(1, 2.0) == []
    assert fleet.exited(1, "SIGTERM", 3.0) == []
    assert fleet.exited(2, "SIGTERM", 3.0) == [Stopped()]


def test_a_stop_during_a_reload_drains_both_generations() -> None:
    fleet = reloading()
    fleet.ready(3, 101.0)
    fleet.ready(4, 101.0)

    assert fleet.stop(101.5) == drain(1, 2, 3, 4)
    assert fleet.tick(110.0) == []


def test_a_stop_in_a_pause_spawns_nobody_afterwards() -> None:
    fleet = serving(size=1)
    die(fleet, 1.0)
    die(fleet, 1.0)

    assert fleet.stop(1.05) == [Stopped()]
    assert fleet.deadline() is None


def test_a_stop_does_not_give_more_time_to_those_that_drain_already() -> None:
    fleet = serving()
    reload(fleet, 100.0)

    assert fleet.stop(110.0) == drain(3, 4)
    assert fleet.deadline() == 136.0


def test_a_stop_is_reported_once() -> None:
    fleet = Fleet(RULES)

    assert [fleet.stop(0.0), fleet.stop(1.0)] == [[Stopped()], []]


def test_a_second_stop_during_the_first_does_nothing() -> None:
    fleet = serving(size=1)
    fleet.stop(1.0)

    assert fleet.stop(2.0) == []
    assert fleet.exited(1, "drained", 3.0) == [Stopped()]


# Surge: N at a time.


def rolling(**changes: Any) -> Fleet:
    """Return a fleet of three whose second generation took over at 101 with its first worker: 4."""
    fleet = reloading(**{"size": 3, "surge": 1, **changes})
    fleet.ready(4, 100.0)
    fleet.tick(101.0)
    return fleet


def test_with_surge_a_start_spawns_all_at_once() -> None:
    assert len(Fleet(replace(RULES, size=3, surge=1)).start(0.0)) == 3


@pytest.mark.parametrize(("surge", "spawned"), [(1, 1), (2, 2), (3, 3), (5, 3), (None, 3)])
def test_a_reload_starts_no_more_workers_than_surge(surge: int | None, spawned: int) -> None:
    assert len(serving(size=3, surge=surge).reload(100.0)) == spawned


def test_the_first_few_prove_the_generation_and_then_it_is_rolled_out_step_by_step() -> None:
    fleet = serving(size=3, surge=1)
    assert fleet.reload(100.0) == [Spawn(4, 2)]
    assert fleet.ready(4, 100.0) == []
    assert fleet.tick(100.9) == []

    assert fleet.tick(101.0) == [*drain(1), Spawn(5, 2)]
    assert fleet.current == 2
    assert fleet.ready(5, 102.0) == [*drain(2), Spawn(6, 2)]
    assert fleet.ready(6, 103.0) == [*drain(3), Reloaded()]
    assert fleet.tick(104.0) == []


def test_the_first_few_fail_the_reload_and_nobody_has_drained() -> None:
    fleet = serving(size=3, surge=2)
    fleet.reload(100.0)
    fleet.ready(4, 100.0)

    assert fleet.exited(5, "broken", 100.5) == [*drain(4), Failed("broken")]
    assert fleet.tick(110.0) == []
    assert (fleet.current, fleet.next) == (1, 0)


def test_surge_for_all_is_a_reload_without_surge() -> None:
    fleet = reloading(surge=2)
    all_ready(fleet, 100.0)

    assert fleet.tick(101.0) == [*drain(1, 2), Reloaded()]


def test_a_death_after_the_takeover_answers_the_reload_and_the_roll_out_goes_on() -> None:
    fleet = rolling()

    assert fleet.exited(5, "SIGSEGV", 102.0) == [
        Note("worker=5 gen=2 SIGSEGV"),
        Note("gen=2 took over; its roll-out goes on"),
        Reloaded(),
        Spawn(6, 2),
    ]
    assert fleet.ready(6, 103.0) == [*drain(2), Spawn(7, 2)]
    assert fleet.ready(7, 104.0) == drain(3)


def test_the_death_of_an_old_worker_does_not_answer_the_reload_and_makes_room() -> None:
    assert die_of(rolling(), 2, 102.0) == [Spawn(6, 2)]


def test_a_worker_that_hangs_in_the_roll_out_is_killed_and_its_death_answers_the_reload() -> None:
    fleet = rolling(stop_timeout=None)

    assert fleet.tick(161.0) == [Tell(5, Order.KILL)]
    assert Reloaded() in die_of(fleet, 5, 161.0)


def test_what_a_crash_left_of_a_roll_out_serves_until_enough_of_the_next_generation_do() -> None:
    fleet = rolling()
    die_of(fleet, 5, 102.0)

    assert fleet.reload(103.0) == [*drain(6), Spawn(7, 3)]  # 6 had been started in its stead
    fleet.ready(7, 103.0)
    assert fleet.tick(104.0) == [*drain(2), Spawn(8, 3)]  # 3 and 4, of two generations, and 7 serve
    assert fleet.ready(8, 105.0) == [*drain(3), Spawn(9, 3)]


def test_a_roll_out_that_waited_for_a_reload_that_failed_goes_on() -> None:
    fleet = rolling()
    die_of(fleet, 5, 102.0)
    fleet.reload(103.0)

    assert fleet.failing(7, "broken", 104.0) == [*drain(7), Failed("broken"), Spawn(8, 2)]


def test_a_generation_that_is_rolled_out_counts_among_those_that_drain() -> None:
    fleet = serving(size=3, surge=1, max_draining=0)
    fleet.reload(100.0)
    fleet.ready(4, 100.0)

    assert fleet.tick(101.0) == [*drain(1), Spawn(5, 2), Tell(1, Order.ABORT)]


def test_a_generation_that_was_given_up_counts_among_those_that_drain() -> None:
    fleet = reloading(max_draining=0)

    assert fleet.failing(3, "broken", 101.0) == [
        *(*drain(3, 4), Failed("broken")),
        *(Tell(3, Order.ABORT), Tell(4, Order.ABORT)),
    ]


def test_a_stop_during_a_roll_out_drains_all() -> None:
    assert rolling().stop(102.0) == drain(2, 3, 4, 5)


# Resize.


def test_one_more_is_started_at_once_and_remembered() -> None:
    fleet = serving()

    assert fleet.resize(1, 50.0) == [Spawn(3, 1)]
    assert fleet.size == 3
    assert len(fleet.reload(100.0)) == 3


def test_one_less_drains_who_is_not_ready_else_the_oldest() -> None:
    fleet = serving(size=3)
    die_of(fleet, 2, 50.0)

    assert fleet.resize(-1, 51.0) == drain(4)
    assert fleet.resize(-1, 52.0) == drain(1)


def test_one_less_ends_a_pause_before_anybody_drains() -> None:
    fleet = serving()
    die(fleet, 1.0)
    die(fleet, 1.0)

    assert fleet.resize(-1, 1.0) == []
    assert fleet.deadline() is None


def test_the_last_worker_stays() -> None:
    fleet = serving(size=1)

    assert fleet.resize(-1, 50.0) == []
    assert fleet.size == 1


@pytest.mark.parametrize(("change", "done"), [(1, [Spawn(5, 2), Spawn(6, 1)]), (-1, [*drain(4, 1)])])
def test_a_resize_during_a_reload_meets_both_generations(change: int, done: list[Action]) -> None:
    assert reloading().resize(change, 101.0) == done


def test_with_one_more_the_probation_begins_again_when_it_is_ready() -> None:
    fleet = reloading()
    all_ready(fleet, 100.0)
    fleet.resize(1, 100.5)

    assert fleet.tick(101.0) == []
    all_ready(fleet, 110.0)
    assert Reloaded() not in fleet.tick(110.9)
    assert Reloaded() in fleet.tick(111.0)


def test_a_worker_that_a_resize_has_drained_fails_no_reload() -> None:
    fleet = reloading()
    fleet.resize(-1, 101.0)

    assert fleet.failing(4, "too late", 102.0) == []
    assert fleet.exited(4, "drained", 102.0) == []
    assert fleet.ready(3, 103.0) == []
    assert fleet.tick(104.0) == [*drain(2), Reloaded()]


def test_the_start_is_over_when_a_resize_drains_the_last_that_was_not_ready() -> None:
    fleet = starting()
    fleet.ready(1, 1.0)

    assert fleet.resize(-1, 2.0) == [*drain(2), Started()]


def test_a_resize_during_a_roll_out_keeps_the_reload_waiting_for_all() -> None:
    fleet = rolling()

    assert fleet.resize(1, 102.0) == [Spawn(6, 2)]
    assert fleet.ready(5, 103.0) == []  # two old and two new serve, and there is no room
    assert fleet.ready(6, 104.0) == [*drain(2), Spawn(7, 2)]
    assert fleet.ready(7, 105.0) == [*drain(3), Reloaded()]


def test_a_resize_is_ignored_while_stopping() -> None:
    fleet = serving()
    fleet.stop(10.0)

    assert fleet.resize(1, 11.0) == []
    assert fleet.size == 2


# Recycle.


def recycling(**changes: Any) -> Fleet:
    """Return a fleet whose worker 1 is recycled since 50, with 3 in its stead."""
    fleet = serving(**changes)
    fleet.recycle(1, "10,000 requests", 50.0)
    return fleet


def test_a_worker_is_recycled_when_another_is_ready_in_its_stead() -> None:
    fleet = serving()

    assert fleet.recycle(1, "10,000 requests", 50.0) == [
        Note("worker=1 gen=1 is recycled: 10,000 requests"),
        Spawn(3, 1),
    ]
    assert fleet.ready(3, 51.0) == drain(1)
    assert fleet.exited(1, "drained", 52.0) == []


def test_one_is_recycled_at_a_time_in_order() -> None:
    fleet = recycling(size=3)

    assert fleet.recycle(3, "500 MB", 50.0) == []
    assert fleet.recycle(2, "500 MB", 50.0) == []
    assert fleet.ready(4, 51.0) == [*drain(1), Note("worker=3 gen=1 is recycled: 500 MB"), Spawn(5, 1)]
    assert fleet.ready(5, 52.0) == [*drain(3), Note("worker=2 gen=1 is recycled: 500 MB"), Spawn(6, 1)]


def test_who_is_not_ready_or_about_to_go_is_not_recycled() -> None:
    fleet = recycling(size=3)
    assert fleet.recycle(1, "again", 50.0) == []
    assert fleet.recycle(4, "not ready", 50.0) == []
    assert fleet.recycle(99, "unknown", 50.0) == []

    assert fleet.ready(4, 51.0) == drain(1)
    assert fleet.recycle(1, "drains", 51.0) == []


def test_a_replacement_that_dies_is_replaced_with_the_usual_pause_and_the_old_one_serves_on() -> None:
    fleet = recycling()

    assert die_of(fleet, 3, 50.0) == [Spawn(4, 1)]
    assert die_of(fleet, 4, 50.0) == []
    assert fleet.tick(50.1) == [Spawn(5, 1)]
    assert stages(fleet)[1] is Stage.READY
    assert fleet.ready(5, 51.0) == drain(1)


def test_who_dies_while_it_is_recycled_is_not_replaced_twice() -> None:
    fleet = recycling()

    assert die_of(fleet, 1, 50.5) == []
    assert fleet.ready(3, 51.0) == []
    assert stages(fleet) == {2: Stage.READY, 3: Stage.READY}


def test_a_recycling_waits_for_the_end_of_a_reload_that_fails() -> None:
    fleet = reloading()
    assert fleet.recycle(1, "500 MB", 101.0) == []

    assert fleet.failing(3, "broken", 102.0) == [
        *(*drain(3, 4), Failed("broken")),
        *(Note("worker=1 gen=1 is recycled: 500 MB"), Spawn(5, 1)),
    ]


def test_a_takeover_ends_all_recyclings() -> None:
    fleet = recycling()
    fleet.recycle(2, "500 MB", 50.0)
    fleet.reload(100.0)
    for number in (4, 5):
        fleet.ready(number, 100.0)

    assert fleet.tick(101.0) == [*drain(1, 2, 3), Reloaded()]
    assert fleet.tick(110.0) == []


def test_a_recycling_waits_until_the_dead_are_replaced() -> None:
    fleet = serving()
    die_of(fleet, 2, 50.0)
    assert fleet.recycle(1, "500 MB", 50.0) == []

    assert fleet.ready(3, 51.0)[-1] == Spawn(4, 1)


def test_one_less_ends_a_recycling_without_the_old_one() -> None:
    assert recycling(size=3).resize(-1, 50.5) == drain(1, 4)


def test_nobody_is_recycled_while_stopping() -> None:
    fleet = serving()
    fleet.stop(50.0)

    assert fleet.recycle(1, "500 MB", 51.0) == []


def test_what_a_worker_said_before_it_was_killed_does_not_make_it_ready() -> None:
    fleet = recycling()
    assert fleet.tick(110.0) == [Tell(3, Order.KILL)]

    assert fleet.ready(3, 110.0) == []
    assert stages(fleet)[1] is Stage.READY


# Time.


def test_a_fleet_that_serves_has_no_deadline() -> None:
    assert serving().deadline() is None


@pytest.mark.parametrize(
    ("fleet", "due"),
    [
        (starting(), 60.0),
        (starting(assume_ready=1.0), 1.0),
        (serving(watchdog=10.0), 10.0),
        (reloading(), 160.0),
    ],
    ids=["start", "assumed", "watchdog", "reload"],
)
def test_the_deadline_is_when_a_tick_first_does_something(fleet: Fleet, due: float) -> None:
    assert fleet.deadline() == due
    assert fleet.tick(due - 0.001) == []
    assert fleet.tick(due) != []


def test_the_deadline_is_the_earliest_of_all() -> None:
    fleet = reloading(watchdog=150.0)  # that of 1 and 2 at 150
    assert fleet.deadline() == 150.0
    die(fleet, 101.0)  # the reload fails, and 3 drains until 136

    assert fleet.deadline() == 136.0
    die_of(fleet, 2, 102.0)
    fleet.exited(max(fleet.workers), "died", 102.0)
    fleet.exited(max(fleet.workers), "died", 102.0)
    assert fleet.deadline() == pytest.approx(102.1)


def test_a_tick_at_the_deadline_always_leaves_a_later_one_or_none() -> None:
    fleet = reloading(watchdog=10.0, assume_ready=5.0, max_draining=1)
    due = fleet.deadline()
    for _ in range(100):
        assert due is not None
        for action in fleet.tick(due):
            if isinstance(action, Tell) and action.order is Order.KILL:
                fleet.exited(action.worker, "SIGKILL", due)
        before, due = due, fleet.deadline()
        assert due is None or due > before


# Who says that it ends.


def test_a_worker_that_has_drained_is_killed_if_it_does_not_end_soon() -> None:
    fleet = serving(end_timeout=7.0)
    fleet.stop(100.0)
    assert fleet.ending(1, 110.0) == []
    fleet.exited(2, "ended", 110.0)

    assert fleet.deadline() == 117.0
    assert fleet.tick(117.0) == [Tell(1, Order.KILL)]


def test_an_end_that_begins_at_the_last_moment_of_the_drain_has_its_whole_time() -> None:
    fleet = serving(stop_timeout=35.0, end_timeout=7.0)
    fleet.stop(100.0)
    fleet.exited(2, "ended", 100.0)
    fleet.ending(1, 134.0)

    assert fleet.tick(135.0) == []
    assert fleet.deadline() == 141.0


def test_an_end_is_told_once() -> None:
    fleet = serving(end_timeout=7.0)
    fleet.stop(100.0)
    fleet.exited(2, "ended", 100.0)
    fleet.ending(1, 110.0)

    assert fleet.ending(1, 116.0) == []
    assert fleet.deadline() == 117.0


def test_an_aborted_worker_gets_no_more_time_by_saying_that_it_ends() -> None:
    fleet = serving(watchdog=10.0)
    fleet.tick(10.0)
    assert fleet.deadline() == 10.0 + STACKS_TIMEOUT

    assert fleet.ending(1, 11.0) == []
    assert fleet.deadline() == 10.0 + STACKS_TIMEOUT


def test_a_new_worker_that_says_that_it_ends_does_not_take_over() -> None:
    fleet = reloading()
    all_ready(fleet, 100.0)
    fleet.ending(3, 100.5)

    assert fleet.tick(101.0) == []
    assert fleet.exited(3, "ended", 101.5) == [*drain(4), Failed("ended")]


def test_an_end_that_is_waited_for_needs_no_ping() -> None:
    fleet = serving(watchdog=10.0, end_timeout=60.0)
    fleet.ending(1, 5.0)
    fleet.pinged(1, 5.5)
    fleet.pinged(2, 5.5)

    assert fleet.deadline() == 15.5
    assert fleet.tick(15.0) == []


def test_a_start_that_hangs_is_over_in_time_though_a_drain_has_no_limit() -> None:
    fleet = starting(stop_timeout=None)
    fleet.stop(10.0)

    assert fleet.deadline() == 60.0
    assert fleet.tick(60.0) == [Tell(1, Order.KILL), Tell(2, Order.KILL)]


def test_a_program_that_counts_as_ready_when_it_is_told_to_drain_has_no_limit_for_that() -> None:
    rules = Rules(size=1, start_timeout=5.0, probation=0.0, stop_timeout=None, assume_ready=1.0)
    late, early = Fleet(rules), Fleet(rules)
    for fleet, stopped in ((late, 1.0), (early, 0.5)):
        fleet.start(0.0)
        fleet.stop(stopped)

    assert late.deadline() is None
    assert early.deadline() == 5.0


# After a restart: the workers of the supervisor before.


def taking_over(*workers: tuple[int, int], **changes: Any) -> tuple[Fleet, list[Action]]:
    """Return a fleet with left-over workers that was started at 0, and what that brought."""
    fleet = Fleet(replace(RULES, **changes))
    fleet.adopt(workers, 0.0)
    return fleet, fleet.start(0.0)


def test_workers_and_generations_are_counted_on_from_the_left_over_ones() -> None:
    _, actions = taking_over((7, 3), (9, 4))

    assert actions == [Spawn(10, 5), Spawn(11, 5)]


def test_left_over_workers_serve_until_the_new_ones_have_proved_themselves() -> None:
    fleet, _ = taking_over((1, 1), (2, 1))

    assert all_ready(fleet, 0.5) == []
    assert fleet.deadline() == 1.5
    assert fleet.tick(1.5) == [*drain(1, 2), Started()]


def test_a_failed_start_ends_its_own_workers_alone() -> None:
    fleet, _ = taking_over((1, 1), (2, 1))

    assert fleet.failing(3, "broken", 1.0) == [*drain(3, 4), Failed("broken")]
    assert fleet.give_up(1.0) == []
    assert fleet.exited(3, "ended", 1.5) == []
    assert fleet.exited(4, "ended", 2.0) == [Stopped()]
    assert set(fleet.workers) == {1, 2}


def test_a_left_over_worker_that_has_drained_since_before_is_told_nothing_more() -> None:
    fleet, _ = taking_over((1, 1), (2, 1))
    assert fleet.stopping(1, 0.2) == []
    all_ready(fleet, 0.5)

    assert fleet.tick(1.5) == [*drain(2), Started()]


def test_a_left_over_worker_that_dies_is_not_replaced() -> None:
    fleet, _ = taking_over((1, 1), (2, 1))

    assert fleet.exited(1, "was killed by SIGKILL", 0.2) == [Note("worker=1 gen=1 was killed by SIGKILL")]
    assert fleet.deadline() == 60.0


def test_the_place_that_a_left_over_worker_has_kept_is_filled_when_it_stops_by_itself() -> None:
    """The shortest way to it that a search of all states has found: after two deaths, and in a reload."""
    fleet, _ = taking_over((1, 1), surge=1)
    fleet.ready(2, 0.5)
    fleet.tick(1.5)
    fleet.exited(2, "died", 1.6)
    fleet.exited(3, "died", 1.7)
    fleet.reload(2.0)
    pause_over = fleet.deadline()
    assert pause_over is not None
    fleet.tick(pause_over)

    assert fleet.stopping(1, pause_over) == [Spawn(6, 2)]


def test_who_leaves_takes_no_worker_along_that_serves() -> None:
    fleet = reloading()

    assert fleet.leave(101.0) == drain(3, 4)
    assert fleet.deadline() is not None
    assert serving().leave(5.0) == []


def test_a_left_over_worker_that_hangs_is_killed_some_time() -> None:
    fleet, _ = taking_over((1, 1), watchdog=10.0)
    fleet.pinged(1, 1.0)

    assert fleet.tick(11.0)[1:] == [Tell(1, Order.KILL_WITH_STACKS)]


def test_each_generation_that_may_get_workers_or_has_some_has_a_template() -> None:
    fleet = serving()
    assert fleet.templates == {1}

    fleet.reload(100.0)
    assert fleet.templates == {1, 2}
    all_ready(fleet, 100.0)
    fleet.tick(101.0)
    assert fleet.templates == {1, 2}  # those of the first still drain
    fleet.exited(1, "", 102.0)
    fleet.exited(2, "", 102.0)
    assert fleet.templates == {2}


def test_the_template_of_a_generation_that_is_given_up_stays_until_its_workers_have_ended() -> None:
    fleet = reloading()
    fleet.failing(3, "broken", 100.0)
    assert fleet.templates == {1, 2}
    fleet.exited(3, "", 101.0)
    fleet.exited(4, "", 101.0)

    assert fleet.templates == {1}


def test_in_a_stop_a_template_stays_until_its_workers_have_ended() -> None:
    fleet = serving()
    fleet.stop(100.0)
    assert fleet.templates == {1}
    fleet.exited(1, "", 101.0)
    fleet.exited(2, "", 101.0)

    assert fleet.templates == set()


def test_a_left_over_worker_has_no_template_here() -> None:
    fleet = Fleet(RULES)
    fleet.adopt([(7, 3)], 0.0)
    fleet.start(0.0)

    assert fleet.templates == {4}


# A canary.

CANARY = {"size": 3, "canary": 1, "canary_for": 60.0, "looks": 3}


def with_canary(**changes: Any) -> Fleet:
    """Return a fleet of three whose canary, worker 4, has been ready since 100."""
    fleet = reloading(**(CANARY | changes))
    all_ready(fleet, 100.0)
    return fleet


def look(fleet: Fleet, now: float, worse: str = "") -> list[Action]:
    """Look at the canary when it is time, and return what follows."""
    assert fleet._trial.look == now
    assert [action for action in fleet.tick(now) if isinstance(action, Compare)]
    return fleet.compared(worse, now)


def test_a_reload_starts_its_canary_alone() -> None:
    fleet = serving(**CANARY)

    assert fleet.reload(100.0) == [Spawn(4, 2)]
    assert (fleet.canary, fleet.compares) == (2, False)
    assert fleet.ready(4, 101.0) == []
    assert fleet.compares


def test_the_rest_starts_after_the_last_look_and_takes_over_after_the_probation() -> None:
    fleet = with_canary()

    assert look(fleet, 120.0) == []
    assert look(fleet, 140.0) == []
    assert fleet.tick(160.0) == [Compare(last=True)]
    assert fleet.compared("", 160.0) == [Spawn(5, 2), Spawn(6, 2)]
    assert (fleet.canary, fleet.compares) == (0, False)
    all_ready(fleet, 161.0)
    assert fleet.tick(162.0) == [*drain(1, 2, 3), Reloaded()]


def test_a_canary_that_does_worse_is_given_up_at_any_look() -> None:
    fleet = with_canary()
    look(fleet, 120.0)

    assert look(fleet, 140.0, "it fails") == [*drain(4), Failed("it fails")]
    assert (fleet.current, fleet.next, fleet.canary) == (1, 0, 0)
    assert fleet.reload(141.0) == [Spawn(5, 3)]


@pytest.mark.parametrize("end", ["exited", "failing", "stopping", "hangs"])
def test_a_canary_that_fails_otherwise_is_given_up_too(end: str) -> None:
    fleet = with_canary(watchdog=3.0)
    for worker in (1, 2, 3):
        fleet.pinged(worker, 103.0)
    match end:
        case "exited":
            actions = fleet.exited(4, "died", 101.0)
        case "failing":
            actions = fleet.failing(4, "died", 101.0)
        case "stopping":
            actions = fleet.stopping(4, 101.0)
        case _:
            actions = fleet.tick(103.0)

    assert any(isinstance(action, Failed) for action in actions)
    assert not fleet.compares
    assert fleet.compared("too late", 104.0) == []
    assert {1, 2, 3} <= {number for number, stage in stages(fleet).items() if stage is Stage.READY}


def test_a_canary_that_does_not_get_ready_fails_the_reload() -> None:
    fleet = reloading(**CANARY)

    assert fleet.tick(160.0) == [Tell(4, Order.KILL), *drain(4), Failed("not ready within 60 s")]


def test_a_stop_ends_a_canary() -> None:
    fleet = with_canary()

    assert fleet.stop(110.0) == drain(1, 2, 3, 4)
    assert not fleet.compares
    assert fleet.compared("", 110.0) == []


def test_a_restart_ends_a_canary_and_leaves_the_others() -> None:
    fleet = with_canary()

    assert fleet.leave(110.0) == drain(4)


def test_an_abort_leaves_a_canary_alone() -> None:
    fleet = with_canary()

    assert fleet.abort() == []
    assert fleet.compares


def test_a_start_after_a_restart_has_no_canary() -> None:
    fleet = Fleet(replace(RULES, canary=1))
    fleet.adopt([(7, 3)], 0.0)

    assert fleet.start(0.0) == [Spawn(8, 4), Spawn(9, 4)]


def test_one_worker_gets_a_second_one_as_its_canary() -> None:
    fleet = with_canary(size=1, looks=1)

    assert stages(fleet) == {1: Stage.READY, 2: Stage.READY}
    assert look(fleet, 160.0) == []
    assert fleet.tick(161.0) == [*drain(1), Reloaded()]


def test_a_resize_leaves_a_canary_as_it_is_and_counts_for_the_rest() -> None:
    fleet = with_canary(looks=1)

    assert fleet.resize(1, 110.0) == [Spawn(5, 1)]
    assert fleet.resize(-1, 111.0) == drain(5)
    assert fleet.resize(-1, 111.0) == drain(1)
    assert fleet.compares
    assert look(fleet, 160.0) == [Spawn(6, 2)]


def test_a_canary_of_several_shrinks_and_grows_with_the_size_and_is_then_compared_anew() -> None:
    fleet = with_canary(size=2, canary=2)

    assert fleet.resize(-1, 119.0) == [*drain(3), *drain(1)]
    assert look(fleet, 120.0) == []
    assert fleet.resize(1, 121.0) == [Spawn(5, 2), Spawn(6, 1)]
    assert not fleet.compares
    all_ready(fleet, 122.0)
    assert [look(fleet, now) for now in (142.0, 162.0)] == [[], []]
    assert Compare(last=True) in fleet.tick(182.0)


def test_a_worker_that_dies_beside_a_canary_is_replaced() -> None:
    fleet = with_canary()

    assert die_of(fleet, 1, 110.0) == [Spawn(5, 1)]
    assert fleet.compares


def test_a_recycling_waits_for_the_end_of_a_canary() -> None:
    fleet = with_canary()

    assert fleet.recycle(1, "old", 110.0) == []
    look(fleet, 120.0)
    assert isinstance(look(fleet, 140.0, "it fails")[-2], Note)


def test_time_in_which_nobody_ran_does_not_count_for_a_canary() -> None:
    fleet = with_canary()

    fleet.postpone(7.0)

    assert look(fleet, 127.0) == []


def test_with_surge_the_rest_is_rolled_out_after_the_canary() -> None:
    fleet = with_canary(surge=1, looks=1)

    assert look(fleet, 160.0) == []
    assert fleet.tick(161.0) == [*drain(1), Spawn(5, 2)]
