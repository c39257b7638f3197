"""How models of the supervisor are tried: any order of events, and planted faults that must be seen."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test


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
    # Derandomised: whether a fault is found must not depend on luck.
    found = settings(
        chosen,
        phases=[Phase.generate],
        derandomize=True,
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
        print_blob=False,
    )
    with pytest.raises((AssertionError, KeyError)):
        run_state_machine_as_test(world, settings=found)
