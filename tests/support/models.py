"""How models of the supervisor are tried: any order of events, and planted faults that must be seen."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

SEEDS = 20
"""The number of times that a fault is looked for, each with the same number of worlds."""


def tried(examples: int, steps: int) -> settings:
    """Return the settings for so many worlds, with so many events in each."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def assert_a_fault_is_seen(world: type[RuleBasedStateMachine], chosen: settings) -> None:
    """Fail if no world of this kind finds the fault in what it drives."""
    found = settings(
        chosen,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
        print_blob=False,
    )
    with pytest.raises((AssertionError, KeyError)):
        _try_from_seeds(world, found)


def _try_from_seeds(world: type[RuleBasedStateMachine], chosen: settings) -> None:
    """Try worlds from fixed seeds: whether a fault is found must not depend on luck.

    But it depends on the modules that other tests have imported, whose constants hypothesis tries as well.
    """
    for number in range(SEEDS):
        run_state_machine_as_test(seed(number)(world), settings=chosen)
